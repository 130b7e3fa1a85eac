#include "core/template/syntax/names.h"

#include <string.h>

const struct name *names_find(const struct name *names, struct string text)
{
    const struct name *n = names;
    while (n && (n->text.length != text.length || memcmp(n->text.data, text.data, text.length) != 0))
        n = n->next;
    return n;
}

int names_intern(struct arena *arena, struct name **names, struct string *text)
{
    const struct name *known = names_find(*names, *text);
    if (known) {
        *text = known->text;
        return 0;
    }
    struct name *n = arena_alloc(arena, sizeof *n);
    if (!n)
        return -1;
    *n = (struct name){*names, *text};
    *names = n;
    return 0;
}

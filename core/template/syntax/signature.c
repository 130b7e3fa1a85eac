#include "core/template/syntax/signature.h"

#include "core/template/syntax/refuse.h"

int signature_index(const struct signature *s, const struct node *a, int at)
{
    if (!a->name.data)
        return at;
    for (int i = 0; s->names[i]; i++)
        if (string_is(a->name, s->names[i]))
            return i;
    return -1;
}

static int parameter_count(const struct signature *s)
{
    int count = 0;
    while (s->names[count])
        count++;
    return count;
}

int signature_check(const struct signature *s, const struct node *arguments, const char *what, int line,
                    struct err *e)
{
    bool given[PARAMETERS_MAX] = {0};
    int count = parameter_count(s), at = 0;
    for (const struct node *a = arguments; a; a = a->next, at++) {
        int index = signature_index(s, a, at);
        if (index < 0)
            return syntax_refuse(line, e, "the argument \"%.*s\" of %s is not supported", (int)a->name.length,
                                 a->name.data, what);
        if (index >= count || given[index])
            return syntax_refuse(line, e, "%s takes up to %d arguments, each once", what, count);
        given[index] = true;
    }
    for (int i = 0; i < s->required; i++)
        if (!given[i])
            return syntax_refuse(line, e, "%s needs the argument \"%s\"", what, s->names[i]);
    return 0;
}

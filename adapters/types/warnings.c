#include "adapters/types/warnings.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int warnings_add(struct warnings *w, struct err *e, const char *format, ...)
{
    if (!w)
        return 0;
    if (w->count == WARNINGS_MAX) {
        w->dropped++;
        return 0;
    }
    char text[WARNING_BYTES];
    struct err cleaned; /* its message is valid UTF-8 without control characters */
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    err_set(&cleaned, "warning", "%s", text);
    char *copy = strdup(cleaned.message);
    if (!copy)
        return err_memory(e);
    w->texts[w->count++] = copy;
    return 0;
}

void warnings_move(struct warnings *to, struct warnings *from)
{
    *to = *from;
    *from = (struct warnings){0};
}

void warning_names_add(struct warning_names *n, const char *name)
{
    size_t used = strlen(n->text), room = sizeof n->text - used;
    n->count++;
    if (n->shown + 1 != n->count || strlen(name) + 5 > room)
        return;
    snprintf(n->text + used, room, "%s\"%s\"", used ? ", " : "", name);
    n->shown++;
}

int warning_names_say(const struct warning_names *n, struct warnings *w, const char *field, const char *why,
                      struct err *e)
{
    char more[32] = "";
    if (n->count == 0)
        return 0;
    if (n->shown < n->count)
        snprintf(more, sizeof more, "%s%zu %s", n->shown ? " and " : "", n->count - n->shown,
                 n->shown ? "more" : "names");
    return warnings_add(w, e, "%s: %s%s: %s; ignored, as by PEFT", field, n->text, more, why);
}

void warnings_fini(struct warnings *w)
{
    for (size_t i = 0; i < w->count; i++)
        free(w->texts[i]);
    *w = (struct warnings){0};
}

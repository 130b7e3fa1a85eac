#include "core/template/syntax/refuse.h"

#include <stdarg.h>
#include <stdio.h>

int syntax_refuse(int line, struct err *e, const char *format, ...)
{
    char what[384];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    return err_set(e, "chat_template_unsupported", "the model's chat template, line %d: %s", line, what);
}

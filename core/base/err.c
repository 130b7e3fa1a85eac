#include "core/base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Cut a text that snprintf truncated so that it does not end inside a UTF-8 character. */
static void trim_partial_character(char *text)
{
    size_t length = strlen(text), start = length;
    while (start > 0 && length - start < 4 && ((unsigned char)text[start - 1] & 0xC0) == 0x80)
        start--;
    if (start == 0)
        return;
    unsigned char lead = (unsigned char)text[start - 1];
    size_t wanted = lead < 0x80 ? 1 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (length - (start - 1) < wanted)
        text[start - 1] = '\0';
}

static void format_into(char *out, size_t size, const char *format, va_list arguments)
{
    vsnprintf(out, size, format, arguments);
    trim_partial_character(out);
}

int err_set(struct err *e, const char *code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    format_into(e->message, sizeof e->message, format, arguments);
    va_end(arguments);
    e->code = code;
    e->hint[0] = '\0';
    e->param[0] = '\0';
    return -1;
}

int err_hint(struct err *e, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    format_into(e->hint, sizeof e->hint, format, arguments);
    va_end(arguments);
    return -1;
}

int err_param(struct err *e, const char *param)
{
    snprintf(e->param, sizeof e->param, "%s", param);
    trim_partial_character(e->param);
    return -1;
}

int err_errno(struct err *e, const char *format, ...)
{
    int number = errno;
    const char *code = number == ENOSPC || number == EDQUOT ? "storage_full"
                       : number == ENOMEM                   ? "out_of_memory"
                                                            : "io_error";
    char what[400];
    va_list arguments;
    va_start(arguments, format);
    format_into(what, sizeof what, format, arguments);
    va_end(arguments);
    char reason[96];
    return err_set(e, code, "%s: %s", what, strerror_r(number, reason, sizeof reason));
}

int err_memory(struct err *e)
{
    return err_set(e, "out_of_memory", "out of memory");
}

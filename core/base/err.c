#include "core/base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/base/utf8.h"

/* Messages quote what others sent, and end in JSON and in logs: replace control characters and what is not
 * UTF-8, and drop a character that was cut off at the end. */
static void clean(char *text)
{
    char *end = text + strlen(text);
    for (size_t size; text < end; text += size) {
        enum utf8_kind kind = utf8_next(text, (size_t)(end - text), &size);
        if (kind == UTF8_PARTIAL) {
            *text = '\0';
            return;
        }
        if (kind == UTF8_INVALID || (unsigned char)*text < 0x20 || *text == 0x7F) {
            *text = '?';
            size = 1;
        }
    }
}

static void __attribute__((format(printf, 3, 0)))
format_into(char *out, size_t size, const char *format, va_list arguments)
{
    vsnprintf(out, size, format, arguments);
    clean(out);
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
    clean(e->param);
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

#include "core/base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Length of the UTF-8 character at `text` (RFC 3629), or 0 where there is none; `*cut`: the text ends inside
 * it. */
static size_t character_length(const unsigned char *text, bool *cut)
{
    unsigned char lead = text[0];
    *cut = false;
    if (lead < 0x80)
        return 1;
    if (lead < 0xC2 || lead > 0xF4)
        return 0;
    size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    /* The second byte decides about overlong forms, surrogates and what is beyond U+10FFFF. */
    unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    for (size_t i = 1; i < length; i++, low = 0x80, high = 0xBF) {
        *cut = text[i] == '\0';
        if (text[i] < low || text[i] > high)
            return 0;
    }
    return length;
}

/* Messages quote what others sent, and end in JSON and in logs: replace control characters and what is not
 * UTF-8, and drop a character that was cut off at the end. */
static void clean(char *text)
{
    unsigned char *next = (unsigned char *)text;
    while (*next) {
        bool cut;
        size_t length = character_length(next, &cut);
        if (cut)
            *next = '\0';
        else if (length == 0 || *next < 0x20 || *next == 0x7F)
            *next++ = '?';
        else
            next += length;
    }
}

static void format_into(char *out, size_t size, const char *format, va_list arguments)
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

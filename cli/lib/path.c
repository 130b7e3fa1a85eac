#include "cli/lib/path.h"

#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES_MAX = 64, DIGITS_MIN = 4, DIGITS_MAX = 64 };

static int encode(struct buf *b, const char *text)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    for (; *text; text++) {
        int r = strchr(plain, *text) ? buf_append(b, text, 1) : buf_printf(b, "%%%02X", (unsigned char)*text);
        if (r != 0)
            return -1;
    }
    return 0;
}

int path_segment(struct buf *b, const char *text)
{
    return buf_append(b, "/", 1) != 0 ? -1 : encode(b, text);
}

int path_adapter(struct buf *b, const char *name, const char *version)
{
    if (buf_append_string(b, "/adapters") != 0 || path_segment(b, name) != 0)
        return -1;
    return !version || (buf_append_string(b, "/versions") == 0 && path_segment(b, version) == 0) ? 0 : -1;
}

int path_query(struct buf *b, const char *name, const char *value)
{
    const char *mark = b->data && memchr(b->data, '?', b->length) ? "&" : "?";
    return buf_printf(b, "%s%s=", mark, name) != 0 ? -1 : encode(b, value);
}

const char *path_digits(const char *version)
{
    return version && strncmp(version, "sha256:", 7) == 0 ? version + 7 : version;
}

bool path_name_valid(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t length = strlen(name);
    return length >= 1 && length <= NAME_BYTES_MAX && strspn(name, allowed) == length &&
           !strchr("._-", *name);
}

int path_check_name(const char *what, const char *name, struct err *e)
{
    if (path_name_valid(name))
        return 0;
    return err_set(e, "invalid_name", "\"%.100s\" cannot name %s: names match [a-z0-9][a-z0-9._-]{0,63}",
                   name, what);
}

static int check_digits(const char *version, struct err *e)
{
    size_t length = strlen(version);
    if (length >= DIGITS_MIN && length <= DIGITS_MAX && strspn(version, "0123456789abcdef") == length)
        return 0;
    return err_set(e, "version_not_found",
                   "\"%.100s\" is no version: behind NAME@ come %d to %d hexadecimal digits of lower case",
                   version, DIGITS_MIN, DIGITS_MAX);
}

int path_reference(const char *text, char **name, const char **version, struct err *e)
{
    char *copy = strdup(text);
    if (!copy)
        return err_memory(e);
    char *at = strchr(copy, '@');
    if (at)
        *at = '\0';
    const char *digits = at ? path_digits(at + 1) : NULL;
    if (path_check_name("an adapter", copy, e) != 0 || (digits && check_digits(digits, e) != 0)) {
        free(copy);
        return -1;
    }
    *name = copy;
    *version = digits;
    return 0;
}

#include "cli/path.h"

#include <string.h>

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

const char *path_cut_version(char *reference)
{
    char *at = strchr(reference, '@');
    if (!at)
        return NULL;
    *at = '\0';
    return path_digits(at + 1);
}

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

int path_query(struct buf *b, const char *name, const char *value)
{
    const char *mark = b->data && memchr(b->data, '?', b->length) ? "&" : "?";
    return buf_printf(b, "%s%s=", mark, name) != 0 ? -1 : encode(b, value);
}

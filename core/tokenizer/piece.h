/* A stretch of text on its way through the tokenizer. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* Where Metaspace puts its character in front: nowhere, at the start of the text, before every piece. */
enum prepend_scheme { PREPEND_NEVER, PREPEND_FIRST, PREPEND_ALWAYS };

enum { PIECE_BYTES_MAX = 1 << 28 }; /* of a whole text: positions in words have 31 bits */

struct piece {
    const char *text; /* borrowed, valid UTF-8 */
    size_t length;
    /* Metaspace with prepend_scheme "first" asks whether a piece begins where the whole text began, before
     * any normalizing. So each piece knows that of itself, and how many of its first bytes stand for that
     * place. */
    bool at_start;
    size_t start_bytes;
};

/* The part [from, to) of a piece. */
static inline struct piece piece_slice(struct piece p, size_t from, size_t to)
{
    bool at_start = p.at_start && from < p.start_bytes;
    size_t start_bytes = at_start ? p.start_bytes - from : 0;
    if (start_bytes > to - from)
        start_bytes = to - from;
    return (struct piece){p.text + from, to - from, at_start, start_bytes};
}

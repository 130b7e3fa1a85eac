#include "bench/vocabulary.h"

#include <stdio.h>
#include <string.h>

/* The character that stands for a byte in byte-level BPE (Radford et al. 2019): printable ones for
 * themselves, the others from U+0100 on. */
static unsigned byte_character(int byte)
{
    unsigned next = 256;
    for (int i = 0; i <= byte; i++) {
        int printable = (i >= '!' && i <= '~') || (i >= 0xA1 && i <= 0xAC) || i >= 0xAE;
        if (i == byte && printable)
            return (unsigned)byte;
        next += i < byte && !printable;
    }
    return next;
}

static void word(int id, char out[VOCABULARY_TEXT])
{
    int letters = 2, count = 26 * 26, at = id - VOCABULARY_BYTES;
    for (; at >= count; letters++) {
        at -= count;
        count *= 26;
    }
    out[letters] = '\0';
    for (int i = letters - 1; i >= 0; i--, at /= 26)
        out[i] = (char)('a' + at % 26);
}

void vocabulary_token(int id, char out[VOCABULARY_TEXT])
{
    if (id >= VOCABULARY_BYTES) {
        word(id, out);
        return;
    }
    unsigned c = byte_character(id);
    if (c < 0x80)
        snprintf(out, VOCABULARY_TEXT, "%c", (char)c);
    else
        snprintf(out, VOCABULARY_TEXT, "%c%c", (char)(0xC0 | c >> 6), (char)(0x80 | (c & 0x3F)));
}

int vocabulary_merge(int id, char left[VOCABULARY_TEXT], char right[VOCABULARY_TEXT])
{
    if (id < VOCABULARY_BYTES)
        return 0;
    word(id, left);
    size_t last = strlen(left) - 1;
    snprintf(right, VOCABULARY_TEXT, "%c", left[last]);
    left[last] = '\0';
    return 1;
}

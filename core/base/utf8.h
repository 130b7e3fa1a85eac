/* UTF-8, one character at a time. Owns nothing; any thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum utf8_kind {
    UTF8_WHOLE,   /* a whole character */
    UTF8_INVALID, /* bytes that stand for one U+FFFD (Unicode 3.9, "substitution of maximal subparts") */
    UTF8_PARTIAL, /* the beginning of a character: more bytes may complete it */
};
/* What the first bytes of `text` (length >= 1) are, and how many. */
enum utf8_kind utf8_next(const char *text, size_t length, size_t *size);
bool utf8_valid(const char *text, size_t length);

/* The functions below want valid UTF-8. */

/* Code point at text[0]; *size becomes its bytes. */
uint32_t utf8_decode(const char *text, size_t *size);
/* Bytes of the character that starts with this byte. */
size_t utf8_size(char lead);
/* Start of the character that ends at text[end]; end > 0. */
size_t utf8_before(const char *text, size_t end);
/* Bytes written to `out`. */
size_t utf8_encode(uint32_t code, char out[4]);

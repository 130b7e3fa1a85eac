/* Character properties as the `tokenizers` library sees them: Unicode 16, where the libraries here know
 * Unicode 14 (PCRE2 10.42) and 15 (utf8proc 2.8). Read-only tables; any thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct unicode_range {
    uint32_t first, last;
    char category[3]; /* general category: "Lo" */
};
/* Characters assigned (or moved) after Unicode 14, in order. */
extern const struct unicode_range unicode_newer[];
extern const size_t unicode_newer_count;

bool unicode_is_space(uint32_t code); /* White_Space */
bool unicode_is_word(uint32_t code);  /* \w of UTS #18: Alphabetic, M, Nd, Pc, Join_Control */

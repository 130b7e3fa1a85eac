/* Strings as Python's str: sequences of code points, kept as UTF-8 that is valid. They own nothing: their
 * bytes belong to the messages, the template or the arena of a rendering. Pure functions: any thread, no
 * errors. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct string { /* may hold U+0000 */
    const char *data;
    size_t length; /* bytes */
};
#define STRING(text) ((struct string){(text), sizeof(text) - 1})

bool string_is(struct string s, const char *text);
int string_order(struct string a, struct string b); /* by code points: < 0, 0 or > 0 */
size_t string_count(struct string s);               /* code points */
/* `count` code points from the one at `start` on, which must be there: a part of the string itself. */
struct string string_part(struct string s, size_t start, size_t count);
/* Byte of the first place of `part` from byte `from` on, or -1. */
ptrdiff_t string_find(struct string s, struct string part, size_t from);
/* Byte of the last place of `part` that ends at byte `end` or before, or -1. */
ptrdiff_t string_find_last(struct string s, struct string part, size_t end);

bool string_is_space(uint32_t code); /* as Python's str.isspace */
/* Whether the character of `size` bytes is one of `chars`; data NULL: white space. */
bool string_has(struct string chars, const char *character, size_t size);
enum string_sides { STRING_LEFT = 1, STRING_RIGHT = 2, STRING_BOTH = 3 };
/* Characters of `chars` off the ends; data NULL: white space. */
struct string string_strip(struct string s, struct string chars, enum string_sides sides);

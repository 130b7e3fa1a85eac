#include "core/template/values/string.h"

#include <string.h>

#include "core/base/utf8.h"
#include "core/unicode/unicode.h"

bool string_is(struct string s, const char *text)
{
    return strlen(text) == s.length && (s.length == 0 || memcmp(s.data, text, s.length) == 0);
}

int string_order(struct string a, struct string b)
{
    size_t common = a.length < b.length ? a.length : b.length;
    int order = common ? memcmp(a.data, b.data, common) : 0; /* UTF-8: the order of code points */
    return order ? order : (a.length > b.length) - (a.length < b.length);
}

bool string_is_space(uint32_t code)
{
    return unicode_is_space(code) || (code >= 0x1C && code <= 0x1F);
}

size_t string_count(struct string s)
{
    size_t count = 0;
    for (size_t i = 0; i < s.length; i++)
        count += ((unsigned char)s.data[i] & 0xC0) != 0x80;
    return count;
}

/* Bytes of so many code points. */
static size_t bytes_of(const char *text, size_t count)
{
    size_t bytes = 0;
    for (; count > 0; count--)
        bytes += utf8_size(text[bytes]);
    return bytes;
}

struct string string_part(struct string s, size_t start, size_t count)
{
    const char *begin = s.data + bytes_of(s.data, start);
    return (struct string){begin, bytes_of(begin, count)};
}

ptrdiff_t string_find(struct string s, struct string part, size_t from)
{
    if (part.length > s.length - from)
        return -1;
    if (part.length == 0)
        return (ptrdiff_t)from;
    const char *found = memmem(s.data + from, s.length - from, part.data, part.length);
    return found ? found - s.data : -1;
}

ptrdiff_t string_find_last(struct string s, struct string part, size_t end)
{
    for (size_t at = end; at >= part.length; at--)
        if (memcmp(s.data + at - part.length, part.data, part.length) == 0)
            return (ptrdiff_t)(at - part.length);
    return -1;
}

bool string_has(struct string chars, const char *character, size_t size)
{
    if (!chars.data) {
        size_t ignored;
        return string_is_space(utf8_decode(character, &ignored));
    }
    return string_find(chars, (struct string){character, size}, 0) >= 0;
}

struct string string_strip(struct string s, struct string chars, enum string_sides sides)
{
    while (sides & STRING_LEFT && s.length > 0) {
        size_t size = utf8_size(s.data[0]);
        if (!string_has(chars, s.data, size))
            break;
        s.data += size;
        s.length -= size;
    }
    while (sides & STRING_RIGHT && s.length > 0) {
        size_t start = utf8_before(s.data, s.length);
        if (!string_has(chars, s.data + start, s.length - start))
            break;
        s.length = start;
    }
    return s;
}

#include "core/base/utf8.h"

/* The range of the second byte depends on the first: no overlong forms, no surrogates, nothing above
 * U+10FFFF. */
static bool second_byte_allowed(unsigned char lead, unsigned char second)
{
    unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    return second >= low && second <= high;
}

size_t utf8_size(char lead)
{
    unsigned char byte = (unsigned char)lead;
    return byte < 0x80 ? 1 : byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : 2;
}

enum utf8_kind utf8_next(const char *text, size_t length, size_t *size)
{
    unsigned char lead = (unsigned char)text[0];
    *size = 1;
    if (lead < 0x80)
        return UTF8_WHOLE;
    if (lead < 0xC2 || lead > 0xF4)
        return UTF8_INVALID;
    size_t wanted = utf8_size(text[0]);
    for (; *size < wanted && *size < length; ++*size) {
        unsigned char byte = (unsigned char)text[*size];
        if (*size == 1 ? !second_byte_allowed(lead, byte) : (byte & 0xC0) != 0x80)
            return UTF8_INVALID;
    }
    return *size == wanted ? UTF8_WHOLE : UTF8_PARTIAL;
}

bool utf8_valid(const char *text, size_t length)
{
    for (size_t at = 0, size; at < length; at += size)
        if (utf8_next(text + at, length - at, &size) != UTF8_WHOLE)
            return false;
    return true;
}

uint32_t utf8_decode(const char *text, size_t *size)
{
    const unsigned char *b = (const unsigned char *)text;
    *size = utf8_size(text[0]);
    switch (*size) {
    case 1:
        return b[0];
    case 2:
        return (b[0] & 0x1Fu) << 6 | (b[1] & 0x3Fu);
    case 3:
        return (b[0] & 0x0Fu) << 12 | (b[1] & 0x3Fu) << 6 | (b[2] & 0x3Fu);
    default:
        return (b[0] & 0x07u) << 18 | (b[1] & 0x3Fu) << 12 | (b[2] & 0x3Fu) << 6 | (b[3] & 0x3Fu);
    }
}

size_t utf8_before(const char *text, size_t end)
{
    do
        end--;
    while (end > 0 && ((unsigned char)text[end] & 0xC0) == 0x80);
    return end;
}

size_t utf8_encode(uint32_t code, char out[4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t size = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = size - 1; i > 0; i--, code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3F));
    out[0] = (char)(lead[size] | code);
    return size;
}

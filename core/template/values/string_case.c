#include "core/template/values/string_case.h"

#include <string.h>
#include <utf8proc.h>

#include "core/base/utf8.h"

enum { UPPER_MAX = 3 };

/* Characters whose upper case is several. Source: Unicode's SpecialCasing.txt, without conditions. */
static const struct {
    uint32_t from, to[UPPER_MAX];
} upper_special[] = {{0xDF, {0x53, 0x53}},
                     {0x149, {0x2BC, 0x4E}},
                     {0x1F0, {0x4A, 0x30C}},
                     {0x390, {0x399, 0x308, 0x301}},
                     {0x3B0, {0x3A5, 0x308, 0x301}},
                     {0x587, {0x535, 0x552}},
                     {0x1E96, {0x48, 0x331}},
                     {0x1E97, {0x54, 0x308}},
                     {0x1E98, {0x57, 0x30A}},
                     {0x1E99, {0x59, 0x30A}},
                     {0x1E9A, {0x41, 0x2BE}},
                     {0x1F50, {0x3A5, 0x313}},
                     {0x1F52, {0x3A5, 0x313, 0x300}},
                     {0x1F54, {0x3A5, 0x313, 0x301}},
                     {0x1F56, {0x3A5, 0x313, 0x342}},
                     {0x1F80, {0x1F08, 0x399}},
                     {0x1F81, {0x1F09, 0x399}},
                     {0x1F82, {0x1F0A, 0x399}},
                     {0x1F83, {0x1F0B, 0x399}},
                     {0x1F84, {0x1F0C, 0x399}},
                     {0x1F85, {0x1F0D, 0x399}},
                     {0x1F86, {0x1F0E, 0x399}},
                     {0x1F87, {0x1F0F, 0x399}},
                     {0x1F88, {0x1F08, 0x399}},
                     {0x1F89, {0x1F09, 0x399}},
                     {0x1F8A, {0x1F0A, 0x399}},
                     {0x1F8B, {0x1F0B, 0x399}},
                     {0x1F8C, {0x1F0C, 0x399}},
                     {0x1F8D, {0x1F0D, 0x399}},
                     {0x1F8E, {0x1F0E, 0x399}},
                     {0x1F8F, {0x1F0F, 0x399}},
                     {0x1F90, {0x1F28, 0x399}},
                     {0x1F91, {0x1F29, 0x399}},
                     {0x1F92, {0x1F2A, 0x399}},
                     {0x1F93, {0x1F2B, 0x399}},
                     {0x1F94, {0x1F2C, 0x399}},
                     {0x1F95, {0x1F2D, 0x399}},
                     {0x1F96, {0x1F2E, 0x399}},
                     {0x1F97, {0x1F2F, 0x399}},
                     {0x1F98, {0x1F28, 0x399}},
                     {0x1F99, {0x1F29, 0x399}},
                     {0x1F9A, {0x1F2A, 0x399}},
                     {0x1F9B, {0x1F2B, 0x399}},
                     {0x1F9C, {0x1F2C, 0x399}},
                     {0x1F9D, {0x1F2D, 0x399}},
                     {0x1F9E, {0x1F2E, 0x399}},
                     {0x1F9F, {0x1F2F, 0x399}},
                     {0x1FA0, {0x1F68, 0x399}},
                     {0x1FA1, {0x1F69, 0x399}},
                     {0x1FA2, {0x1F6A, 0x399}},
                     {0x1FA3, {0x1F6B, 0x399}},
                     {0x1FA4, {0x1F6C, 0x399}},
                     {0x1FA5, {0x1F6D, 0x399}},
                     {0x1FA6, {0x1F6E, 0x399}},
                     {0x1FA7, {0x1F6F, 0x399}},
                     {0x1FA8, {0x1F68, 0x399}},
                     {0x1FA9, {0x1F69, 0x399}},
                     {0x1FAA, {0x1F6A, 0x399}},
                     {0x1FAB, {0x1F6B, 0x399}},
                     {0x1FAC, {0x1F6C, 0x399}},
                     {0x1FAD, {0x1F6D, 0x399}},
                     {0x1FAE, {0x1F6E, 0x399}},
                     {0x1FAF, {0x1F6F, 0x399}},
                     {0x1FB2, {0x1FBA, 0x399}},
                     {0x1FB3, {0x391, 0x399}},
                     {0x1FB4, {0x386, 0x399}},
                     {0x1FB6, {0x391, 0x342}},
                     {0x1FB7, {0x391, 0x342, 0x399}},
                     {0x1FBC, {0x391, 0x399}},
                     {0x1FC2, {0x1FCA, 0x399}},
                     {0x1FC3, {0x397, 0x399}},
                     {0x1FC4, {0x389, 0x399}},
                     {0x1FC6, {0x397, 0x342}},
                     {0x1FC7, {0x397, 0x342, 0x399}},
                     {0x1FCC, {0x397, 0x399}},
                     {0x1FD2, {0x399, 0x308, 0x300}},
                     {0x1FD3, {0x399, 0x308, 0x301}},
                     {0x1FD6, {0x399, 0x342}},
                     {0x1FD7, {0x399, 0x308, 0x342}},
                     {0x1FE2, {0x3A5, 0x308, 0x300}},
                     {0x1FE3, {0x3A5, 0x308, 0x301}},
                     {0x1FE4, {0x3A1, 0x313}},
                     {0x1FE6, {0x3A5, 0x342}},
                     {0x1FE7, {0x3A5, 0x308, 0x342}},
                     {0x1FF2, {0x1FFA, 0x399}},
                     {0x1FF3, {0x3A9, 0x399}},
                     {0x1FF4, {0x38F, 0x399}},
                     {0x1FF6, {0x3A9, 0x342}},
                     {0x1FF7, {0x3A9, 0x342, 0x399}},
                     {0x1FFC, {0x3A9, 0x399}},
                     {0xFB00, {0x46, 0x46}},
                     {0xFB01, {0x46, 0x49}},
                     {0xFB02, {0x46, 0x4C}},
                     {0xFB03, {0x46, 0x46, 0x49}},
                     {0xFB04, {0x46, 0x46, 0x4C}},
                     {0xFB05, {0x53, 0x54}},
                     {0xFB06, {0x53, 0x54}},
                     {0xFB13, {0x544, 0x546}},
                     {0xFB14, {0x544, 0x535}},
                     {0xFB15, {0x544, 0x53B}},
                     {0xFB16, {0x54E, 0x546}},
                     {0xFB17, {0x544, 0x53D}}};

static bool has_case(uint32_t code)
{
    return (uint32_t)utf8proc_tolower((utf8proc_int32_t)code) != code ||
           (uint32_t)utf8proc_toupper((utf8proc_int32_t)code) != code;
}

/* Whether a word of Jinja's "title" begins behind this character. */
static bool parts_words(uint32_t code)
{
    return string_is_space(code) || (code < 0x80 && strchr("-([{<", (int)code) && code);
}

/* Fills `out` with the upper case of a character; returns how many characters that is. */
static size_t upper(uint32_t code, uint32_t out[UPPER_MAX])
{
    size_t count = 0;
    out[0] = (uint32_t)utf8proc_toupper((utf8proc_int32_t)code);
    for (size_t i = 0; code >= upper_special[0].from && i < sizeof upper_special / sizeof *upper_special; i++)
        if (upper_special[i].from == code) {
            memcpy(out, upper_special[i].to, sizeof upper_special[i].to);
            for (; count < UPPER_MAX && out[count]; count++)
                continue;
            return count;
        }
    return 1;
}

/* The character in another case: how many it becomes, or 0 where that is not known here. The lower case of a
 * capital sigma depends on the word around it, that of U+0130 has two characters. */
static size_t change(uint32_t code, bool begins, enum string_case to, uint32_t out[UPPER_MAX])
{
    bool upper_case = to == STRING_UPPER || (to == STRING_WORDS && begins);
    size_t count = upper(code, out);
    if (upper_case)
        return count;
    if (begins && to != STRING_LOWER) {
        out[0] = (uint32_t)utf8proc_totitle((utf8proc_int32_t)code);
        return count == 1;
    }
    out[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)code);
    return code != 0x3A3 && code != 0x130;
}

static int change_case(struct context *c, struct string s, enum string_case to, struct buf *out)
{
    bool begins = true;
    for (size_t at = 0, size; at < s.length; at += size) {
        uint32_t code = utf8_decode(s.data + at, &size), changed[UPPER_MAX];
        size_t count = change(code, begins, to, changed);
        char text[4];
        if (count == 0)
            return context_fail(c, "the case of U+%04X cannot be changed here", code);
        for (size_t i = 0; i < count; i++)
            if (buf_append(out, text, utf8_encode(changed[i], text)) != 0)
                return err_memory(c->e);
        begins = to == STRING_TITLE ? !has_case(code) : to == STRING_WORDS && parts_words(code);
    }
    return 0;
}

int string_change_case(struct context *c, struct string s, enum string_case to, struct value *out)
{
    struct buf text = {0};
    if (context_work(c, s.length) != 0 || change_case(c, s, to, &text) != 0) {
        buf_fini(&text);
        return -1;
    }
    return value_take(c, &text, out);
}

bool string_has_case(struct string s, enum string_case wanted)
{
    bool found = false;
    for (size_t at = 0, size; at < s.length; at += size) {
        uint32_t code = utf8_decode(s.data + at, &size);
        utf8proc_int32_t c = (utf8proc_int32_t)code;
        if (!has_case(code))
            continue;
        if ((wanted == STRING_UPPER ? utf8proc_toupper(c) : utf8proc_tolower(c)) != c)
            return false;
        found = true;
    }
    return found;
}

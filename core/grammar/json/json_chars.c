#include "core/grammar/json/json_chars.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SPECIALS = 0x22 }; /* 0x00 to 0x1F, the quotation mark, the backslash */

static uint32_t special(int index)
{
    return index < 0x20 ? (uint32_t)index : index == 0x20 ? '"' : '\\';
}

static size_t escape(uint32_t c, char out[8])
{
    static const char letters[][2] = {{'\b', 'b'}, {'\f', 'f'}, {'\n', 'n'}, {'\r', 'r'},
                                      {'\t', 't'}, {'"', '"'},  {'\\', '\\'}};
    for (size_t i = 0; i < sizeof letters / sizeof *letters; i++)
        if (c == (uint32_t)letters[i][0])
            return (size_t)snprintf(out, 8, "\\%c", letters[i][1]);
    return (size_t)snprintf(out, 8, "\\u%04x", c);
}

static bool contains(const struct grammar_range *ranges, size_t count, uint32_t c)
{
    for (size_t i = 0; i < count; i++)
        if (ranges[i].low <= c && c <= ranges[i].high)
            return true;
    return false;
}

/* What is written as it is: the parts of low..high between the special characters. */
static size_t add_plain(struct grammar_range *out, size_t count, uint32_t low, uint32_t high)
{
    static const struct grammar_range plain[] = {{0x20, 0x21}, {0x23, 0x5B}, {0x5D, GRAMMAR_CODE_MAX}};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        uint32_t from = low > plain[i].low ? low : plain[i].low;
        uint32_t to = high < plain[i].high ? high : plain[i].high;
        if (from <= to)
            out[count++] = (struct grammar_range){from, to};
    }
    return count;
}

int json_chars_plain(struct grammar *g, const struct grammar_range *ranges, size_t count)
{
    struct grammar_range *plain = calloc(3 * count + 1, sizeof *plain);
    if (!plain) {
        g->no_memory = true;
        return GRAMMAR_BAD;
    }
    size_t plain_count = 0;
    for (size_t i = 0; i < count; i++)
        plain_count = add_plain(plain, plain_count, ranges[i].low, ranges[i].high);
    int node = plain_count > 0 ? grammar_chars(g, plain, plain_count) : grammar_any(g, NULL, 0);
    free(plain);
    return node;
}

int json_chars(struct grammar *g, const struct grammar_range *ranges, size_t count)
{
    int nodes[SPECIALS + 1] = {json_chars_plain(g, ranges, count)};
    size_t node_count = 1;
    for (int i = 0; i < SPECIALS; i++) {
        char text[8];
        if (contains(ranges, count, special(i)))
            nodes[node_count++] = grammar_text(g, text, escape(special(i), text));
    }
    return grammar_any(g, nodes, node_count);
}

static int hex(struct grammar *g, int count)
{
    static const struct grammar_range digits[] = {{'0', '9'}, {'A', 'F'}, {'a', 'f'}};
    return grammar_repeat(g, grammar_chars(g, digits, 3), count, count);
}

int json_chars_any(struct grammar *g)
{
    static const struct grammar_range plain[] = {{0x20, 0x21}, {0x23, 0x5B}, {0x5D, GRAMMAR_CODE_MAX}},
                                      letters[] = {{'"', '"'}, {'/', '/'}, {'\\', '\\'}, {'b', 'b'},
                                                   {'f', 'f'}, {'n', 'n'}, {'r', 'r'},   {'t', 't'}},
                                      others[] = {{'0', '9'}, {'A', 'C'}, {'E', 'F'}, {'a', 'c'}, {'e', 'f'}},
                                      d[] = {{'D', 'D'}, {'d', 'd'}}, below[] = {{'0', '7'}},
                                      high[] = {{'8', '9'}, {'A', 'B'}, {'a', 'b'}},
                                      low[] = {{'C', 'F'}, {'c', 'f'}};
    int single = GRAMMAR_ALL_OF(g, grammar_chars(g, others, 5), hex(g, 3));
    int under = GRAMMAR_ALL_OF(g, grammar_chars(g, d, 2), grammar_chars(g, below, 1), hex(g, 2));
    int pair =
        GRAMMAR_ALL_OF(g, grammar_chars(g, d, 2), grammar_chars(g, high, 3), hex(g, 2),
                       grammar_string(g, "\\u"), grammar_chars(g, d, 2), grammar_chars(g, low, 2), hex(g, 2));
    int code = GRAMMAR_ALL_OF(g, grammar_string(g, "u"), GRAMMAR_ANY_OF(g, single, under, pair));
    int escaped =
        GRAMMAR_ALL_OF(g, grammar_string(g, "\\"), GRAMMAR_ANY_OF(g, grammar_chars(g, letters, 8), code));
    return GRAMMAR_ANY_OF(g, grammar_chars(g, plain, 3), escaped);
}

int json_chars_text(struct grammar *g, const char *text, size_t length)
{
    struct buf out = {0};
    int failed = 0;
    for (size_t i = 0; i < length && !failed; i++) {
        char written[8] = {text[i]};
        bool plain = (uint8_t)text[i] >= 0x20 && text[i] != '"' && text[i] != '\\';
        failed = buf_append(&out, written, plain ? 1 : escape((uint8_t)text[i], written));
    }
    int node = failed ? GRAMMAR_BAD : grammar_text(g, out.data ? out.data : "", out.length);
    g->no_memory |= failed != 0;
    buf_fini(&out);
    return node;
}

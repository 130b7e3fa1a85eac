#include "core/grammar/regex.h"

#include <string.h>

#include "core/base/hex.h"
#include "core/base/utf8.h"
#include "core/grammar/char_class.h"
#include "core/grammar/reader.h"

static const struct grammar_range digits[] = {{'0', '9'}},
                                  words[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}},
                                  spaces[] = {{'\t', '\r'}, {' ', ' '}},
                                  other_spaces[] = {{0x1C, 0x1F},     {0x85, 0x85},     {0xA0, 0xA0},
                                                    {0x1680, 0x1680}, {0x2000, 0x200A}, {0x2028, 0x2029},
                                                    {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000},
                                                    {0xFEFF, 0xFEFF}},
                                  line_ends[] = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}},
                                  beyond_ascii[] = {{0x80, GRAMMAR_CODE_MAX}};

#define ADD(class, ranges) char_class_add_all((class), (ranges), sizeof(ranges) / sizeof *(ranges))

static int refuse(struct reader *r, const char *code, const char *what)
{
    if (!r->failed)
        err_set(r->e, code, "the regular expression %s, at byte %zu of it", what, r->at);
    r->failed = true;
    return GRAMMAR_BAD;
}

static int malformed(struct reader *r, const char *what)
{
    return refuse(r, "regex_malformed", what);
}

static int unsupported(struct reader *r, const char *what)
{
    return refuse(r, "regex_unsupported", what);
}

static uint32_t take_character(struct reader *r)
{
    size_t size;
    uint32_t c = utf8_decode(r->text + r->at, &size);
    r->at += size;
    return c;
}

/* ---- escapes ---- */

/* `count` hexadecimal digits; the value becomes *out. */
static int take_hex(struct reader *r, int count, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < count; i++) {
        int digit = reader_more(r) ? hex_digit(r->text[r->at]) : -1;
        if (digit < 0)
            return malformed(r, "has an escape with too few hexadecimal digits");
        *out = *out * 16 + (uint32_t)digit;
        r->at++;
    }
    return 0;
}

/* Behind \u: four digits, two of them for a pair of surrogates, or any number between braces. */
static int take_code(struct reader *r, uint32_t *out)
{
    uint32_t low;
    if (reader_take(r, "{")) {
        *out = 0;
        do {
            uint32_t digit;
            if (take_hex(r, 1, &digit) != 0)
                return -1;
            *out = *out * 16 + digit;
        } while (*out <= GRAMMAR_CODE_MAX && !reader_take(r, "}"));
    } else if (take_hex(r, 4, out) != 0) {
        return -1;
    }
    if (*out >= 0xD800 && *out <= 0xDBFF && reader_take(r, "\\u")) {
        if (take_hex(r, 4, &low) != 0)
            return -1;
        *out = low >= 0xDC00 && low <= 0xDFFF ? 0x10000 + ((*out - 0xD800) << 10) + (low - 0xDC00) : *out;
    }
    if (*out > GRAMMAR_CODE_MAX || (*out >= 0xD800 && *out <= 0xDFFF))
        return malformed(r, "has an escape that is no character");
    return 0;
}

/* A letter that stands for a class. */
static bool add_named(struct char_class *c, char letter)
{
    struct char_class named = {0};
    switch (letter | 0x20) {
    case 'd':
        ADD(&named, digits);
        break;
    case 'w':
        ADD(&named, words);
        break;
    case 's':
        ADD(&named, spaces);
        break;
    default:
        return false;
    }
    if (letter == 'S')
        ADD(&named, other_spaces);
    else if (letter < 'a')
        ADD(&named, beyond_ascii);
    char_class_sort(&named);
    if (letter < 'a')
        char_class_complement(&named);
    char_class_add_all(c, named.ranges, named.count);
    return true;
}

static int escaped_letter(struct reader *r, char letter, uint32_t *out)
{
    static const char letters[][2] = {{'n', '\n'}, {'r', '\r'}, {'t', '\t'}, {'f', '\f'},
                                      {'v', '\v'}, {'a', '\a'}, {'e', 0x1B}};
    for (size_t i = 0; i < sizeof letters / sizeof *letters; i++)
        if (letters[i][0] == letter) {
            *out = (uint32_t)letters[i][1];
            return 0;
        }
    switch (letter) {
    case '0':
        *out = 0;
        return reader_more(r) && r->text[r->at] >= '0' && r->text[r->at] <= '9'
                   ? unsupported(r, "has an octal escape")
                   : 0;
    case 'x':
        return take_hex(r, 2, out);
    case 'u':
        return take_code(r, out);
    case 'c':
        if (!reader_more(r) || ((r->text[r->at] | 0x20) < 'a' || (r->text[r->at] | 0x20) > 'z'))
            return malformed(r, "has \\c without a letter");
        *out = (uint32_t)r->text[r->at++] & 0x1F;
        return 0;
    case 'p':
    case 'P':
        return unsupported(r, "has a class of Unicode (\\p)");
    case 'b':
    case 'B':
        return unsupported(r, "has a word boundary (\\b)");
    case 'A':
    case 'Z':
    case 'z':
    case 'G':
        return unsupported(r, "has \\A, \\Z or \\z; ^ and $ are served");
    default:
        return unsupported(r, letter >= '1' && letter <= '9' ? "has a back reference"
                                                             : "has an escape that is not known");
    }
}

/* Behind a backslash: a class that is added to `c` (*single false), or one character (*single true). */
static int take_escape(struct reader *r, struct char_class *c, bool in_class, bool *single, uint32_t *out)
{
    *single = true;
    if (!reader_more(r))
        return malformed(r, "ends with a backslash");
    char letter = r->text[r->at];
    bool named = ((letter | 0x20) >= 'a' && (letter | 0x20) <= 'z') || (letter >= '0' && letter <= '9');
    if (!named) {
        *out = take_character(r);
        return 0;
    }
    r->at++;
    if (in_class && letter == 'b') {
        *out = '\b';
        return 0;
    }
    *single = !add_named(c, letter);
    return *single ? escaped_letter(r, letter, out) : 0;
}

/* ---- classes ---- */

static int take_class_character(struct reader *r, struct char_class *c, bool *single, uint32_t *out)
{
    *single = true;
    if (reader_is_next(r, "[:"))
        return unsupported(r, "has a class with a name ([:...:])");
    if (reader_take(r, "\\"))
        return take_escape(r, c, true, single, out);
    *out = take_character(r);
    return 0;
}

static int take_class_range(struct reader *r, struct char_class *c)
{
    uint32_t low, high;
    bool single, end;
    if (take_class_character(r, c, &single, &low) != 0)
        return -1;
    if (!single)
        return 0;
    high = low;
    if (r->length - r->at >= 2 && reader_is_next(r, "-") && r->text[r->at + 1] != ']') {
        r->at++;
        if (take_class_character(r, c, &end, &high) != 0)
            return -1;
        if (!end || high < low)
            return malformed(r, "has a range of characters whose end is not one behind its beginning");
    }
    char_class_add(c, low, high);
    return 0;
}

static int class_node(struct reader *r, struct char_class *c, bool complement)
{
    char_class_sort(c);
    if (complement)
        char_class_complement(c);
    if (c->full || c->count > REGEX_RANGES_MAX)
        return unsupported(r, "has a class of too many ranges");
    return grammar_chars(r->g, c->ranges, c->count);
}

static int take_class(struct reader *r)
{
    struct char_class c = {0};
    bool complement = reader_take(r, "^");
    while (reader_more(r) && !reader_is_next(r, "]"))
        if (take_class_range(r, &c) != 0)
            return GRAMMAR_BAD;
    if (!reader_take(r, "]"))
        return malformed(r, "has a class without its ]");
    return class_node(r, &c, complement);
}

static int single_node(struct reader *r, uint32_t c)
{
    struct grammar_range range = {c, c};
    return grammar_chars(r->g, &range, 1);
}

static int take_outer_escape(struct reader *r)
{
    struct char_class c = {0};
    bool single;
    uint32_t character;
    if (take_escape(r, &c, false, &single, &character) != 0)
        return GRAMMAR_BAD;
    return single ? single_node(r, character) : class_node(r, &c, false);
}

static int any_node(struct reader *r)
{
    struct char_class c = {0};
    ADD(&c, line_ends);
    return class_node(r, &c, true);
}

/* ---- groups, repetitions ---- */

static int take_alternatives(struct reader *r);

static int take_group(struct reader *r)
{
    if (reader_is_next(r, "?=") || reader_is_next(r, "?!") || reader_is_next(r, "?<=") ||
        reader_is_next(r, "?<!"))
        return unsupported(r, "looks ahead or behind");
    if (reader_take(r, "?P<") || reader_take(r, "?<")) {
        while (reader_more(r) && !reader_is_next(r, ">"))
            r->at++;
        if (!reader_take(r, ">"))
            return malformed(r, "has a group whose name does not end");
    } else if (!reader_take(r, "?:") && reader_is_next(r, "?")) {
        return unsupported(r, "has flags or another kind of group ((?...))");
    }
    if (r->depth >= REGEX_DEPTH_MAX)
        return unsupported(r, "nests too deep");
    r->depth++;
    int node = take_alternatives(r);
    r->depth--;
    if (!r->failed && !reader_take(r, ")"))
        return malformed(r, "has a group without its )");
    return node;
}

static int take_atom(struct reader *r)
{
    if (reader_take(r, "("))
        return take_group(r);
    if (reader_take(r, "["))
        return take_class(r);
    if (reader_take(r, "."))
        return any_node(r);
    if (reader_take(r, "\\"))
        return take_outer_escape(r);
    if (reader_is_next(r, "*") || reader_is_next(r, "+") || reader_is_next(r, "?"))
        return malformed(r, "repeats nothing");
    if (reader_is_next(r, "^") || reader_is_next(r, "$"))
        return unsupported(r, "has ^ or $ within; at the ends they are served");
    return single_node(r, take_character(r));
}

/* Digits, at most so large that a limit notices; -1: none. */
static int take_number(struct reader *r)
{
    int value = -1;
    while (reader_more(r) && r->text[r->at] >= '0' && r->text[r->at] <= '9') {
        value = (value < 0 ? 0 : value) * 10 + (r->text[r->at++] - '0');
        value = value > GRAMMAR_REPEAT_MAX ? GRAMMAR_REPEAT_MAX + 1 : value;
    }
    return value;
}

/* {m}, {m,} or {m,n}; what is none of these is a brace like any character. */
static bool take_braces(struct reader *r, int *min, int *max)
{
    size_t before = r->at;
    if (reader_take(r, "{")) {
        *min = take_number(r);
        *max = *min;
        if (*min >= 0 && reader_take(r, ",")) {
            *max = take_number(r);
        }
        if (*min >= 0 && reader_take(r, "}"))
            return true;
    }
    r->at = before;
    return false;
}

static int repeated(struct reader *r, int node, int min, int max)
{
    if (max >= 0 && max < min)
        return malformed(r, "repeats at most fewer times than at least");
    if (min > GRAMMAR_REPEAT_MAX || max > GRAMMAR_REPEAT_MAX)
        return unsupported(r, "repeats too often");
    if (reader_take(r, "+"))
        return unsupported(r, "has a possessive repetition");
    reader_take(r, "?"); /* a lazy one matches the same whole texts */
    return grammar_repeat(r->g, node, min, max);
}

static int take_repeated(struct reader *r)
{
    int node = take_atom(r), min, max;
    if (r->failed)
        return GRAMMAR_BAD;
    if (reader_take(r, "*"))
        node = repeated(r, node, 0, -1);
    else if (reader_take(r, "+"))
        node = repeated(r, node, 1, -1);
    else if (reader_take(r, "?"))
        node = repeated(r, node, 0, 1);
    else if (take_braces(r, &min, &max))
        node = repeated(r, node, min, max);
    if (!r->failed && (reader_is_next(r, "*") || reader_is_next(r, "+") || reader_is_next(r, "?")))
        return malformed(r, "repeats a repetition");
    return node;
}

/* ---- rows and alternatives ---- */

static int anything(struct reader *r)
{
    struct grammar_range all = {0, GRAMMAR_CODE_MAX};
    return grammar_repeat(r->g, grammar_chars(r->g, &all, 1), 0, -1);
}

static int take_row(struct reader *r)
{
    struct grammar_list row = {0};
    bool outer = r->depth == 0, open = outer && r->search;
    if (!(outer && reader_take(r, "^")) && open)
        grammar_list_add(r->g, &row, anything(r));
    while (reader_more(r) && !r->failed && !reader_is_next(r, "|") && !reader_is_next(r, ")")) {
        size_t rest = r->length - r->at;
        if (outer && reader_is_next(r, "$") && (rest == 1 || r->text[r->at + 1] == '|')) {
            r->at++;
            open = false;
            break;
        }
        grammar_list_add(r->g, &row, take_repeated(r));
    }
    if (open)
        grammar_list_add(r->g, &row, anything(r));
    return grammar_list_all(r->g, &row);
}

static int take_alternatives(struct reader *r)
{
    struct grammar_list any = {0};
    do
        grammar_list_add(r->g, &any, take_row(r));
    while (!r->failed && reader_take(r, "|"));
    return grammar_list_any(r->g, &any);
}

static int read_regex(struct grammar *g, const char *pattern, size_t length, bool search, struct err *e)
{
    struct reader r = {.g = g, .text = pattern, .length = length, .search = search, .e = e};
    if (length > REGEX_BYTES_MAX)
        return unsupported(&r, "is too long");
    if (!utf8_valid(pattern, length))
        return malformed(&r, "is not UTF-8");
    int node = take_alternatives(&r);
    if (!r.failed && reader_more(&r))
        return malformed(&r, "has a ) without its (");
    if (node == GRAMMAR_BAD && !r.failed && grammar_check(g, e) == 0)
        return malformed(&r, "cannot be read");
    return r.failed ? GRAMMAR_BAD : node;
}

int regex_whole(struct grammar *g, const char *pattern, size_t length, struct err *e)
{
    return read_regex(g, pattern, length, false, e);
}

int regex_search(struct grammar *g, const char *pattern, size_t length, struct err *e)
{
    return read_regex(g, pattern, length, true, e);
}

int regex_grammar(struct grammar *g, const char *pattern, size_t length, struct err *e)
{
    int root = grammar_rule(g, "root", 4), node = regex_whole(g, pattern, length, e);
    grammar_define(g, root, node);
    return node == GRAMMAR_BAD ? -1 : grammar_check(g, e);
}

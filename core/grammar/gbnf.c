#include "core/grammar/gbnf.h"

#include <string.h>

#include "core/base/hex.h"
#include "core/base/utf8.h"
#include "core/grammar/char_class.h"
#include "core/grammar/reader.h"

static int malformed(struct reader *r, const char *what)
{
    int line = 1, column = 1;
    for (size_t i = 0; i < r->at && i < r->length; i++) {
        column = r->text[i] == '\n' ? 1 : column + 1;
        line += r->text[i] == '\n';
    }
    if (!r->failed)
        err_set(r->e, "grammar_malformed", "line %d, column %d: %s", line, column, what);
    r->failed = true;
    return GRAMMAR_BAD;
}

/* Spaces and comments; ends of lines too where `lines`. */
static void skip(struct reader *r, bool lines)
{
    while (reader_more(r)) {
        char c = r->text[r->at];
        if (c == '#')
            while (reader_more(r) && r->text[r->at] != '\n' && r->text[r->at] != '\r')
                r->at++;
        else if (c == ' ' || c == '\t' || (lines && (c == '\n' || c == '\r')))
            r->at++;
        else
            return;
    }
}

/* ---- names ---- */

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static size_t name_length(const struct reader *r, size_t at)
{
    size_t length = 0;
    while (at + length < r->length && is_name(r->text[at + length]))
        length++;
    return length;
}

/* The rule of that name, which is made when it is named first. */
static int rule_named(struct reader *r, const char *name, size_t length)
{
    if (length > GRAMMAR_NAME_MAX)
        return malformed(r, "the name of a rule is too long");
    int rule = grammar_find_rule(r->g, name, length);
    return rule >= 0 ? rule : grammar_rule(r->g, name, length);
}

/* Does a new rule begin here: a name and ::= behind it? */
static bool rule_begins(const struct reader *r)
{
    struct reader ahead = *r;
    ahead.at += name_length(r, r->at);
    if (ahead.at == r->at)
        return false;
    skip(&ahead, false);
    return reader_is_next(&ahead, "::=");
}

/* ---- characters ---- */

static int take_hex(struct reader *r, int count, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < count; i++, r->at++) {
        int digit = reader_more(r) ? hex_digit(r->text[r->at]) : -1;
        if (digit < 0 || *out > GRAMMAR_CODE_MAX)
            return malformed(r, "an escape has too few hexadecimal digits, or is no character");
        *out = *out * 16 + (uint32_t)digit;
    }
    return *out <= GRAMMAR_CODE_MAX && (*out < 0xD800 || *out > 0xDFFF)
               ? 0
               : malformed(r, "an escape is no character");
}

static int take_escape(struct reader *r, uint32_t *out)
{
    static const char *const from = "nrt\"\\[]-'", *const to = "\n\r\t\"\\[]-'";
    if (reader_take(r, "x"))
        return take_hex(r, 2, out);
    if (reader_take(r, "u"))
        return take_hex(r, 4, out);
    if (reader_take(r, "U"))
        return take_hex(r, 8, out);
    const char *found = reader_more(r) && r->text[r->at] ? strchr(from, r->text[r->at]) : NULL;
    if (!found)
        return malformed(r, "an escape is not known");
    *out = (uint32_t)to[found - from];
    r->at++;
    return 0;
}

static int take_character(struct reader *r, uint32_t *out)
{
    if (reader_take(r, "\\"))
        return take_escape(r, out);
    size_t size;
    *out = utf8_decode(r->text + r->at, &size);
    r->at += size;
    return 0;
}

static int take_text(struct reader *r)
{
    struct buf bytes = {0};
    while (reader_more(r) && !r->failed && !reader_is_next(r, "\"")) {
        uint32_t c;
        char encoded[4];
        if (take_character(r, &c) == 0 && buf_append(&bytes, encoded, utf8_encode(c, encoded)) != 0)
            r->g->no_memory = r->failed = true;
    }
    int node = GRAMMAR_BAD;
    if (!r->failed)
        node = reader_take(r, "\"") ? grammar_text(r->g, bytes.data ? bytes.data : "", bytes.length)
                                    : malformed(r, "a text does not end");
    buf_fini(&bytes);
    return node;
}

static int take_class(struct reader *r)
{
    struct char_class c = {0};
    bool complement = reader_take(r, "^");
    while (reader_more(r) && !reader_is_next(r, "]")) {
        uint32_t low, high;
        if (take_character(r, &low) != 0)
            return GRAMMAR_BAD;
        high = low;
        if (reader_is_next(r, "-") && r->length - r->at >= 2 && r->text[r->at + 1] != ']') {
            r->at++;
            if (take_character(r, &high) != 0)
                return GRAMMAR_BAD;
        }
        if (high < low)
            return malformed(r, "a range of characters ends before it begins");
        char_class_add(&c, low, high);
    }
    if (!reader_take(r, "]"))
        return malformed(r, "a class of characters does not end");
    char_class_sort(&c);
    if (complement)
        char_class_complement(&c);
    return c.full ? malformed(r, "a class has too many ranges") : grammar_chars(r->g, c.ranges, c.count);
}

/* ---- rows ---- */

static int take_alternatives(struct reader *r, bool nested);

static int take_group(struct reader *r)
{
    if (r->depth >= GBNF_DEPTH_MAX)
        return malformed(r, "groups nest too deep");
    r->depth++;
    skip(r, true);
    int node = take_alternatives(r, true);
    r->depth--;
    skip(r, true);
    return r->failed || reader_take(r, ")") ? node : malformed(r, "a group does not end");
}

static int take_number(struct reader *r)
{
    int value = -1;
    while (reader_more(r) && r->text[r->at] >= '0' && r->text[r->at] <= '9') {
        value = (value < 0 ? 0 : value) * 10 + (r->text[r->at++] - '0');
        value = value > GRAMMAR_REPEAT_MAX ? GRAMMAR_REPEAT_MAX + 1 : value;
    }
    return value;
}

static int take_braces(struct reader *r, int node)
{
    skip(r, false);
    int min = take_number(r), max = min;
    skip(r, false);
    if (reader_take(r, ",")) {
        skip(r, false);
        max = take_number(r);
        skip(r, false);
    }
    if (min < 0 && max < 0)
        return malformed(r, "a repetition says no number");
    if (!reader_take(r, "}"))
        return malformed(r, "a repetition does not end");
    if (max >= 0 && max < min)
        return malformed(r, "a repetition is at most fewer times than at least");
    if (min > GRAMMAR_REPEAT_MAX || max > GRAMMAR_REPEAT_MAX)
        return malformed(r, "a repetition is too often");
    return grammar_repeat(r->g, node, min < 0 ? 0 : min, max);
}

static int take_item(struct reader *r)
{
    if (reader_take(r, "\""))
        return take_text(r);
    if (reader_take(r, "["))
        return take_class(r);
    if (reader_take(r, "("))
        return take_group(r);
    if (reader_take(r, "."))
        return grammar_chars(r->g, &(struct grammar_range){0, GRAMMAR_CODE_MAX}, 1);
    size_t length = name_length(r, r->at);
    if (length == 0)
        return malformed(r, "a text, a class, a group or the name of a rule is expected");
    int rule = rule_named(r, r->text + r->at, length);
    r->at += length;
    return grammar_call(r->g, rule);
}

static int take_repeated(struct reader *r, bool nested)
{
    int node = take_item(r);
    while (!r->failed) {
        skip(r, nested);
        if (reader_take(r, "*"))
            node = grammar_repeat(r->g, node, 0, -1);
        else if (reader_take(r, "+"))
            node = grammar_repeat(r->g, node, 1, -1);
        else if (reader_take(r, "?"))
            node = grammar_repeat(r->g, node, 0, 1);
        else if (reader_take(r, "{"))
            node = take_braces(r, node);
        else
            break;
    }
    return node;
}

/* The end of a row: of the text, of a group, of an alternative, of a rule's line. */
static bool row_ends(const struct reader *r, bool nested)
{
    if (!reader_more(r) || reader_is_next(r, "|") || reader_is_next(r, ")"))
        return true;
    return !nested && (reader_is_next(r, "\n") || reader_is_next(r, "\r"));
}

static int take_row(struct reader *r, bool nested)
{
    struct grammar_list row = {0};
    skip(r, nested);
    while (!r->failed && !row_ends(r, nested)) {
        grammar_list_add(r->g, &row, take_repeated(r, nested));
        skip(r, nested);
    }
    return grammar_list_all(r->g, &row);
}

/* Is there a | on a line below, so that the rule goes on there? */
static bool goes_on(struct reader *r)
{
    struct reader ahead = *r;
    skip(&ahead, true);
    if (reader_is_next(&ahead, "|"))
        r->at = ahead.at;
    return reader_is_next(&ahead, "|");
}

static int take_alternatives(struct reader *r, bool nested)
{
    struct grammar_list any = {0};
    bool more_follow = true;
    while (more_follow && !r->failed) {
        grammar_list_add(r->g, &any, take_row(r, nested));
        more_follow = goes_on(r) && reader_take(r, "|");
        if (more_follow)
            skip(r, true);
    }
    return grammar_list_any(r->g, &any);
}

static int take_rule(struct reader *r)
{
    size_t length = name_length(r, r->at);
    if (!rule_begins(r))
        return malformed(r, "a rule is expected: a name and ::=");
    int rule = rule_named(r, r->text + r->at, length);
    if (rule >= 0 && r->g->rules[rule].body >= 0)
        return malformed(r, "a rule of that name is there already");
    r->at += length;
    skip(r, false);
    reader_take(r, "::=");
    skip(r, true);
    int body = take_alternatives(r, false);
    if (!r->failed && reader_is_next(r, ")"))
        return malformed(r, "a ) without its (");
    grammar_define(r->g, rule, body);
    return 0;
}

int gbnf_grammar(struct grammar *g, const char *text, size_t length, struct err *e)
{
    struct reader r = {.g = g, .text = text, .length = length, .e = e};
    if (length > GBNF_BYTES_MAX)
        return err_set(e, "grammar_too_large", "the grammar has %zu bytes; at most %d are accepted", length,
                       GBNF_BYTES_MAX);
    if (!utf8_valid(text, length))
        return err_set(e, "grammar_malformed", "the grammar is not UTF-8");
    int root = grammar_rule(g, "root", 4);
    for (skip(&r, true); reader_more(&r) && !r.failed && !g->no_memory && !g->too_large; skip(&r, true))
        take_rule(&r);
    if (r.failed)
        return g->no_memory ? err_memory(e) : -1;
    if (grammar_check(g, e) != 0)
        return -1;
    return g->rules[root].body >= 0 ? 0 : err_set(e, "grammar_malformed", "there is no rule named root");
}

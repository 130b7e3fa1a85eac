#include "core/template/syntax/lex.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/hex.h"
#include "core/base/utf8.h"
#include "core/template/syntax/refuse.h"
#include "core/template/values/limits.h"

struct lexer {
    struct arena *arena;
    const char *text;
    size_t length, at;
    int line;
    char brackets[TEMPLATE_NESTING_MAX];
    int nesting;
    struct buf tokens;
    struct err *e;
};

/* Line breaks become LF; one at the very end is dropped (Jinja2 without keep_trailing_newline). */
static int normalize(struct lexer *l, const char *text, size_t length)
{
    char *out = arena_alloc(l->arena, length + 1);
    if (!out)
        return err_memory(l->e);
    size_t written = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\r' && i + 1 < length && text[i + 1] == '\n')
            continue;
        out[written++] = text[i] == '\r' ? '\n' : text[i];
    }
    if (written > 0 && out[written - 1] == '\n')
        written--;
    out[written] = '\0';
    l->text = out;
    l->length = written;
    return 0;
}

static int push(struct lexer *l, struct token t)
{
    t.line = l->line;
    return buf_append(&l->tokens, &t, sizeof t) == 0 ? 0 : err_memory(l->e);
}

static bool next_is(const struct lexer *l, size_t at, const char *text)
{
    size_t length = strlen(text);
    return length <= l->length - at && memcmp(l->text + at, text, length) == 0;
}

/* Move on, counting lines. */
static void advance(struct lexer *l, size_t to)
{
    for (; l->at < to; l->at++)
        l->line += l->text[l->at] == '\n';
}

static size_t skip_space(const struct lexer *l, size_t at)
{
    while (at < l->length) {
        size_t size;
        if (!string_is_space(utf8_decode(l->text + at, &size)))
            break;
        at += size;
    }
    return at;
}

/* ---- between tags ---- */

/* lstrip_blocks: where the text `s`, which starts at l->at, ends when a last line of white space alone is
 * taken off it. */
static size_t strip_line(const struct lexer *l, struct string s)
{
    size_t begin = s.length;
    while (begin > 0 && s.data[begin - 1] != '\n')
        begin--;
    if (begin == 0 && l->at > 0 && l->text[l->at - 1] != '\n')
        return s.length;
    struct string last = {s.data + begin, s.length - begin}, none = {0};
    return string_strip(last, none, STRING_BOTH).length == 0 ? begin : s.length;
}

/* The text up to a tag, whose sign says what becomes of the space before it. */
static int push_data(struct lexer *l, size_t end, char sign, bool strips_lines)
{
    struct string s = {l->text + l->at, end - l->at}, none = {0};
    if (sign == '-')
        s = string_strip(s, none, STRING_RIGHT);
    else if (sign != '+' && strips_lines)
        s.length = strip_line(l, s);
    return s.length ? push(l, (struct token){.kind = TOKEN_DATA, .value = value_string(s)}) : 0;
}

static char sign_at(const struct lexer *l, size_t at)
{
    return at < l->length && (l->text[at] == '-' || l->text[at] == '+') ? l->text[at] : 0;
}

/* Behind a tag's end, which is at `at` without its sign: "-" takes all white space, "+" nothing, otherwise
 * one line break goes where `trims`. */
static size_t behind(const struct lexer *l, size_t at, char sign, bool trims)
{
    at += 2;
    if (sign == '-')
        return skip_space(l, at);
    return trims && sign != '+' && at < l->length && l->text[at] == '\n' ? at + 1 : at;
}

static int lex_comment(struct lexer *l, size_t at)
{
    for (; at + 1 < l->length; at++) {
        char sign = sign_at(l, at);
        size_t end = at + (sign != 0);
        if (!next_is(l, end, "#}"))
            continue;
        advance(l, behind(l, end, sign, true));
        return 0;
    }
    return syntax_refuse(l->line, l->e, "the comment has no end");
}

/* {% NAME %} at `at`, which is behind the "{%": where its end is, or 0. */
static size_t find_word(const struct lexer *l, size_t at, const char *name, char *sign)
{
    at += sign_at(l, at) != 0;
    at = skip_space(l, at);
    if (!next_is(l, at, name))
        return 0;
    at = skip_space(l, at + strlen(name));
    *sign = sign_at(l, at);
    at += *sign != 0;
    return next_is(l, at, "%}") ? at : 0;
}

static int lex_raw(struct lexer *l, size_t begin)
{
    advance(l, begin);
    for (size_t at = begin; at + 1 < l->length; at++) {
        char sign;
        if (!next_is(l, at, "{%"))
            continue;
        size_t end = find_word(l, at + 2, "endraw", &sign);
        if (!end)
            continue;
        if (push_data(l, at, sign_at(l, at + 2), true) != 0)
            return -1;
        advance(l, behind(l, end, sign, true));
        return 0;
    }
    return syntax_refuse(l->line, l->e, "{%% raw %%} has no end");
}

/* ---- within tags ---- */

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int refuse_number(struct lexer *l)
{
    return syntax_refuse(l->line, l->e, "a number of this form is not supported");
}

static size_t skip_digits(const struct lexer *l, size_t at)
{
    while (at < l->length && is_digit(l->text[at]))
        at++;
    return at;
}

/* Digits, with a fraction, with an exponent; what directly follows may not be part of a name. */
static int lex_number(struct lexer *l)
{
    size_t end = skip_digits(l, l->at), whole = end;
    if (end + 1 < l->length && l->text[end] == '.' && is_digit(l->text[end + 1]) &&
        !(l->at > 0 && l->text[l->at - 1] == '.'))
        end = skip_digits(l, end + 1);
    size_t sign = end + 1 < l->length && (l->text[end + 1] == '+' || l->text[end + 1] == '-');
    if (end + 1 + sign < l->length && (l->text[end] | 32) == 'e' && is_digit(l->text[end + 1 + sign]))
        end = skip_digits(l, end + 1 + sign);
    if ((end < l->length && is_name(l->text[end])) || end - l->at > 40 ||
        (end == whole && whole - l->at > 1 && l->text[l->at] == '0'))
        return refuse_number(l);
    char digits[48];
    memcpy(digits, l->text + l->at, end - l->at);
    digits[end - l->at] = '\0';
    errno = 0;
    struct token t = {.kind = TOKEN_NUMBER};
    t.value = end == whole ? value_integer(strtoll(digits, NULL, 10)) : value_float(strtod(digits, NULL));
    if (errno)
        return refuse_number(l);
    if (push(l, t) != 0)
        return -1;
    advance(l, end);
    return 0;
}

/* \xhh, \uhhhh, \Uhhhhhhhh at s[at], behind the letter; characters read, or 0. */
static size_t read_code(struct string s, size_t at, size_t digits, uint32_t *code)
{
    *code = 0;
    for (size_t i = 0; i < digits; i++) {
        int digit = at + i < s.length ? hex_digit(s.data[at + i]) : -1;
        if (digit < 0)
            return 0;
        *code = *code << 4 | (uint32_t)digit;
    }
    return *code > 0x10FFFF || (*code >= 0xD800 && *code < 0xE000) ? 0 : digits;
}

static size_t read_octal(struct string s, size_t at, uint32_t *code)
{
    size_t digits = 0;
    for (*code = 0; digits < 3 && at + digits < s.length; digits++) {
        char c = s.data[at + digits];
        if (c < '0' || c > '7')
            break;
        *code = *code << 3 | (uint32_t)(c - '0');
    }
    return digits;
}

/* The escape whose letter is s[at]: characters read, `*code` what it stands for; -1: as it stands, with its
 * backslash; 0: none of those supported. */
static ptrdiff_t read_escape(struct string s, size_t at, uint32_t *code)
{
    static const char letters[] = "\\'\"abfnrtv", meanings[] = "\\'\"\a\b\f\n\r\t\v";
    char c = s.data[at];
    const char *known = c ? strchr(letters, c) : NULL;
    if (known) {
        *code = (unsigned char)meanings[known - letters];
        return 1;
    }
    size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits)
        return read_code(s, at + 1, digits, code) ? (ptrdiff_t)digits + 1 : 0;
    if (c >= '0' && c <= '7')
        return (ptrdiff_t)read_octal(s, at, code);
    return c == 'N' ? 0 : -1;
}

static int unescape(struct lexer *l, struct string s, struct string *out)
{
    char *data = arena_alloc(l->arena, s.length + 1);
    size_t written = 0;
    if (!data)
        return err_memory(l->e);
    for (size_t at = 0; at < s.length;) {
        if (s.data[at] != '\\') {
            data[written++] = s.data[at++];
            continue;
        }
        uint32_t code;
        at++;
        if (s.data[at] == '\n') {
            at++;
            continue;
        }
        ptrdiff_t read = read_escape(s, at, &code);
        if (read == 0)
            return syntax_refuse(l->line, l->e, "the escape \\%c in a string is not supported", s.data[at]);
        if (read < 0)
            data[written++] = '\\';
        else
            written += utf8_encode(code, data + written); /* never longer than the escape */
        at += read < 0 ? 0 : (size_t)read;
    }
    *out = (struct string){data, written};
    return 0;
}

static int lex_string(struct lexer *l)
{
    char quote = l->text[l->at];
    size_t end = l->at + 1;
    while (end < l->length && l->text[end] != quote)
        end += l->text[end] == '\\' ? 2 : 1;
    if (end >= l->length)
        return syntax_refuse(l->line, l->e, "the string has no end");
    struct string s = {l->text + l->at + 1, end - l->at - 1};
    struct token t = {.kind = TOKEN_STRING, .value = value_string(s)};
    if (unescape(l, s, &t.value.string) != 0 || push(l, t) != 0)
        return -1;
    advance(l, end + 1);
    return 0;
}

/* Keeps the brackets that are open: each is closed by its own kind, and no tag ends within them. */
static int balance(struct lexer *l, char c)
{
    static const char opening[] = "([{", closing[] = ")]}";
    const char *found = strchr(opening, c);
    if (found) {
        if (l->nesting == TEMPLATE_NESTING_MAX)
            return syntax_refuse(l->line, l->e, "brackets may be nested %d deep", TEMPLATE_NESTING_MAX);
        l->brackets[l->nesting++] = closing[found - opening];
        return 0;
    }
    if (!strchr(closing, c))
        return 0;
    if (l->nesting == 0 || l->brackets[l->nesting - 1] != c)
        return syntax_refuse(l->line, l->e, "unexpected \"%c\"", c);
    l->nesting--;
    return 0;
}

static int lex_operator(struct lexer *l)
{
    static const char pairs[] = "//**==!=>=<=";
    char c = l->text[l->at];
    int symbol = 0;
    for (const char *p = pairs; *p && l->at + 1 < l->length; p += 2)
        if (p[0] == c && p[1] == l->text[l->at + 1])
            symbol = TWO(p[0], p[1]);
    if (!symbol) {
        if (c == '\0' || !strchr("+-*/%~[](){}<>=.:|,", c))
            return syntax_refuse(l->line, l->e, "unexpected character \"%.*s\"", (int)utf8_size(c),
                                 l->text + l->at);
        symbol = c;
        if (balance(l, c) != 0)
            return -1;
    }
    if (push(l, (struct token){.kind = TOKEN_OPERATOR, .symbol = symbol}) != 0)
        return -1;
    advance(l, l->at + (symbol > 255 ? 2 : 1));
    return 0;
}

static int lex_name(struct lexer *l)
{
    size_t end = l->at;
    while (end < l->length && is_name(l->text[end]))
        end++;
    struct string s = {l->text + l->at, end - l->at};
    if (push(l, (struct token){.kind = TOKEN_NAME, .value = value_string(s)}) != 0)
        return -1;
    advance(l, end);
    return 0;
}

/* Whether the tag ends here. "+%}" is an end, "+}}" is not: there it is an operator. */
static bool tag_ends(const struct lexer *l, bool block, char *sign, size_t *end)
{
    if (l->nesting)
        return false;
    *sign = sign_at(l, l->at);
    if (*sign == '+' && !block)
        *sign = 0;
    *end = l->at + (*sign != 0);
    return next_is(l, *end, block ? "%}" : "}}");
}

static int lex_tag(struct lexer *l, bool block)
{
    int begin = l->line;
    if (push(l, (struct token){.kind = block ? TOKEN_BLOCK_BEGIN : TOKEN_OUTPUT_BEGIN}) != 0)
        return -1;
    for (;;) {
        char sign;
        size_t end;
        advance(l, skip_space(l, l->at));
        if (l->at == l->length)
            return syntax_refuse(begin, l->e, "the tag has no end");
        if (tag_ends(l, block, &sign, &end)) {
            if (push(l, (struct token){.kind = block ? TOKEN_BLOCK_END : TOKEN_OUTPUT_END}) != 0)
                return -1;
            advance(l, behind(l, end, sign, block));
            return 0;
        }
        char c = l->text[l->at];
        int result = is_digit(c)             ? lex_number(l)
                     : is_name(c)            ? lex_name(l)
                     : c == '"' || c == '\'' ? lex_string(l)
                                             : lex_operator(l);
        if (result != 0)
            return -1;
    }
}

/* ---- the whole ---- */

static size_t find_tag(const struct lexer *l)
{
    size_t at = l->at;
    for (; at + 1 < l->length; at++)
        if (l->text[at] == '{' && strchr("{%#", l->text[at + 1]) && l->text[at + 1])
            return at;
    return l->length;
}

static int lex_part(struct lexer *l)
{
    size_t tag = find_tag(l);
    if (tag == l->length) {
        int result = push_data(l, tag, '+', false);
        advance(l, tag);
        return result;
    }
    char kind = l->text[tag + 1], sign = sign_at(l, tag + 2), raw_sign;
    size_t raw = kind == '%' ? find_word(l, tag + 2, "raw", &raw_sign) : 0;
    if (push_data(l, tag, sign, kind != '{') != 0)
        return -1;
    advance(l, tag + 2 + (sign != 0));
    if (raw && raw_sign != '+')
        return lex_raw(l, behind(l, raw, raw_sign, false));
    return kind == '#' ? lex_comment(l, l->at) : lex_tag(l, kind == '%');
}

int lex(struct arena *arena, const char *text, size_t length, struct token **out, struct err *e)
{
    struct lexer l = {.arena = arena, .line = 1, .e = e};
    int result = 0;
    if (!utf8_valid(text, length))
        return syntax_refuse(1, e, "the text is not valid UTF-8");
    if (normalize(&l, text, length) != 0)
        return -1;
    while (result == 0 && l.at < l.length)
        result = lex_part(&l);
    if (result == 0)
        result = push(&l, (struct token){.kind = TOKEN_END});
    if (result == 0)
        *out = (struct token *)l.tokens.data;
    else
        buf_fini(&l.tokens);
    return result;
}

/* From Oniguruma's syntax (its Ruby flavour, UTF-8) to PCRE2's. Every construct is either written down in a
 * form that means the same, or refused by name: there is no passing through of what is not understood. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/base/hex.h"
#include "core/base/utf8.h"
#include "core/unicode/pattern_translate.h"
#include "core/unicode/unicode.h"

enum { NESTING_MAX = 32 };

struct translator {
    const char *text;
    size_t length, at;
    struct buf *out;
    struct err *e;
    unsigned depth;
    bool caseless[NESTING_MAX]; /* by group */
    uint32_t last_caseless;     /* the literal before this one inside a caseless group, 0: none */
};

/* White_Space, and the rest. PCRE2's own \s counts U+180E as well. */
#define SPACE                                                                                                \
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{" \
    "3000}"
#define NOT_SPACE                                                                                   \
    "\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}" \
    "\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{10ffff}"

__attribute__((format(printf, 2, 3))) static int refuse(const struct translator *t, const char *format, ...)
{
    char what[128];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    return err_set(t->e, "tokenizer_unsupported",
                   "regular expression \"%.*s\": %s at byte %zu is not supported",
                   (int)(t->length < 200 ? t->length : 200), t->text, what, t->at);
}

__attribute__((format(printf, 2, 3))) static int put(const struct translator *t, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= sizeof text || buf_append(t->out, text, (size_t)length) != 0)
        return err_memory(t->e);
    return 0;
}

static bool starts_with(const struct translator *t, const char *prefix)
{
    size_t length = strlen(prefix);
    return t->length - t->at >= length && memcmp(t->text + t->at, prefix, length) == 0;
}

static uint32_t next_code(struct translator *t)
{
    size_t size;
    uint32_t code = utf8_decode(t->text + t->at, &size);
    t->at += size;
    return code;
}

/* ---- properties ---- */

static const char *const categories[] = {"L",  "N",  "M",  "P",  "S",  "Z",  "Lu", "Ll", "Lt", "Lm",
                                         "Lo", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe",
                                         "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp"};

/* The inside of a character class: the category and the characters that PCRE2's tables do not have yet. */
static int put_category(const struct translator *t, const char *name)
{
    if (put(t, "\\p{%s}", name) != 0)
        return -1;
    for (size_t i = 0; i < unicode_newer_count; i++)
        if (strncmp(unicode_newer[i].category, name, strlen(name)) == 0 &&
            put(t, "\\x{%x}-\\x{%x}", unicode_newer[i].first, unicode_newer[i].last) != 0)
            return -1;
    return 0;
}

/* Behind \p or \P: {Name} or {^Name}. */
static int read_category(struct translator *t, const char **name, bool *negated)
{
    const char *close = starts_with(t, "{") ? memchr(t->text + t->at, '}', t->length - t->at) : NULL;
    if (!close)
        return refuse(t, "\\p without {name}");
    const char *start = t->text + t->at + 1;
    if (*start == '^') {
        *negated = !*negated;
        start++;
    }
    for (size_t i = 0; i < sizeof categories / sizeof *categories; i++) {
        if (strlen(categories[i]) == (size_t)(close - start) &&
            memcmp(categories[i], start, (size_t)(close - start)) == 0) {
            *name = categories[i];
            t->at = (size_t)(close + 1 - t->text);
            return 0;
        }
    }
    return refuse(t, "\\p{%.*s}", (int)(close - start < 32 ? close - start : 32), start);
}

/* ---- single characters ---- */

static int read_hex(struct translator *t, size_t digits_max, uint32_t *code)
{
    size_t digits = 0;
    for (*code = 0; digits < digits_max && t->at < t->length; digits++, t->at++) {
        int digit = hex_digit(t->text[t->at]);
        if (digit < 0)
            break;
        *code = *code * 16 + (uint32_t)digit;
    }
    if (digits == 0 || *code > 0x10FFFF || (*code >= 0xD800 && *code < 0xE000))
        return refuse(t, "this hexadecimal escape");
    return 0;
}

static int read_hex_escape(struct translator *t, char kind, uint32_t *code)
{
    if (kind == 'u') {
        size_t start = t->at;
        return read_hex(t, 4, code) != 0 ? -1 : t->at - start == 4 ? 0 : refuse(t, "a short \\u");
    }
    bool braces = starts_with(t, "{");
    t->at += braces;
    if (read_hex(t, braces ? 8 : 2, code) != 0)
        return -1;
    if (!braces)
        return *code < 0x80 ? 0 : refuse(t, "\\x above 7F"); /* a byte there, not a character */
    if (!starts_with(t, "}"))
        return refuse(t, "\\x{");
    t->at++;
    return 0;
}

/* Behind a backslash: an escape that stands for one character. */
static int read_escaped_character(struct translator *t, uint32_t *code)
{
    char c = t->text[t->at];
    static const char names[] = "nrtfv", values[] = "\n\r\t\f\v";
    const char *name = memchr(names, c, 5);
    if (name || c == 'x' || c == 'u') {
        t->at++;
        *code = name ? (uint32_t)(unsigned char)values[name - names] : 0;
        return name ? 0 : read_hex_escape(t, c, code);
    }
    if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'))
        return refuse(t, "\\%c", c);
    *code = next_code(t);
    return 0;
}

static bool is_caseless(const struct translator *t)
{
    return t->caseless[t->depth];
}

/* In a caseless group some letters match one character together (ss matches U+00DF there), which PCRE2 does
 * not do. */
static int check_caseless_literal(struct translator *t, uint32_t code)
{
    static const char *const together[] = {"ss", "st", "ff", "fi", "fl"};
    if (code >= 0x80)
        return refuse(t, "a letter beyond ASCII in a (?i: group");
    uint32_t lower = code >= 'A' && code <= 'Z' ? code + 32 : code;
    for (size_t i = 0; i < sizeof together / sizeof *together; i++)
        if (t->last_caseless == (unsigned char)together[i][0] && lower == (unsigned char)together[i][1])
            return refuse(t, "\"%s\" in a (?i: group", together[i]);
    t->last_caseless = lower;
    return 0;
}

static int put_literal(struct translator *t, uint32_t code)
{
    if (is_caseless(t) && check_caseless_literal(t, code) != 0)
        return -1;
    return put(t, "\\x{%x}", code);
}

/* ---- character classes ---- */

struct class_item {
    bool single; /* one character, which may start a range */
    uint32_t code;
};

static int put_class_escape(struct translator *t, struct class_item *item)
{
    bool negated = false;
    const char *name = "Nd";
    switch (t->text[t->at]) {
    case 's':
        t->at++;
        return put(t, "%s", SPACE);
    case 'S':
        t->at++;
        return put(t, "%s", NOT_SPACE);
    case 'd':
        t->at++;
        return put_category(t, name);
    case 'p':
        t->at++;
        if (read_category(t, &name, &negated) != 0)
            return -1;
        return negated ? refuse(t, "a negated \\p inside a class") : put_category(t, name);
    default:
        item->single = true;
        return read_escaped_character(t, &item->code);
    }
}

static int read_class_item(struct translator *t, struct class_item *item)
{
    *item = (struct class_item){0};
    if (starts_with(t, "["))
        return refuse(t, "a class inside a class");
    if (starts_with(t, "&&"))
        return refuse(t, "&&");
    if (starts_with(t, "\\")) {
        if (++t->at == t->length)
            return refuse(t, "a backslash at the end");
        return put_class_escape(t, item);
    }
    item->single = true;
    item->code = next_code(t);
    return 0;
}

/* Is a dash here that is not the last of its class? What is cut off is refused where its end is missing. */
static bool at_range(const struct translator *t)
{
    return starts_with(t, "-") && t->at + 1 < t->length && t->text[t->at + 1] != ']';
}

/* One member: a character, a range or a set of characters. */
static int translate_class_member(struct translator *t)
{
    bool dash = starts_with(t, "-");
    struct class_item first, last;
    if (read_class_item(t, &first) != 0)
        return -1;
    if (!at_range(t))
        return first.single ? put(t, "\\x{%x}", first.code) : 0;
    t->at++;
    if (dash || !first.single)
        return refuse(t, "this - inside a class");
    if (read_class_item(t, &last) != 0)
        return -1;
    if (!last.single || last.code < first.code || at_range(t))
        return refuse(t, "this range");
    return put(t, "\\x{%x}-\\x{%x}", first.code, last.code);
}

/* Behind "[". */
static int translate_class(struct translator *t)
{
    if (is_caseless(t))
        return refuse(t, "a class in a (?i: group");
    bool negated = starts_with(t, "^");
    t->at += negated;
    if (starts_with(t, "]"))
        return refuse(t, "an empty class");
    if (put(t, negated ? "[^" : "[") != 0)
        return -1;
    while (t->at < t->length && t->text[t->at] != ']')
        if (translate_class_member(t) != 0)
            return -1;
    if (t->at == t->length)
        return refuse(t, "a class without an end");
    t->at++;
    return put(t, "]");
}

/* ---- everything else ---- */

static int put_set(struct translator *t, const char *open, const char *category)
{
    if (is_caseless(t))
        return refuse(t, "a property in a (?i: group");
    return put(t, "%s", open) != 0 || put_category(t, category) != 0 || put(t, "]") != 0 ? -1 : 0;
}

/* Behind a backslash, outside of a class. */
static int translate_escape(struct translator *t)
{
    if (t->at == t->length)
        return refuse(t, "a backslash at the end");
    char c = t->text[t->at];
    bool negated = c == 'P' || c == 'D';
    const char *name = "Nd";
    uint32_t code;
    switch (c) {
    case 's':
    case 'S':
        t->at++;
        return put(t, c == 's' ? "[%s]" : "[^%s]", SPACE);
    case 'p':
    case 'P':
        t->at++;
        if (read_category(t, &name, &negated) != 0)
            return -1;
        return put_set(t, negated ? "[^" : "[", name);
    case 'd':
    case 'D':
        t->at++;
        return put_set(t, negated ? "[^" : "[", name);
    default:
        return read_escaped_character(t, &code) != 0 ? -1 : put_literal(t, code);
    }
}

/* At "(". Captures are not needed: nothing can refer to them. */
static int translate_group(struct translator *t)
{
    static const char *const kinds[] = {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!", "(?i:"};
    const char *kind = NULL;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (starts_with(t, kinds[i]))
            kind = kinds[i];
    if (!kind && starts_with(t, "(?"))
        return refuse(t, "this kind of group");
    if (t->depth + 1 == NESTING_MAX)
        return refuse(t, "nesting this deep");
    t->depth++;
    t->caseless[t->depth] = t->caseless[t->depth - 1] || (kind && strcmp(kind, "(?i:") == 0);
    t->at += kind ? strlen(kind) : 1;
    return put(t, "%s", kind ? kind : "(?:");
}

/* At "{": {n}, {n,}, {,m} or {n,m}. Lazy and possessive forms mean other things in the two syntaxes. */
static int translate_interval(struct translator *t)
{
    unsigned low = 0, high = 0;
    int used = 0;
    char interval[32] = {0};
    const char *close = memchr(t->text + t->at, '}', t->length - t->at);
    size_t length = close ? (size_t)(close + 1 - t->text) - t->at : 0;
    if (length == 0 || length >= sizeof interval)
        return refuse(t, "a { that starts no interval");
    memcpy(interval, t->text + t->at, length);
    t->at += length;
    if (starts_with(t, "+") || starts_with(t, "?") || starts_with(t, "*"))
        return refuse(t, "an interval with a suffix");
    if (sscanf(interval, "{%5u}%n", &low, &used) == 1 && (size_t)used == length)
        return put(t, "{%u}", low);
    used = 0;
    if (sscanf(interval, "{%5u,}%n", &low, &used) == 1 && (size_t)used == length)
        return put(t, "{%u,}", low);
    used = 0;
    if (sscanf(interval, "{,%5u}%n", &high, &used) == 1 && (size_t)used == length)
        return put(t, "{0,%u}", high);
    used = 0;
    if (sscanf(interval, "{%5u,%5u}%n", &low, &high, &used) == 2 && (size_t)used == length && low <= high)
        return put(t, "{%u,%u}", low, high);
    return refuse(t, "%s", interval);
}

static int translate_operator(struct translator *t, char c)
{
    t->at++;
    switch (c) {
    case ')':
        if (t->depth == 0)
            return refuse(t, "a ) without (");
        t->depth--;
        return put(t, ")");
    case '.':
        return is_caseless(t) ? refuse(t, ". in a (?i: group") : put(t, "[^\\n]");
    default:
        return put(t, "%c", c);
    }
}

static int translate_one(struct translator *t)
{
    char c = t->text[t->at];
    if (c != '\0' && strchr("([{)|.^$*+?", c))
        t->last_caseless = 0;
    switch (c) {
    case '\\':
        t->at++;
        return translate_escape(t);
    case '[':
        t->at++;
        return translate_class(t);
    case '(':
        return translate_group(t);
    case '{':
        return translate_interval(t);
    case ')':
    case '|':
    case '.':
    case '^':
    case '$':
    case '*':
    case '+':
    case '?':
        return translate_operator(t, c);
    default:
        return put_literal(t, next_code(t));
    }
}

int pattern_translate(const char *regex, size_t length, struct buf *out, struct err *e)
{
    struct translator t = {.text = regex, .length = length, .out = out, .e = e};
    while (t.at < t.length)
        if (translate_one(&t) != 0)
            return -1;
    return t.depth == 0 ? 0 : refuse(&t, "a ( without )");
}

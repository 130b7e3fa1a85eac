#include "core/tokenizer/load/model_scan.h"

#include <stdbool.h>
#include <string.h>

#include "core/base/utf8.h"

struct reader {
    const char *text, *end, *at;
};

static bool skip_space(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t'))
        r->at++;
    return r->at < r->end;
}

static bool take(struct reader *r, char c)
{
    if (!skip_space(r) || *r->at != c)
        return false;
    r->at++;
    return true;
}

/* ---- finding the two ---- */

static bool skip_string(struct reader *r, struct span *inside)
{
    if (!take(r, '"'))
        return false;
    inside->text = r->at;
    while (r->at < r->end && *r->at != '"')
        r->at += *r->at == '\\' ? 2 : 1;
    if (r->at >= r->end)
        return false;
    inside->length = (size_t)(r->at - inside->text);
    r->at++;
    return true;
}

/* To the end of a value, going by quotes and brackets alone. */
static bool skip_value(struct reader *r, struct span *value)
{
    struct span inside;
    size_t depth = 0;
    if (!skip_space(r))
        return false;
    value->text = r->at;
    while (r->at < r->end) {
        char c = *r->at;
        if (depth == 0 && (c == ',' || c == '}' || c == ']'))
            break;
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
        if (c != '"')
            r->at++;
        else if (!skip_string(r, &inside))
            return false;
    }
    value->length = (size_t)(r->at - value->text);
    return r->at < r->end;
}

/* The next member of the object the reader is in. */
static bool next_member(struct reader *r, struct span *key, struct span *value)
{
    skip_space(r);
    take(r, ',');
    return skip_string(r, key) && take(r, ':') && skip_value(r, value);
}

static bool is_key(struct span key, const char *name)
{
    return key.length == strlen(name) && memcmp(key.text, name, key.length) == 0;
}

static void find_in_model(struct span model, struct model_text *out)
{
    struct reader r = {model.text, model.text + model.length, model.text};
    struct span key, value;
    if (!take(&r, '{'))
        return;
    while (next_member(&r, &key, &value)) {
        if (is_key(key, "vocab") && value.text[0] == '{' && !out->vocab.text)
            out->vocab = value;
        if (is_key(key, "merges") && value.text[0] == '[' && !out->merges.text)
            out->merges = value;
    }
}

static void find(const char *text, size_t length, struct model_text *out)
{
    struct reader r = {text, text + length, text};
    struct span key, value;
    if (!take(&r, '{'))
        return;
    while (next_member(&r, &key, &value)) {
        if (is_key(key, "model")) {
            find_in_model(value, out);
            return;
        }
    }
}

int model_scan_cut(const char *text, size_t length, struct model_text *out, struct err *e)
{
    *out = (struct model_text){0};
    find(text, length, out);
    bool swapped = out->merges.text && (!out->vocab.text || out->merges.text < out->vocab.text);
    const struct span *cuts[] = {swapped ? &out->merges : &out->vocab, swapped ? &out->vocab : &out->merges};
    const char *from = text;
    bool done = buf_reserve(&out->rest, 0) == 0;
    for (int i = 0; i < 2 && done; i++) {
        if (!cuts[i]->text)
            continue;
        done = buf_append(&out->rest, from, (size_t)(cuts[i]->text - from)) == 0 &&
               buf_append_string(&out->rest, cuts[i] == &out->vocab ? "{}" : "[]") == 0;
        from = cuts[i]->text + cuts[i]->length;
    }
    if (done && buf_append(&out->rest, from, (size_t)(text + length - from)) == 0)
        return 0;
    model_text_fini(out);
    return err_memory(e);
}

void model_text_fini(struct model_text *m)
{
    buf_fini(&m->rest);
}

/* ---- reading them ---- */

static bool read_unit(struct reader *r, uint32_t *unit)
{
    if (r->end - r->at < 4)
        return false;
    *unit = 0;
    for (int i = 0; i < 4; i++) {
        char c = *r->at++;
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return false;
        *unit = *unit * 16 + (uint32_t)digit;
    }
    return true;
}

/* Behind \u: one unit, or two that make one character. */
static bool read_unicode(struct reader *r, struct buf *out)
{
    uint32_t code, low;
    char text[4];
    if (!read_unit(r, &code) || (code >= 0xDC00 && code < 0xE000))
        return false;
    if (code >= 0xD800 && code < 0xDC00) {
        if (r->end - r->at < 6 || r->at[0] != '\\' || r->at[1] != 'u')
            return false;
        r->at += 2;
        if (!read_unit(r, &low) || low < 0xDC00 || low >= 0xE000)
            return false;
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    return buf_append(out, text, utf8_encode(code, text)) == 0;
}

static bool read_escape(struct reader *r, struct buf *out)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    if (r->at == r->end)
        return false;
    char c = *r->at++;
    const char *name = memchr(names, c, sizeof names - 1);
    return name ? buf_append(out, &values[name - names], 1) == 0 : c == 'u' && read_unicode(r, out);
}

/* Append a string's characters. */
static bool read_string(struct reader *r, struct buf *out)
{
    if (!take(r, '"'))
        return false;
    for (;;) {
        const char *from = r->at;
        while (r->at < r->end && *r->at != '"' && *r->at != '\\' && (unsigned char)*r->at >= 0x20)
            r->at++;
        if (r->at == r->end || buf_append(out, from, (size_t)(r->at - from)) != 0)
            return false;
        char c = *r->at++;
        if (c == '"')
            return true;
        if (c != '\\' || !read_escape(r, out))
            return false;
    }
}

/* A whole number of at most 18 digits. */
static bool read_integer(struct reader *r, int64_t *out)
{
    bool negative = take(r, '-');
    const char *from = r->at;
    if (!negative && skip_space(r))
        from = r->at;
    *out = 0;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9' && r->at - from < 18)
        *out = *out * 10 + (*r->at++ - '0');
    if (negative)
        *out = -*out;
    return r->at > from && (*from != '0' || r->at == from + 1);
}

static int malformed(const char *what, size_t number, struct err *e)
{
    return err_set(e, "tokenizer_malformed", "model.%s: number %zu is malformed, expected %s", what, number,
                   *what == 'v' ? "\"token\": id" : "a pair [\"a\", \"b\"] or \"a b\"");
}

int model_scan_vocab(struct span vocab,
                     int (*each)(void *arg, const char *key, size_t length, int64_t id, struct err *e),
                     void *arg, struct err *e)
{
    struct reader r = {vocab.text, vocab.text + vocab.length, vocab.text};
    struct buf key = {0};
    int64_t id;
    int result = take(&r, '{') ? 0 : malformed("vocab", 0, e);
    bool more = result == 0 && !take(&r, '}');
    for (size_t number = 0; more && result == 0; number++) {
        buf_clear(&key);
        if (!read_string(&r, &key) || !take(&r, ':') || !read_integer(&r, &id))
            result = malformed("vocab", number, e);
        else
            result = each(arg, key.data, key.length, id, e);
        more = take(&r, ',');
        if (result == 0 && !more && !take(&r, '}'))
            result = malformed("vocab", number, e);
    }
    buf_fini(&key);
    return result;
}

/* One pair; `joined` holds both strings, which `left` and `right` point into. */
static bool read_pair(struct reader *r, struct buf *joined, struct span *left, struct span *right)
{
    buf_clear(joined);
    if (take(r, '[')) {
        if (!read_string(r, joined) || !take(r, ','))
            return false;
        size_t middle = joined->length;
        if (!read_string(r, joined) || !take(r, ']'))
            return false;
        *left = (struct span){joined->data, middle};
        *right = (struct span){joined->data + middle, joined->length - middle};
        return true;
    }
    if (!read_string(r, joined))
        return false;
    const char *space = memchr(joined->data, ' ', joined->length);
    size_t middle = space ? (size_t)(space - joined->data) : joined->length;
    *left = (struct span){joined->data, middle};
    *right = space ? (struct span){space + 1, joined->length - middle - 1} : (struct span){0};
    return strncmp(joined->data, "#version", 8) == 0 || (space && !memchr(space + 1, ' ', right->length));
}

int model_scan_merges(struct span merges,
                      int (*each)(void *arg, struct span left, struct span right, struct err *e), void *arg,
                      struct err *e)
{
    struct reader r = {merges.text, merges.text + merges.length, merges.text};
    struct buf joined = {0};
    struct span left, right;
    int result = take(&r, '[') ? 0 : malformed("merges", 0, e);
    bool more = result == 0 && !take(&r, ']');
    for (size_t number = 0; more && result == 0; number++) {
        bool legacy = skip_space(&r) && *r.at == '"';
        if (!read_pair(&r, &joined, &left, &right))
            result = malformed("merges", number, e);
        else if (!legacy || strncmp(joined.data, "#version", 8) != 0)
            result = each(arg, left, right, e);
        more = take(&r, ',');
        if (result == 0 && !more && !take(&r, ']'))
            result = malformed("merges", number, e);
    }
    buf_fini(&joined);
    return result;
}

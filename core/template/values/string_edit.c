#include "core/template/values/string_edit.h"

#include <string.h>

#include "core/base/utf8.h"

/* ---- replacing ---- */

/* `new` between all characters and around them. */
static int replace_nothing(struct context *c, struct string s, struct string new, int64_t count,
                           struct buf *out)
{
    size_t at = 0;
    for (; count != 0 && at <= s.length; count--) {
        size_t size = at < s.length ? utf8_size(s.data[at]) : 0;
        if (context_work(c, 1) != 0 || context_append(c, out, new.data, new.length) != 0)
            return -1;
        if (size == 0)
            return 0;
        if (context_append(c, out, s.data + at, size) != 0)
            return -1;
        at += size;
    }
    return context_append(c, out, s.data + at, s.length - at);
}

static int replace(struct context *c, struct string s, struct string old, struct string new, int64_t count,
                   struct buf *out)
{
    size_t at = 0;
    if (old.length == 0)
        return replace_nothing(c, s, new, count, out);
    for (ptrdiff_t found; count != 0 && (found = string_find(s, old, at)) >= 0; count--) {
        if (context_work(c, 1) != 0 || context_append(c, out, s.data + at, (size_t)found - at) != 0 ||
            context_append(c, out, new.data, new.length) != 0)
            return -1;
        at = (size_t)found + old.length;
    }
    return context_append(c, out, s.data + at, s.length - at);
}

int string_replace(struct context *c, struct string s, struct string old, struct string new, int64_t count,
                   struct value *out)
{
    struct buf text = {0};
    if (context_bytes(c, s.length) != 0 || replace(c, s, old, new, count, &text) != 0) {
        buf_fini(&text);
        return -1;
    }
    return value_take(c, &text, out);
}

/* ---- splitting ---- */

/* How many pieces there will be is not known: they are collected in a buffer, which take_pieces turns into a
 * list. */
static int add_piece(struct context *c, struct buf *pieces, const char *data, size_t length)
{
    struct value v = value_string((struct string){data, length});
    if (context_work(c, 1) != 0)
        return -1;
    return buf_append(pieces, &v, sizeof v) == 0 ? 0 : err_memory(c->e);
}

static int take_pieces(struct context *c, struct buf *pieces, bool reversed, struct value *out)
{
    size_t count = pieces->length / sizeof *out;
    int result = value_new_list(c, VALUE_LIST, count, out);
    for (size_t i = 0; i < count && result == 0; i++)
        memcpy(&out->list->items[reversed ? count - 1 - i : i], pieces->data + i * sizeof *out, sizeof *out);
    buf_fini(pieces);
    return result;
}

static int split_at(struct context *c, struct string s, struct string separator, int64_t max,
                    struct buf *pieces)
{
    size_t at = 0;
    for (ptrdiff_t found; max != 0 && (found = string_find(s, separator, at)) >= 0; max--) {
        if (add_piece(c, pieces, s.data + at, (size_t)found - at) != 0)
            return -1;
        at = (size_t)found + separator.length;
    }
    return add_piece(c, pieces, s.data + at, s.length - at);
}

static int split_from_right(struct context *c, struct string s, struct string separator, int64_t max,
                            struct buf *pieces)
{
    size_t end = s.length;
    for (ptrdiff_t found; max != 0 && (found = string_find_last(s, separator, end)) >= 0; max--) {
        size_t begin = (size_t)found + separator.length;
        if (add_piece(c, pieces, s.data + begin, end - begin) != 0)
            return -1;
        end = (size_t)found;
    }
    return add_piece(c, pieces, s.data, end);
}

/* Cuts at white space, of which none stays at the ends of a piece, as Python does without a separator. */
static int split_words(struct context *c, struct string s, int64_t max, struct buf *pieces)
{
    const struct string none = {0};
    for (s = string_strip(s, none, STRING_LEFT); s.length > 0; max--) {
        size_t end = 0;
        while (max != 0 && end < s.length && !string_has(none, s.data + end, utf8_size(s.data[end])))
            end += utf8_size(s.data[end]);
        if (max == 0)
            end = s.length; /* no cuts left: the rest, with the white space at its end */
        if (add_piece(c, pieces, s.data, end) != 0)
            return -1;
        s = string_strip((struct string){s.data + end, s.length - end}, none, STRING_LEFT);
    }
    return 0;
}

static int split_words_from_right(struct context *c, struct string s, int64_t max, struct buf *pieces)
{
    const struct string none = {0};
    for (s = string_strip(s, none, STRING_RIGHT); s.length > 0; max--) {
        size_t begin = s.length;
        while (max != 0 && begin > 0) {
            size_t before = utf8_before(s.data, begin);
            if (string_has(none, s.data + before, begin - before))
                break;
            begin = before;
        }
        if (max == 0)
            begin = 0;
        if (add_piece(c, pieces, s.data + begin, s.length - begin) != 0)
            return -1;
        s = string_strip((struct string){s.data, begin}, none, STRING_RIGHT);
    }
    return 0;
}

int string_split(struct context *c, struct string s, const struct value *separator, int64_t max,
                 bool from_right, struct value *out)
{
    struct buf pieces = {0};
    if (context_work(c, s.length / 8) != 0)
        return -1;
    int result = !separator
                     ? (from_right ? split_words_from_right : split_words)(c, s, max, &pieces)
                     : (from_right ? split_from_right : split_at)(c, s, separator->string, max, &pieces);
    if (result == 0)
        return take_pieces(c, &pieces, from_right, out);
    buf_fini(&pieces);
    return -1;
}

static bool ends_line(uint32_t code)
{
    return (code >= '\n' && code <= '\r') || (code >= 0x1C && code <= 0x1E) || code == 0x85 ||
           code == 0x2028 || code == 0x2029;
}

int string_lines(struct context *c, struct string s, bool keep_ends, struct value *out)
{
    struct buf pieces = {0};
    size_t begin = 0, size;
    int result = context_work(c, s.length / 8);
    for (size_t at = 0; at < s.length && result == 0; at += size) {
        if (!ends_line(utf8_decode(s.data + at, &size)))
            continue;
        size_t end = at + size;
        if (s.data[at] == '\r' && end < s.length && s.data[end] == '\n')
            size++, end++;
        result = add_piece(c, &pieces, s.data + begin, (keep_ends ? end : at) - begin);
        begin = end;
    }
    if (result == 0 && begin < s.length)
        result = add_piece(c, &pieces, s.data + begin, s.length - begin);
    if (result == 0)
        return take_pieces(c, &pieces, false, out);
    buf_fini(&pieces);
    return -1;
}

/* Strings, as Python's str: sequences of code points. */
#include <string.h>

#include "core/template/template_run.h"
#include "core/unicode/unicode.h"
#include "core/base/utf8.h"

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

/* Last place of `part` that ends at `end` or before, or -1. */
static ptrdiff_t find_last(struct string s, struct string part, size_t end)
{
    for (size_t at = end; at >= part.length; at--)
        if (memcmp(s.data + at - part.length, part.data, part.length) == 0)
            return (ptrdiff_t)(at - part.length);
    return -1;
}

static bool is_one_of(struct string chars, const char *character, size_t size)
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
        if (!is_one_of(chars, s.data, size))
            break;
        s.data += size;
        s.length -= size;
    }
    while (sides & STRING_RIGHT && s.length > 0) {
        size_t start = utf8_before(s.data, s.length);
        if (!is_one_of(chars, s.data + start, s.length - start))
            break;
        s.length = start;
    }
    return s;
}

/* ---- replacing ---- */

/* `new` between all characters and around them. */
static int replace_nothing(struct run *r, struct string s, struct string new, int64_t count, struct buf *out)
{
    size_t at = 0;
    for (; count != 0 && at <= s.length; count--) {
        size_t size = at < s.length ? utf8_size(s.data[at]) : 0;
        if (run_work(r, 1) != 0 || run_append(r, out, new.data, new.length) != 0)
            return -1;
        if (size == 0)
            return 0;
        if (run_append(r, out, s.data + at, size) != 0)
            return -1;
        at += size;
    }
    return run_append(r, out, s.data + at, s.length - at);
}

static int replace(struct run *r, struct string s, struct string old, struct string new, int64_t count,
                   struct buf *out)
{
    size_t at = 0;
    if (old.length == 0)
        return replace_nothing(r, s, new, count, out);
    for (ptrdiff_t found; count != 0 && (found = string_find(s, old, at)) >= 0; count--) {
        if (run_work(r, 1) != 0 || run_append(r, out, s.data + at, (size_t)found - at) != 0 ||
            run_append(r, out, new.data, new.length) != 0)
            return -1;
        at = (size_t)found + old.length;
    }
    return run_append(r, out, s.data + at, s.length - at);
}

int string_replace(struct run *r, struct string s, struct string old, struct string new, int64_t count,
                   struct value *out)
{
    struct buf text = {0};
    if (run_bytes(r, s.length) != 0 || replace(r, s, old, new, count, &text) != 0) {
        buf_fini(&text);
        return -1;
    }
    return value_take(r, &text, out);
}

/* ---- splitting ---- */

/* Pieces while they are found; at the end they become a list. */
static int add_piece(struct run *r, struct buf *pieces, const char *data, size_t length)
{
    struct value v = value_string((struct string){data, length});
    if (run_work(r, 1) != 0)
        return -1;
    return buf_append(pieces, &v, sizeof v) == 0 ? 0 : err_memory(r->e);
}

static int take_pieces(struct run *r, struct buf *pieces, bool reversed, struct value *out)
{
    size_t count = pieces->length / sizeof *out;
    int result = value_new_list(r, VALUE_LIST, count, out);
    for (size_t i = 0; i < count && result == 0; i++)
        memcpy(&out->list->items[reversed ? count - 1 - i : i], pieces->data + i * sizeof *out, sizeof *out);
    buf_fini(pieces);
    return result;
}

static int split_at(struct run *r, struct string s, struct string separator, int64_t max, struct buf *pieces)
{
    size_t at = 0;
    for (ptrdiff_t found; max != 0 && (found = string_find(s, separator, at)) >= 0; max--) {
        if (add_piece(r, pieces, s.data + at, (size_t)found - at) != 0)
            return -1;
        at = (size_t)found + separator.length;
    }
    return add_piece(r, pieces, s.data + at, s.length - at);
}

static int split_from_right(struct run *r, struct string s, struct string separator, int64_t max,
                            struct buf *pieces)
{
    size_t end = s.length;
    for (ptrdiff_t found; max != 0 && (found = find_last(s, separator, end)) >= 0; max--) {
        size_t begin = (size_t)found + separator.length;
        if (add_piece(r, pieces, s.data + begin, end - begin) != 0)
            return -1;
        end = (size_t)found;
    }
    return add_piece(r, pieces, s.data, end);
}

/* At white space: words. */
static int split_words(struct run *r, struct string s, int64_t max, struct buf *pieces)
{
    const struct string none = {0};
    for (s = string_strip(s, none, STRING_LEFT); s.length > 0; max--) {
        size_t end = 0;
        while (max != 0 && end < s.length && !is_one_of(none, s.data + end, utf8_size(s.data[end])))
            end += utf8_size(s.data[end]);
        if (max == 0)
            end = s.length; /* the rest, as it stands at its end */
        if (add_piece(r, pieces, s.data, end) != 0)
            return -1;
        s = string_strip((struct string){s.data + end, s.length - end}, none, STRING_LEFT);
    }
    return 0;
}

static int split_words_from_right(struct run *r, struct string s, int64_t max, struct buf *pieces)
{
    const struct string none = {0};
    for (s = string_strip(s, none, STRING_RIGHT); s.length > 0; max--) {
        size_t begin = s.length;
        while (max != 0 && begin > 0) {
            size_t before = utf8_before(s.data, begin);
            if (is_one_of(none, s.data + before, begin - before))
                break;
            begin = before;
        }
        if (max == 0)
            begin = 0;
        if (add_piece(r, pieces, s.data + begin, s.length - begin) != 0)
            return -1;
        s = string_strip((struct string){s.data, begin}, none, STRING_RIGHT);
    }
    return 0;
}

int string_split(struct run *r, struct string s, const struct value *separator, int64_t max, bool from_right,
                 struct value *out)
{
    struct buf pieces = {0};
    if (run_work(r, s.length / 8) != 0)
        return -1;
    int result = !separator
                     ? (from_right ? split_words_from_right : split_words)(r, s, max, &pieces)
                     : (from_right ? split_from_right : split_at)(r, s, separator->string, max, &pieces);
    if (result == 0)
        return take_pieces(r, &pieces, from_right, out);
    buf_fini(&pieces);
    return -1;
}

static bool ends_line(uint32_t code)
{
    return (code >= '\n' && code <= '\r') || (code >= 0x1C && code <= 0x1E) || code == 0x85 ||
           code == 0x2028 || code == 0x2029;
}

int string_lines(struct run *r, struct string s, bool keep_ends, struct value *out)
{
    struct buf pieces = {0};
    size_t begin = 0, size;
    int result = run_work(r, s.length / 8);
    for (size_t at = 0; at < s.length && result == 0; at += size) {
        if (!ends_line(utf8_decode(s.data + at, &size)))
            continue;
        size_t end = at + size;
        if (s.data[at] == '\r' && end < s.length && s.data[end] == '\n')
            size++, end++;
        result = add_piece(r, &pieces, s.data + begin, (keep_ends ? end : at) - begin);
        begin = end;
    }
    if (result == 0 && begin < s.length)
        result = add_piece(r, &pieces, s.data + begin, s.length - begin);
    if (result == 0)
        return take_pieces(r, &pieces, false, out);
    buf_fini(&pieces);
    return -1;
}

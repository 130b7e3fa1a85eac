#include "core/unicode/nfc.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "core/base/utf8.h"

/* Below this every character is a starter, and none composes with what stands before it. */
enum { FIRST_COMBINING = 0x300 };

/* Characters that take no part. Most got a combining class or a composition after Unicode 9. U+11A7 is the
 * place before the first trailing consonant of Hangul: no character to compose, though utf8proc would. */
static const uint32_t inert[][2] = {
    {0x7FD, 0x7FD},     {0x898, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},     {0xC3C, 0xC3C},
    {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0x11A7, 0x11A7},   {0x1715, 0x1715},   {0x1ABF, 0x1ACE},
    {0x1DF6, 0x1DFA},   {0xA82C, 0xA82C},   {0x10D24, 0x10D27}, {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF},
    {0x10F46, 0x10F50}, {0x10F82, 0x10F85}, {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x1145E, 0x1145E},
    {0x11839, 0x1183A}, {0x11930, 0x11930}, {0x11938, 0x11938}, {0x1193D, 0x1193E}, {0x11943, 0x11943},
    {0x119E0, 0x119E0}, {0x11A34, 0x11A34}, {0x11A47, 0x11A47}, {0x11A99, 0x11A99}, {0x11D42, 0x11D42},
    {0x11D44, 0x11D45}, {0x11D97, 0x11D97}, {0x11F41, 0x11F42}, {0x16FF0, 0x16FF1}, {0x1E08F, 0x1E08F},
    {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF},
};

struct points {            /* code points of one segment, decomposed */
    int32_t *data, *spare; /* owned [capacity] */
    size_t count, capacity;
};

static bool is_inert(uint32_t code)
{
    size_t low = 0, high = sizeof inert / sizeof *inert;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (code < inert[middle][0])
            high = middle;
        else if (code > inert[middle][1])
            low = middle + 1;
        else
            return true;
    }
    return false;
}

static int points_reserve(struct points *p, size_t more, struct err *e)
{
    if (p->count + more <= p->capacity)
        return 0;
    size_t capacity = (p->count + more) * 2;
    int32_t *data = realloc(p->data, capacity * sizeof *data);
    if (data)
        p->data = data;
    int32_t *spare = data ? realloc(p->spare, capacity * sizeof *spare) : NULL;
    if (!spare)
        return err_memory(e);
    p->spare = spare;
    p->capacity = capacity;
    return 0;
}

/* A canonical decomposition has at most four code points. */
static int add_decomposed(struct points *p, uint32_t code, struct err *e)
{
    enum { ROOM = 8 };
    if (points_reserve(p, ROOM, e) != 0)
        return -1;
    int boundary = 0;
    utf8proc_ssize_t count = utf8proc_decompose_char((utf8proc_int32_t)code, p->data + p->count, ROOM,
                                                     UTF8PROC_DECOMPOSE, &boundary);
    if (count < 0 || count > ROOM)
        return err_set(e, "internal_error", "cannot decompose U+%04X: %s", code, utf8proc_errmsg(count));
    p->count += (size_t)count;
    return 0;
}

static unsigned combining_class(int32_t code)
{
    return (unsigned)utf8proc_get_property(code)->combining_class & 0xFF;
}

/* Stable sort by combining class in linear time: a text may be one long run of marks. */
static void sort_marks(int32_t *marks, int32_t *spare, size_t count)
{
    size_t starts[257] = {0};
    for (size_t i = 0; i < count; i++)
        starts[combining_class(marks[i]) + 1]++;
    for (size_t class = 1; class < 257; class ++)
        starts[class] += starts[class - 1];
    for (size_t i = 0; i < count; i++)
        spare[starts[combining_class(marks[i])]++] = marks[i];
    memcpy(marks, spare, count * sizeof *marks);
}

static void reorder(struct points *p)
{
    for (size_t i = 0; i < p->count; i++) {
        size_t start = i;
        bool sorted = true;
        for (unsigned last = 0; i < p->count; i++) {
            unsigned class = combining_class(p->data[i]);
            if (class == 0)
                break;
            sorted = sorted && class >= last;
            last = class;
        }
        if (!sorted)
            sort_marks(p->data + start, p->spare, i - start);
    }
}

static int append_composed(struct points *p, struct buf *out, struct err *e)
{
    if (p->count == 0)
        return 0;
    reorder(p);
    utf8proc_ssize_t count =
        utf8proc_normalize_utf32(p->data, (utf8proc_ssize_t)p->count, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    if (count < 0)
        return err_set(e, "internal_error", "cannot compose: %s", utf8proc_errmsg(count));
    p->count = 0;
    if (buf_reserve(out, (size_t)count * 4) != 0)
        return err_memory(e);
    for (utf8proc_ssize_t i = 0; i < count; i++)
        out->length += utf8_encode((uint32_t)p->data[i], out->data + out->length);
    out->data[out->length] = '\0';
    return 0;
}

/* Length of the beginning that cannot change: characters below U+0300, each followed by another such one. */
static size_t plain_prefix(const char *text, size_t length)
{
    size_t at = 0;
    while (at < length && (unsigned char)text[at] < 0xCC)
        at += utf8_size(text[at]);
    return at == length || at == 0 ? at : utf8_before(text, at);
}

/* One segment: up to the next character that can neither change nor compose with what stands before it. */
static int compose_segment(const char *text, size_t length, size_t *used, struct points *p, struct buf *out,
                           struct err *e)
{
    size_t at = 0, size;
    for (; at < length; at += size) {
        uint32_t code = utf8_decode(text + at, &size);
        if (code < FIRST_COMBINING && at > 0)
            break;
        if (is_inert(code)) {
            *used = at + size;
            return append_composed(p, out, e) != 0         ? -1
                   : buf_append(out, text + at, size) != 0 ? err_memory(e)
                                                           : 0;
        }
        if (add_decomposed(p, code, e) != 0)
            return -1;
    }
    *used = at;
    return append_composed(p, out, e);
}

int nfc_append(const char *text, size_t length, struct buf *out, struct err *e)
{
    struct points points = {0};
    int result = 0;
    for (size_t at = 0, used; at < length && result == 0; at += used) {
        used = plain_prefix(text + at, length - at);
        if (used > 0)
            result = buf_append(out, text + at, used) == 0 ? 0 : err_memory(e);
        else
            result = compose_segment(text + at, length - at, &used, &points, out, e);
    }
    free(points.data);
    free(points.spare);
    return result;
}

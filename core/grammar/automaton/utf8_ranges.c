#include "core/grammar/automaton/utf8_ranges.h"

#include "core/base/utf8.h"

struct ranges {
    struct utf8_bytes *out;
    size_t count;
};

static void add(struct ranges *r, uint32_t low, uint32_t high)
{
    struct utf8_bytes *b = &r->out[r->count++];
    char first[4], last[4];
    b->length = (int)utf8_encode(low, first);
    utf8_encode(high, last);
    for (int i = 0; i < b->length; i++) {
        b->low[i] = (uint8_t)first[i];
        b->high[i] = (uint8_t)last[i];
    }
}

/* Of one length in UTF-8. The last `bits` bits vary freely in the middle part; what is left at either end has
 * fewer free bits. */
static void split(struct ranges *r, uint32_t low, uint32_t high, int bits)
{
    if (bits == 0 || low >> bits == high >> bits) {
        if (bits > 6)
            split(r, low, high, bits - 6);
        else
            add(r, low, high);
        return;
    }
    uint32_t mask = (UINT32_C(1) << bits) - 1;
    if (low & mask) {
        split(r, low, low | mask, bits - 6);
        low = (low | mask) + 1;
    }
    uint32_t tail = high & mask;
    if (tail != mask && low <= high) {
        if (low < high - tail)
            add(r, low, high - tail - 1);
        split(r, high - tail, high, bits - 6);
    } else if (low <= high) {
        add(r, low, high);
    }
}

size_t utf8_ranges(uint32_t low, uint32_t high, struct utf8_bytes out[UTF8_RANGES_MAX])
{
    static const struct {
        uint32_t low, high;
        int bits; /* of the bytes behind the first */
    } lengths[] = {
        {0, 0x7F, 0}, {0x80, 0x7FF, 6}, {0x800, 0xD7FF, 12}, {0xE000, 0xFFFF, 12}, {0x10000, 0x10FFFF, 18}};
    struct ranges r = {.out = out};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        uint32_t from = low > lengths[i].low ? low : lengths[i].low;
        uint32_t to = high < lengths[i].high ? high : lengths[i].high;
        if (from <= to)
            split(&r, from, to, lengths[i].bits);
    }
    return r.count;
}

#include "core/grammar/char_class.h"

#include <stdlib.h>

void char_class_add(struct char_class *c, uint32_t low, uint32_t high)
{
    if (c->count == CHAR_CLASS_MAX)
        c->full = true;
    else
        c->ranges[c->count++] = (struct grammar_range){low, high};
}

void char_class_add_all(struct char_class *c, const struct grammar_range *ranges, size_t count)
{
    for (size_t i = 0; i < count; i++)
        char_class_add(c, ranges[i].low, ranges[i].high);
}

static int compare(const void *a, const void *b)
{
    const struct grammar_range *x = a, *y = b;
    return (x->low > y->low) - (x->low < y->low);
}

void char_class_sort(struct char_class *c)
{
    size_t kept = 0;
    qsort(c->ranges, c->count, sizeof *c->ranges, compare);
    for (size_t i = 0; i < c->count; i++) {
        struct grammar_range *last = kept > 0 ? &c->ranges[kept - 1] : NULL;
        if (last && c->ranges[i].low <= last->high + 1)
            last->high = c->ranges[i].high > last->high ? c->ranges[i].high : last->high;
        else
            c->ranges[kept++] = c->ranges[i];
    }
    c->count = kept;
}

void char_class_complement(struct char_class *c)
{
    struct char_class other = {.full = c->full};
    uint32_t next = 0;
    for (size_t i = 0; i < c->count; i++) {
        if (c->ranges[i].low > next)
            char_class_add(&other, next, c->ranges[i].low - 1);
        next = c->ranges[i].high + 1;
    }
    if (next <= GRAMMAR_CODE_MAX)
        char_class_add(&other, next, GRAMMAR_CODE_MAX);
    *c = other;
}

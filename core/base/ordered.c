#include "core/base/ordered.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

void ordered_fini(struct ordered *s)
{
    free(s->items);
    *s = (struct ordered){0};
}

/* Whether it is there; *place: where it is, or where it would go. */
static bool find(const struct ordered *s, const char *text, size_t *place)
{
    size_t low = 0, high = s->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(s->items[middle], text);
        if (order == 0) {
            *place = middle;
            return true;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *place = low;
    return false;
}

void *ordered_get(const struct ordered *s, const char *text)
{
    size_t place;
    return find(s, text, &place) ? s->items[place] : NULL;
}

size_t ordered_after(const struct ordered *s, const char *text)
{
    size_t place = 0;
    if (text && find(s, text, &place))
        place++;
    return place;
}

int ordered_reserve(struct ordered *s, struct err *e)
{
    if (s->count < s->capacity)
        return 0;
    size_t capacity = s->capacity ? s->capacity * 2 : 4;
    void **items = reallocarray(s->items, capacity, sizeof *items);
    if (!items)
        return err_memory(e);
    s->items = items;
    s->capacity = capacity;
    return 0;
}

void ordered_add(struct ordered *s, void *item)
{
    size_t place;
    find(s, item, &place);
    memmove(s->items + place + 1, s->items + place, (s->count - place) * sizeof *s->items);
    s->items[place] = item;
    s->count++;
}

void ordered_remove(struct ordered *s, const void *item)
{
    size_t place;
    if (!find(s, item, &place))
        return;
    s->count--;
    memmove(s->items + place, s->items + place + 1, (s->count - place) * sizeof *s->items);
}

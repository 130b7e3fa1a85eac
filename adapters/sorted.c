#include "adapters/sorted.h"

#include <stdlib.h>
#include <string.h>

void sorted_fini(struct sorted *s)
{
    free(s->items);
    *s = (struct sorted){0};
}

bool sorted_find(const struct sorted *s, const char *text, size_t *place)
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

void *sorted_get(const struct sorted *s, const char *text)
{
    size_t place;
    return sorted_find(s, text, &place) ? s->items[place] : NULL;
}

size_t sorted_after(const struct sorted *s, const char *text)
{
    size_t place = 0;
    if (text && sorted_find(s, text, &place))
        place++;
    return place;
}

int sorted_reserve(struct sorted *s, struct err *e)
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

void sorted_add(struct sorted *s, void *item)
{
    size_t place;
    sorted_find(s, item, &place);
    memmove(s->items + place + 1, s->items + place, (s->count - place) * sizeof *s->items);
    s->items[place] = item;
    s->count++;
}

void sorted_remove(struct sorted *s, const void *item)
{
    size_t place;
    if (!sorted_find(s, item, &place))
        return;
    s->count--;
    memmove(s->items + place, s->items + place + 1, (s->count - place) * sizeof *s->items);
}

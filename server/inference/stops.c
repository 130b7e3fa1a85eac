#include "server/inference/stops.h"

#include <string.h>

bool stops_add(struct stops *s, const char *text, size_t length)
{
    if (s->count == STOPS_MAX || length < 1 || length > STOP_BYTES_MAX)
        return false;
    memcpy(s->text[s->count], text, length);
    s->length[s->count++] = length;
    if (length > s->longest)
        s->longest = length;
    return true;
}

bool stops_find(const struct stops *s, const char *text, size_t length, size_t searched, size_t *cut)
{
    bool found = false;
    for (int i = 0; i < s->count; i++) {
        /* A match that is new ends behind `searched`, so it begins less than its length before it. */
        size_t from = searched >= s->length[i] ? searched - s->length[i] + 1 : 0;
        if (from >= length)
            continue;
        const char *hit = memmem(text + from, length - from, s->text[i], s->length[i]);
        if (hit && (!found || (size_t)(hit - text) < *cut)) {
            *cut = (size_t)(hit - text);
            found = true;
        }
    }
    return found;
}

size_t stops_hold(const struct stops *s, const char *text, size_t length)
{
    size_t held = 0;
    for (int i = 0; i < s->count; i++) {
        size_t part = s->length[i] - 1 < length ? s->length[i] - 1 : length;
        for (; part > held; part--)
            if (memcmp(text + length - part, s->text[i], part) == 0)
                held = part;
    }
    return held;
}

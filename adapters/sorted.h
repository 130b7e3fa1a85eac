/* Pointers in the order of the NUL-terminated text that each item begins with. Owns the array, not the items.
 * The caller locks. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "core/base/err.h"

struct sorted { /* zero-initialize */
    void **items;
    size_t count, capacity;
};

void sorted_fini(struct sorted *s);
/* The item's place, or the place where it would go. */
bool sorted_find(const struct sorted *s, const char *text, size_t *place);
void *sorted_get(const struct sorted *s, const char *text); /* NULL: not there */
/* Place of the first item behind `text`; 0 for NULL. */
size_t sorted_after(const struct sorted *s, const char *text);
/* Room for one more, so that the next sorted_add cannot fail. */
int sorted_reserve(struct sorted *s, struct err *e);
void sorted_add(struct sorted *s, void *item); /* room is reserved, the text is new */
void sorted_remove(struct sorted *s, const void *item);

/* Pointers in the order of the NUL-terminated text that each item begins with. Owns the array, not the items.
 * The caller locks. */
#pragma once
#include <stddef.h>

#include "core/base/err.h"

struct ordered { /* zero-initialize */
    void **items;
    size_t count, capacity;
};

void ordered_fini(struct ordered *s);
void *ordered_get(const struct ordered *s, const char *text); /* NULL: not there */
/* Place of the first item behind `text`; 0 for NULL. */
size_t ordered_after(const struct ordered *s, const char *text);
/* Room for one more, so that the next ordered_add cannot fail. */
MUST_USE int ordered_reserve(struct ordered *s, struct err *e);
void ordered_add(struct ordered *s, void *item); /* room is reserved, the text is new */
void ordered_remove(struct ordered *s, const void *item);

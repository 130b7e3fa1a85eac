/* The common shape of lists: {"data": [...], "next": cursor or null}. Any thread. */
#pragma once
#include <jansson.h>
#include <stdbool.h>

/* `data` is taken over; `last` is the name of its last entry, the cursor when there are more. NULL: out of
 * memory. */
json_t *list_json(json_t *data, bool more, const char *last);

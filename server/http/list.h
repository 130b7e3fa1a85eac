/* Arrays of JSON, and the common shape of lists: {"data": [...], "next": cursor or null}. Any thread. */
#pragma once
#include <jansson.h>
#include <stdbool.h>

#include "server/http/request.h"

/* Append `item`, which is taken over. Once something failed *list is NULL and stays so; one check at the end
 * will do. */
void list_add(json_t **list, json_t *item);
/* `data` is taken over; `last` is the name of its last entry, the cursor when there are more. NULL: out of
 * memory. */
json_t *list_json(json_t *data, bool more, const char *last);
/* The same where the cursor is the number of the last row. */
json_t *list_json_numbered(json_t *data, bool more, int64_t last);
/* ?after= of a list whose cursor is the number of a row; 0 when absent. "invalid_parameter" */
MUST_USE int list_number_after(const struct request *r, int64_t *after, struct err *e);

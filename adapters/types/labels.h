/* Labels of an adapter: up to LABELS_MAX pairs of key and value, as one JSON object. Immutable,
 * reference-counted, any thread; NULL stands for none. */
#pragma once
#include <stdbool.h>

#include "core/base/buf.h"
#include "core/base/err.h"

enum { LABELS_MAX = 16, LABEL_KEY_BYTES_MAX = 63, LABEL_VALUE_BYTES_MAX = 256 };

bool label_key_valid(const char *key); /* [a-z0-9._-]{1,63} */

struct labels;
/* Of a JSON object with valid keys and values; what has no pairs is NULL. Errors: "registry_malformed" (it is
 * none), "out_of_memory". */
MUST_USE int labels_parse(const struct labels **out, const char *text, struct err *e);
const struct labels *labels_ref(const struct labels *l);
void labels_unref(const struct labels *l);
/* Compact, keys in order, each once; NULL for none. */
const char *labels_text(const struct labels *l);
/* With the pairs of `change`, a JSON object as labels_parse takes it, where null takes a key away; or "null",
 * which takes all away. Errors: "out_of_range" (more than LABELS_MAX). */
MUST_USE int labels_merge(const struct labels **out, const struct labels *l, const char *change,
                          struct err *e);
/* What labels_match looks for, of "key:value". -1: no valid key, or a value that is too long or no UTF-8. */
int labels_pattern(const char *label, struct buf *out);
bool labels_match(const struct labels *l, const char *pattern);

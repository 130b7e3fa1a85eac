/* Versions as objects: immutable, reference-counted, made from values. Any thread.
 *
 * The objects that tell of one version share its files (adapters/blobs/retired.h), which stay on disk until
 * the last reference is gone. */
#pragma once
#include "adapters/types/rows.h"

/* A new object with these values and one reference; NULL when memory ran out. With `files` it shares those;
 * without, it gets its own, with the names in config_blob and weights_blob. */
MUST_USE struct version *version_new(const struct version *values);
/* The same with another `active`. */
MUST_USE struct version *version_with_active(const struct version *v,
                                             bool active); /* an active one is no canary */
MUST_USE struct version *version_with_canary(const struct version *v, int share);

void version_ref(const struct version *v);
void version_unref(const struct version *v); /* NULL is fine */

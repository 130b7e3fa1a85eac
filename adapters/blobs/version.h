/* Making versions; struct version itself and its references are in registry.h. Any thread. */
#pragma once
#include "adapters/registry/registry.h"

/* A new object with these values and one reference; NULL when memory ran out. With `files` it shares those;
 * without, it gets its own, with the names in config_blob and weights_blob. */
struct version *version_new(const struct version *values);
/* The same with another `active`. */
struct version *version_with_active(const struct version *v, bool active); /* an active one is no canary */
struct version *version_with_canary(const struct version *v, int share);

/* Making versions; struct version itself and its references are in registry.h. Any thread. */
#pragma once
#include "adapters/registry.h"

/* A new object with these values and one reference; NULL when memory ran out. */
struct version *version_new(const struct version *values);
/* The same with another `active`. */
struct version *version_with_active(const struct version *v, bool active);

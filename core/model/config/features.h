/* What a family's network has that llama's has not, and what a config uses, in words for people: the README's
 * table of models and `adapterd --check`. Pure, any thread. */
#pragma once
#include "core/model/config/config.h"

/* "layer norm, biases everywhere, ..."; cut to fit; empty: nothing. */
void features_of_family(const struct family *f, char *out, size_t size);
/* The same of what the config switches on, with its sizes. */
void features_of_config(const struct config *c, char *out, size_t size);

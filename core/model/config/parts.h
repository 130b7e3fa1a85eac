/* The parts that config_read.c reads a decoder's config.json by, in its order. For core/model/config alone.
 */
#pragma once
#include "core/model/config/config.h"
#include "core/model/config/keys.h"

/* What switches on something that is not computed here is refused by name. */
MUST_USE int switches_check(const json_t *root, const struct family *f, struct err *e);

/* Names of fields that are neither read nor known to change nothing, cut to fit. */
void switches_list_unknown(const json_t *root, const struct family *f, char *out, size_t size);

/* Which layers slide, and over how many keys. Shapes and the context are there. */
MUST_USE int windows_read(const json_t *root, struct config *c, struct err *e);

/* Rotations, and which layer has which; the context grows where they say so. Windows are there. */
MUST_USE int ropes_read(const json_t *root, struct config *c, struct err *e);
/* Layers that the config leaves unrotated; before windows, which may depend on it. */
MUST_USE int ropes_read_layers(const json_t *root, struct config *c, struct err *e);

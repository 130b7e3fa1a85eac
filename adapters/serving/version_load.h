/* How a version gets into memory: its two blobs are read, checked against their SHA-256 and compiled. */
#pragma once
#include "adapters/registry/registry.h"
#include "adapters/serving/cache.h"
#include "core/model/model.h"

/* Blocks. A blob that is not what its digest names marks the version broken ("adapter_broken"). The rest of
 * the errors are those of registry_resolve and peft_load. */
MUST_USE int version_load(struct registry *r, const struct model *m, const struct version *v,
                          struct delta **out, struct err *e);

/* A cache of a registry's versions on a model; both are borrowed for as long as `l` is. */
struct version_loader {
    struct registry *registry;
    const struct model *model;
};
MUST_USE int version_loader_cache(struct cache **out, const struct version_loader *l, size_t budget_bytes,
                                  struct err *e);

/* From staged files to a version that can serve: validate, compile, prove, publish. Blocks; runs on a job
 * thread. */
#pragma once
#include "adapters/serving/cache.h"
#include "adapters/registry/registry.h"
#include "adapters/serving/settings.h"
#include "adapters/types/warnings.h"
#include "core/engine/engine.h"
#include "core/tokenizer/tokenizer.h"

struct upload {
    uint32_t tenant;
    const char *name;
    bool activate, allow_no_effect;
    const char *proof_prompt; /* base and adapter answer it, and the answers are kept; NULL: none do */
    const struct tokenizer *tokenizer; /* where there is a prompt */
    /* What came beside the weights, and what it is read on; NULL: nothing did. Settings that change nothing
     * on this base are no part of the version. */
    const struct settings_files *settings;
    const struct settings_base *settings_base;
};

struct upload_result {
    const struct version *version; /* the caller's reference */
    bool created;                  /* false: the name had it already */
    struct version_proof proof;    /* with the largest norms; the caller's */
    struct warnings warnings;      /* the caller's */
};

/* Where only the proof of what was there already cannot be read, what was accepted stays. Otherwise nothing
 * is left behind by a refusal. Consumes `staged`. */
MUST_USE int upload_accept(struct registry *r, struct cache *c, struct engine *g, const struct model *m,
                           struct staged *staged, const struct upload *u, struct upload_result *out,
                           struct err *e);

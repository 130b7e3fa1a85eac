/* Another base under the same data: every version that was proved on the one before is loaded and proved on
 * this one, and served again where it has an effect. Blocks; before anybody is served. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "adapters/registry/registry.h"
#include "core/engine/engine.h"
#include "core/model/model.h"

struct tokenizer;

struct accept_base {
    struct registry *registry;
    const struct model *model;
    struct engine *engine;
    const struct tokenizer *tokenizer; /* for the samples of their proofs; NULL: there are none */
    /* Asked before each version: true ends it with "shutting_down". */
    bool (*stop)(void *arg);
    /* A version that is refused still, and why. */
    void (*refused)(void *arg, const struct version *v, const struct err *e);
    void *arg;
};

/* *accepted: how many are served again. An error is one of storing, or the end that was asked for; what was
 * accepted stays so. */
MUST_USE int accept_base_run(const struct accept_base *a, size_t *accepted, struct err *e);

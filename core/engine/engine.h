/* The engine: many sequences, one forward pass per step for all. Public boundary of core.
 *
 * One thread of its own owns the scheduler, the KV cache and all sequences, and is worker 0 of compute. The
 * functions below may be called from any thread and only enqueue. Callbacks run on the engine thread and must
 * not block. */
#pragma once
#include "core/base/err.h"
#include "core/engine/engine_types.h"
#include "core/model/model.h"

struct engine;

MUST_USE int engine_new(struct engine **out, const struct model *m, const struct engine_options *o,
                        struct err *e);
/* Stop the thread; what still runs is cancelled, its on_done called. */
void engine_free(struct engine *g);

/* Errors: "queue_full" (whole), "tenant_queue_full", "prompt_too_long", "prompt_empty", "token_out_of_range",
 * "engine_stopped", "out_of_memory". After an error no callback is called, and constraints are the caller's
 * still. */
MUST_USE int engine_submit(struct engine *g, const struct engine_request *r, uint64_t *id, struct err *e);
/* All of one tenant's `count` requests or none; `ids` [count]. One that follows starts when the prompt of the
 * request before it was computed (or cannot be any more) and shares its pages, so that several answers to one
 * prompt cost one prefill. The first of the list follows nobody. */
MUST_USE int engine_submit_all(struct engine *g, const struct engine_request *r, int count, uint64_t *ids,
                               struct err *e);
void engine_cancel(struct engine *g, uint64_t id); /* unknown or finished ids are fine */
void engine_stats(struct engine *g, struct engine_stats *out);
const struct engine_times *engine_times(const struct engine *g);
/* The names of all requests that have one, with whether they run or wait; `see` must not block or call the
 * engine. */
void engine_names(struct engine *g, void (*see)(void *arg, const char *name, bool runs), void *arg);
int engine_waiting(struct engine *g, uint32_t tenant); /* requests of one tenant that wait */
const struct model *engine_model(const struct engine *g);

/* Run a fixed prompt (or fixed rows) with and without the delta and compare the logits; where the delta gives
 * labels, or the base does not generate, what stands behind the final norm. Blocks the caller, not the
 * engine. Error "adapter_not_finite" when a number of the adapted model is not finite. */
struct engine_proof {
    double max_change, mean_change;
};
MUST_USE int engine_probe(struct engine *g, uint32_t tenant, struct delta *d, struct engine_proof *out,
                          struct err *e);

/* The likeliest tokens behind a prompt, up to an end token (which is not among them), the end of the context
 * or ENGINE_SAMPLE_TOKENS; blocks as engine_probe. Language models only. Errors: those of engine_submit. */
enum { ENGINE_SAMPLE_TOKENS = 32 };
struct engine_sample {
    int32_t tokens[ENGINE_SAMPLE_TOKENS];
    int count;
};
MUST_USE int engine_sample(struct engine *g, uint32_t tenant, struct delta *d, const int32_t *tokens,
                           size_t count, struct engine_sample *out, struct err *e);

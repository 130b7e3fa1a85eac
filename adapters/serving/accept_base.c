#include "adapters/serving/accept_base.h"

#include <stdlib.h>
#include <string.h>

#include "adapters/serving/effect.h"
#include "adapters/serving/version_load.h"
#include "core/delta/delta.h"

/* What it was without an effect before, as its owner allowed, it may be again. */
static int prove(const struct accept_base *a, const struct version *v, struct delta *d,
                 struct engine_proof *out, struct err *e)
{
    if (engine_probe(a->engine, v->tenant, d, out, e) != 0)
        return -1;
    if (out->max_change > 0 || v->proof_max == 0)
        return 0;
    return err_set(e, "adapter_no_effect", "on this base it changes no output of the model");
}

/* The answers that its proof shows are of the base before: both are given anew. */
static int sample_anew(const struct accept_base *a, const struct version *v, struct delta *d,
                       struct version_proof *proof, struct err *e)
{
    struct version_proof before = {0};
    int result = registry_version_proof(a->registry, v, true, &before, e);
    if (result == 0 && before.prompt.length > 0 && a->tokenizer)
        result = effect_sample(proof, a->engine, v->tenant, d, a->tokenizer, before.prompt.data, e);
    if (result == 0 && proof->prompt.length > 0) { /* the norms are the adapter's own */
        proof->norm_count = before.norm_count;
        proof->norm_sum = before.norm_sum;
        if (buf_append(&proof->norms, before.norms.data, before.norms.length) != 0)
            result = err_memory(e);
    }
    proof_fini(&before);
    return result;
}

static int prove_and_accept(const struct accept_base *a, const struct version *v, struct delta *d,
                            struct err *e)
{
    struct engine_proof found;
    struct version_proof sample = {0}, largest = {0};
    int result = prove(a, v, d, &found, e);
    if (result == 0)
        result = sample_anew(a, v, d, &sample, e);
    if (result == 0 && sample.prompt.length > 0)
        result = registry_version_proof(a->registry, v, false, &largest, e);
    if (result == 0 && sample.prompt.length > 0 &&
        buf_append(&sample.norms_largest, largest.norms_largest.data, largest.norms_largest.length) != 0)
        result = err_memory(e);
    if (result == 0)
        result = registry_accept_base(a->registry, v, found.max_change, found.mean_change,
                                      sample.prompt.length > 0 ? &sample : NULL, e);
    proof_fini(&sample);
    proof_fini(&largest);
    return result;
}

static int accept_one(const struct accept_base *a, const struct version *v, struct err *e)
{
    struct delta *d = NULL;
    if (version_load(a->registry, a->model, v, &d, e) != 0)
        return -1;
    int result = prove_and_accept(a, v, d, e);
    delta_unref(d);
    return result;
}

/* Is it this version's own fault, so that the next one may do better? */
static bool is_own(const struct err *e)
{
    return strcmp(e->code, "storage_failed") != 0 && strcmp(e->code, "storage_full") != 0 &&
           strcmp(e->code, "registry_replaced") != 0 && strcmp(e->code, "engine_stopped") != 0;
}

static int accept_all(const struct accept_base *a, const struct version **versions, size_t count,
                      size_t *accepted, struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        struct err own;
        if (a->stop(a->arg))
            return err_set(e, "shutting_down", "stopped, with %zu of %zu versions proved on this base",
                           *accepted, count);
        if (accept_one(a, versions[i], &own) == 0) {
            ++*accepted;
        } else if (is_own(&own)) {
            a->refused(a->arg, versions[i], &own);
        } else {
            *e = own;
            return -1;
        }
    }
    return 0;
}

int accept_base_run(const struct accept_base *a, size_t *accepted, struct err *e)
{
    struct registry_stats stats;
    registry_stats(a->registry, &stats);
    const struct version **versions = calloc(stats.other_base + 1, sizeof *versions);
    if (!versions)
        return err_memory(e);
    size_t count = registry_other_base(a->registry, stats.other_base, versions);
    *accepted = 0;
    int result = accept_all(a, versions, count, accepted, e);
    for (size_t i = 0; i < count; i++)
        version_unref(versions[i]);
    free(versions);
    return result;
}

/* The adapters of a request: found in the registry, leased one after the other, and, where several are asked
 * for, combined. Combining takes as long as compiling: a list goes to a text thread first, and on from there
 * or from a loader thread. */
#include <string.h>

#include "core/system/clock.h"
#include "core/delta/delta.h"
#include "server/http/adapter_json.h"
#include "server/inference/inference.h"
#include "server/base/log.h"

static int resolve_part(struct inference *q, struct inference_part *p, struct err *e)
{
    if (registry_resolve_request(q->r->server->registry, q->r->tenant.number, p->reference,
                                 q->affinity_length ? q->affinity : NULL, q->affinity_length, &p->version,
                                 e) == 0)
        return 0;
    return err_param(e, "adapter");
}

/* What a model of numbers takes, its routes say themselves. */
static int check_ability(const struct inference *q, struct err *e)
{
    const struct server *s = q->r->server;
    int result = q->part_count || s->info->numeric ? 0 : ability_check(s, NULL, q->dialect->ability, e);
    for (int i = 0; i < q->part_count && result == 0 && !s->info->numeric; i++)
        result = ability_check(s, q->parts[i].version, q->dialect->ability, e);
    return result == 0 ? 0 : err_param(e, "adapter");
}

int inference_resolve(struct inference *q, struct err *e)
{
    for (int i = 0; i < q->part_count; i++)
        if (resolve_part(q, &q->parts[i], e) != 0)
            return -1;
    if (check_ability(q, e) != 0)
        return -1;
    if (q->part_count == 1)
        adapter_json_header(q->r, q->parts[0].version);
    return 0;
}

int inference_settle(struct inference *q, struct err *e)
{
    q->tokenizer = q->r->server->tokenizer;
    q->vocab_size = q->r->server->info->vocab_size;
    if (q->dialect->resolve(q, e) != 0)
        return -1;
    if (q->part_count != 1 || !q->r->server->tokenizer)
        return 0;
    if (q->parts[0].version->vocab)
        q->vocab_size = q->parts[0].version->vocab;
    if (settings_cache_get(q->r->server->settings, q->parts[0].version, &q->settings, e) != 0)
        return -1;
    if (q->settings) {
        q->tokenizer = q->settings->tokenizer ? q->settings->tokenizer : q->tokenizer;
        q->sampling.end_tokens = q->settings->ends;
        q->sampling.end_token_count = q->settings->end_count;
    }
    return 0;
}

/* Combinations of all requests together may take as much memory as the adapters do; one always may. */
static int charge(struct inference *q, struct err *e)
{
    struct server *s = q->r->server;
    size_t bytes = delta_bytes(q->combined), before = atomic_fetch_add(&s->combined_bytes, bytes);
    q->charged_bytes = bytes;
    if (before == 0 || before + bytes <= s->config.adapter_bytes)
        return 0;
    return err_set(e, "loader_busy", "combined adapters take all memory that they may");
}

static int combine(struct inference *q, struct err *e)
{
    struct delta *deltas[INFERENCE_ADAPTERS_MAX];
    float scales[INFERENCE_ADAPTERS_MAX];
    for (int i = 0; i < q->part_count; i++) {
        deltas[i] = q->parts[i].delta;
        scales[i] = (float)q->parts[i].scale;
    }
    if (delta_combine(&q->combined, q->r->server->model, deltas, scales, (size_t)q->part_count, e) != 0)
        return err_param(e, "adapter");
    return charge(q, e);
}

static void lease_next(struct inference *q);

static void all_leased(struct inference *q)
{
    struct err e;
    q->load_ms = clock_ms() - q->lease_began_ms;
    if (q->part_count == 0)
        q->ready(q, NULL, NULL);
    else if (q->part_count == 1 && q->parts[0].scale == 1)
        q->ready(q, q->parts[0].delta, NULL);
    else if (combine(q, &e) == 0)
        q->ready(q, q->combined, NULL);
    else
        q->ready(q, NULL, &e);
}

/* What loading took, in prompt tokens: it grows with the share of the base's bytes that were read and
 * compiled, at some 200 times what multiplying by them costs. */
static int cost_of_load(const struct inference *q, const struct delta *d)
{
    return 1 + (int)(200.0 * (double)delta_bytes(d) / (double)(q->r->server->info->weight_bytes + 1));
}

static void alert(const struct inference *q, const struct version *v, const struct err *e)
{
    log_message("error", "tenant %s, adapter %s, version sha256:%s cannot be loaded: %s: %s", q->r->tenant.id,
                v->name, v->digest, e->code, e->message);
}

static void on_leased(void *arg, struct delta *delta, bool loaded, const struct err *e)
{
    struct inference *q = arg;
    if (loaded && delta)
        q->load_cost += cost_of_load(q, delta);
    else if (loaded)
        alert(q, q->parts[q->leased].version, e);
    if (!delta) {
        q->ready(q, NULL, e);
        return;
    }
    q->parts[q->leased++].delta = delta;
    lease_next(q);
}

static void lease_next(struct inference *q)
{
    if (q->leased == q->part_count)
        all_leased(q);
    else
        cache_lease(q->r->server->cache, q->parts[q->leased].version, on_leased, q);
}

/* On a job thread: compiling a grammar and adding adapters up take a while. */
static void begin(struct request *r)
{
    struct inference *q = r->task;
    struct err e;
    if (q->structure.kind != GRAMMARS_NONE && inference_compile_structure(q, &e) != 0)
        q->ready(q, NULL, &e);
    else
        lease_next(q);
}

void inference_lease(struct inference *q,
                     void (*ready)(struct inference *q, struct delta *delta, const struct err *e))
{
    struct err e;
    q->ready = ready;
    q->lease_began_ms = clock_ms();
    if (!q->listed && q->structure.kind == GRAMMARS_NONE) {
        lease_next(q);
        return;
    }
    if (request_take_turn(q->r, begin, &e) != 0)
        ready(q, NULL, &e);
}

void inference_lease_release(struct inference *q)
{
    for (int i = 0; i < q->part_count; i++) {
        delta_unref(q->parts[i].delta);
        q->parts[i].delta = NULL;
    }
}

void inference_lease_fini(struct inference *q)
{
    inference_lease_release(q);
    for (int i = 0; i < q->part_count; i++)
        version_unref(q->parts[i].version);
    delta_unref(q->combined);
    settings_unref(q->settings);
    atomic_fetch_sub(&q->r->server->combined_bytes, q->charged_bytes);
}

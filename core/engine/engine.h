/* The engine: many sequences, one forward pass per step for all. Public boundary of core.
 *
 * One thread of its own owns the scheduler, the KV cache and all sequences, and is worker 0 of compute. The
 * functions below may be called from any thread and only enqueue. Callbacks run on the engine thread and must
 * not block. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/base/histogram.h"
#include "core/model/model.h"

enum { ENGINE_LOGPROBS_MAX = 20 };
enum { ENGINE_WEIGHT_DEFAULT = 100, ENGINE_WEIGHT_MAX = 1000 };

struct sampling {
    float temperature; /* 0: greedy, ties go to the lowest id */
    float top_p;       /* 0 < top_p <= 1; 1: off */
    float min_p;       /* 0..1; 0: off */
    int top_k;         /* 0: off */
    uint64_t seed;
    int max_tokens; /* 0 or more new tokens */
    bool ignore_eos;
    int logprobs; /* -1: none; 0..ENGINE_LOGPROBS_MAX: the token's own and that many of the likeliest */
};

struct engine_logprob {
    int32_t token;
    float logprob; /* of the model's distribution, before temperature and filters */
};

struct engine_token {
    int32_t token;
    float logprob; /* set when logprobs were asked for */
    int top_count;
    struct engine_logprob top[ENGINE_LOGPROBS_MAX];
};

enum engine_finish { ENGINE_STOP, ENGINE_LENGTH, ENGINE_CANCELLED, ENGINE_FAILED /* out of memory */ };

struct engine_done {
    enum engine_finish finish;
    double queue_ms, prefill_ms, decode_ms;
    int cached_tokens; /* prompt tokens that were not computed again */
};

struct engine_request {
    uint32_t tenant;       /* for fairness; the engine knows no names */
    int weight;            /* of the tenant's share, 1..ENGINE_WEIGHT_MAX; 0: ENGINE_WEIGHT_DEFAULT */
    int extra_cost;        /* what was done for it before, in prompt tokens: loading its adapter */
    struct delta *delta;   /* the engine takes a reference of its own; NULL: bare base */
    const int32_t *tokens; /* [token_count], copied */
    size_t token_count;
    /* [SHA256_BYTES] separates prefix caches: derived from tenant, adapter version and base; copied. NULL: no
     * use of the prefix cache. */
    const uint8_t *cache_root;
    const float *input; /* numeric models: [input_rows, input_size], copied */
    size_t input_rows;
    struct sampling sampling;
    /* Each new token; false ends the run there with ENGINE_STOP (a stop string). The end token that stops a
     * run is not reported. May be NULL when max_tokens is 0. */
    bool (*on_token)(void *arg, const struct engine_token *t);
    /* Optional: logits [vocab_size] after each prompt token in order, or each output row of a numeric model.
     */
    void (*on_logits)(void *arg, size_t row, const float *logits);
    void (*on_done)(void *arg, const struct engine_done *d); /* exactly once, last */
    void *arg;
};

struct engine_options {
    int threads; /* 0: as many as the process may use */
    size_t kv_bytes;
    int sequences_max;    /* running at the same time */
    int queue_max;        /* waiting, all tenants together */
    int queue_tenant_max; /* waiting, one tenant */
    int step_tokens;      /* tokens of one step at most; 0: default */
    int chunk_tokens;     /* prompt tokens of one sequence in one step at most; 0: default */
    bool share_all;       /* all threads compute small steps, too: for tests */
};

struct engine_stats {
    int running, waiting;
    int kv_pages, kv_pages_free;
    int kv_pages_cached; /* held by the prefix cache; given up when a sequence needs them */
    int context_length;  /* tokens that one sequence may have: the model's limit, or what the KV budget holds
                          */
    int threads;
    uint64_t steps, tokens_prefill, tokens_decode, tokens_cached;
    uint64_t preemptions; /* sequences that gave their place to another tenant's, and went on later */
};

/* Of every step. The engine thread adds; any thread may read, as long as the engine is there. */
struct engine_times {
    struct histogram step_us;                     /* histogram_times; the forward pass */
    struct histogram step_tokens, step_sequences; /* histogram_counts */
};

struct engine;

int engine_new(struct engine **out, const struct model *m, const struct engine_options *o, struct err *e);
/* Stop the thread; what still runs is cancelled, its on_done called. */
void engine_free(struct engine *g);

/* Errors: "queue_full" (whole), "tenant_queue_full", "prompt_too_long", "prompt_empty", "token_out_of_range",
 * "engine_stopped", "out_of_memory". After an error no callback is called. */
int engine_submit(struct engine *g, const struct engine_request *r, uint64_t *id, struct err *e);
void engine_cancel(struct engine *g, uint64_t id); /* unknown or finished ids are fine */
void engine_stats(struct engine *g, struct engine_stats *out);
const struct engine_times *engine_times(const struct engine *g);
int engine_waiting(struct engine *g, uint32_t tenant); /* requests of one tenant that wait */
const struct model *engine_model(const struct engine *g);

/* log-softmax(logits)[token], summed in double. */
float engine_logprob_of(const float *logits, int vocab_size, int32_t token);
/* Fill what a token was given: its log-probability, and the `count` likeliest ones, 0..ENGINE_LOGPROBS_MAX.
 */
void engine_logprobs_of(const float *logits, int vocab_size, int count, struct engine_token *t);

/* Run a fixed prompt (or fixed rows) with and without the delta and compare; blocks the caller, not the
 * engine. Error "adapter_not_finite" when a logit of the adapted model is not finite. */
struct engine_proof {
    double max_change, mean_change;
};
int engine_probe(struct engine *g, uint32_t tenant, struct delta *d, struct engine_proof *out, struct err *e);

/* The likeliest tokens behind a prompt, up to an end token (which is not among them), the end of the context
 * or ENGINE_SAMPLE_TOKENS; blocks as engine_probe. Language models only. Errors: those of engine_submit. */
enum { ENGINE_SAMPLE_TOKENS = 32 };
struct engine_sample {
    int32_t tokens[ENGINE_SAMPLE_TOKENS];
    int count;
};
int engine_sample(struct engine *g, uint32_t tenant, struct delta *d, const int32_t *tokens, size_t count,
                  struct engine_sample *out, struct err *e);

/* What is asked of the engine, and what it says of itself. Plain data. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/histogram.h"
#include "core/engine/sampling.h"

struct delta;
struct err;
struct gate;

enum { ENGINE_WEIGHT_DEFAULT = 100, ENGINE_WEIGHT_MAX = 1000 };

/* Of which prompt tokens the caller wants what stands behind the final norm. */
enum engine_states { ENGINE_STATES_NONE, ENGINE_STATES_LAST, ENGINE_STATES_ALL };

enum engine_finish { ENGINE_STOP, ENGINE_LENGTH, ENGINE_CANCELLED, ENGINE_FAILED };

struct engine_done {
    enum engine_finish finish;
    double queue_ms, prefill_ms, decode_ms;
    int cached_tokens; /* prompt tokens that were not computed again */
    const struct err
        *error; /* ENGINE_FAILED: what the constraint said, until on_done returns; NULL: out of memory */
};

struct engine_request {
    uint32_t tenant;       /* for fairness; the engine knows no names */
    int weight;            /* of the tenant's share, 1..ENGINE_WEIGHT_MAX; 0: ENGINE_WEIGHT_DEFAULT */
    int extra_cost;        /* what was done for it before, in prompt tokens: loading its adapter */
    struct delta *delta;   /* the engine takes a reference of its own; NULL: bare base */
    const int32_t *tokens; /* [token_count], copied */
    size_t token_count;
    bool follows; /* the prompt is that of the request before it in the list: see engine_submit_all */
    /* [SHA256_BYTES] separates prefix caches: derived from tenant, adapter version and base; copied. NULL: no
     * use of the prefix cache. */
    const uint8_t *cache_root;
    const float *input; /* numeric models: [input_rows, input_size], copied */
    size_t input_rows;
    struct sampling sampling;
    /* Each new token; false ends the run there with ENGINE_STOP (a stop string). The end token that stops a
     * run is not reported. May be NULL when max_tokens is 0. */
    bool (*on_token)(void *arg, const struct engine_token *t);
    /* Optional: logits [delta_vocab] after each prompt token in order, or each output row of a numeric
     * model. */
    void (*on_logits)(void *arg, size_t row, const float *logits);
    /* Language models, with max_tokens 0: no logits are computed but, for each of these tokens in order, what
     * stands behind the final norm, [hidden_size]. The prefix cache is of use for the last one alone. */
    enum engine_states states;
    void (*on_state)(void *arg, size_t row, const float *state); /* may be NULL */
    float *scores; /* and what delta_head says of that: [these tokens, labels], written until on_done; NULL:
                    * not wanted */
    void (*on_done)(void *arg, const struct engine_done *d); /* exactly once, last */
    void *arg;
    const char *name; /* of what it runs for, for engine_names; the caller's until on_done; NULL: none */
};

struct engine_options {
    int threads; /* 0: as many as the process may use */
    size_t kv_bytes;
    int sequences_max;     /* running at the same time */
    int queue_max;         /* waiting, all tenants together */
    int queue_tenant_max;  /* waiting, one tenant */
    int step_tokens;       /* tokens of one step at most; 0: default */
    int chunk_tokens;      /* prompt tokens of one sequence in one step at most; 0: default */
    bool share_all;        /* all threads compute small steps, too: for tests */
    struct gate *gate;     /* shut while a step computes; borrowed. NULL: nobody trains */
    double training_share; /* of the time, for who waits before the gate; 0 to less than 1 */
    bool drafts;           /* guess tokens that copy the text, and check several in one step */
};

struct engine_stats {
    int running, waiting;
    int kv_pages, kv_pages_free;
    int kv_pages_held;   /* by sequences that run */
    int kv_pages_cached; /* held by the prefix cache; given up when a sequence needs them */
    int context_length;  /* tokens that one sequence may have: the model's limit, or what the KV budget holds
                          */
    int threads;
    uint64_t steps, tokens_prefill, tokens_decode, tokens_cached;
    uint64_t tokens_drafted, tokens_draft_accepted; /* guessed, and right; these are among tokens_decode */
    uint64_t preemptions; /* sequences that gave their place to another tenant's, and went on later */
};

/* Of every step. The engine thread adds; any thread may read, as long as the engine is there. */
struct engine_times {
    struct histogram step_us;                     /* histogram_times; the forward pass */
    struct histogram step_tokens, step_sequences; /* histogram_counts */
};

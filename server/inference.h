/* One inference from its body to its answer: parse -> resolve -> tokenize -> lease -> submit -> stream or
 * reply. inference.c is the whole way; inference_parse.c reads the body, inference_lease.c gets the adapters,
 * inference_answer.c writes the answer.
 *
 * The struct is the request's task. HTTP and job threads own it until the engine has it; from then on what
 * the engine writes is under the request's lock. */
#pragma once
#include <jansson.h>

#include "adapters/registry.h"
#include "core/engine/engine.h"
#include "server/output.h"
#include "server/request.h"

enum {
    INFERENCE_MAX_TOKENS_DEFAULT = 128,
    INFERENCE_MAX_TOKENS_MAX = 1 << 20, /* a run ends with "length" where the context ends, too */
    INFERENCE_TOP_K_MAX = 1000000,
    INFERENCE_TEMPERATURE_MAX = 100,
    INFERENCE_ROWS_MAX = 4096,
    INFERENCE_MESSAGES_MAX = 4096,
    INFERENCE_REFERENCE_MAX = 144, /* name@sha256:digits */
    INFERENCE_AFFINITY_MAX = 256,
    INFERENCE_ADAPTERS_MAX = 8, /* in one request */
    INFERENCE_SCALE_MAX = 100   /* of an adapter in a list, either sign */
};

/* One adapter of a request. */
struct inference_part {
    char reference[INFERENCE_REFERENCE_MAX + 1]; /* what was asked for */
    double scale;
    const struct version *version; /* owned reference */
    struct delta *delta;           /* owned reference, once leased */
};

struct inference {
    struct request *r; /* not referenced: it owns this */

    /* What was asked for. */
    struct tenant_row tenant;
    struct inference_part parts[INFERENCE_ADAPTERS_MAX];
    char affinity[INFERENCE_AFFINITY_MAX]; /* not terminated */
    size_t affinity_length;                /* 0: none */
    int part_count;                        /* 0: the bare base */
    bool listed;                           /* "adapter" was a list: scales count, and the answer has a list */
    bool stream, prompt_logprobs;
    struct sampling sampling;
    struct stops stops;
    struct token_list tokens;
    float *rows; /* numeric models: [row_count, input_size]; owned */
    size_t row_count;

    /* Of the lease; whoever carries it on. */
    int leased;
    struct delta *combined; /* owned reference; NULL: none */
    size_t charged_bytes;
    double lease_began_ms, load_ms;
    int load_cost; /* of adapters that were cold, in prompt tokens */
    void (*ready)(struct inference *q, struct delta *delta, const struct err *e);

    uint64_t token_us; /* when the last one came; 0: none yet; engine thread */

    /* Under the request's lock once submitted. */
    bool submitted, done, failed;
    bool streaming; /* the stream's head is out: wake its reader for news */
    uint64_t engine_id;
    struct engine_done result;
    struct err error; /* when failed */
    struct output output;
    float *prompt_logprob; /* [tokens.count]; the first is not set; owned */
    float *numeric;        /* [row_count, vocab_size]; owned */

    /* Of the stream; HTTP thread. */
    size_t sent_text, sent_tokens;
    struct buf event;
    size_t event_sent;
    enum { STREAM_TOKENS, STREAM_LAST, STREAM_END } stage;
};

/* Fills what was asked for, tokens included. Any 400 code of the API, "tenant_not_found", "forbidden". */
int inference_parse(struct inference *q, const char *body, size_t length, struct err *e);

/* Find the versions. Errors of registry_resolve. */
int inference_resolve(struct inference *q, struct err *e);
/* Calls `ready` exactly once, on this or another thread: with the delta (NULL: bare base; q owns it), or with
 * the error: those of cache_lease and delta_combine, "loader_busy", "overloaded". */
void inference_lease(struct inference *q,
                     void (*ready)(struct inference *q, struct delta *delta, const struct err *e));
/* The engine has what it needs: adapters may go when it is done, however slowly the answer is read. */
void inference_lease_release(struct inference *q);
void inference_lease_fini(struct inference *q);

/* The whole answer, or NULL when memory ran out. The run is done. */
json_t *inference_answer(const struct inference *q);
/* Append one event to q->event. With the request's lock held. -1: memory ran out. */
int inference_answer_event(struct inference *q);      /* what may be shown and was not yet */
int inference_answer_last_event(struct inference *q); /* the end of the run, or its error */

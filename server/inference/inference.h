/* One inference from its body to its answer: parse -> resolve -> tokenize -> lease -> submit -> stream or
 * reply. inference_run.c is the whole way, inference_routes.c its beginnings; inference_lease.c gets the
 * adapters. How bodies and answers look is the request's form: that of POST /infer is in inference_parse.c
 * and inference_answer.c, those of OpenAI's routes are in openai_parse.c and openai_answer.c.
 *
 * The struct is the request's task. HTTP and job threads own it until the engine has it; from then on what
 * the engine writes is under the request's lock. */
#pragma once
#include <jansson.h>

#include "adapters/registry/registry.h"
#include "core/engine/engine.h"
#include "server/inference/output.h"
#include "server/http/request.h"

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

struct inference;

/* What the routes that run the model do not have in common. */
struct inference_dialect {
    /* Fill what was asked for, tokens included; `body` may be changed. Any 400 code of the API,
     * "tenant_not_found", "forbidden". */
    int (*parse)(struct inference *q, json_t *body, struct err *e);
    /* Find the versions. Errors of registry_resolve. */
    int (*resolve)(struct inference *q, struct err *e);
    /* The whole answer of a run that is done and did not fail. */
    int (*answer)(const struct inference *q, json_t **out, struct err *e);
    /* Append to q->event, with the request's lock held: what may be shown and was not yet; the end of the
     * run, or its error. -1: memory ran out. */
    int (*event)(struct inference *q);
    int (*last_event)(struct inference *q);
};

struct inference {
    struct request *r; /* not referenced: it owns this */
    const struct inference_dialect *form;

    /* What was asked for. */
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
    float *prompt_logprob;           /* [tokens.count]; the first is not set; owned */
    struct engine_token *prompt_top; /* the same with the likeliest ones, where a prompt is echoed */
    float *numeric;                  /* [row_count, vocab_size]; owned */

    /* Of the stream; HTTP thread. */
    bool text_only; /* tokens are not in the events: they alone are no news */
    size_t sent_text, sent_tokens;
    struct buf event;
    size_t event_sent;
    enum { STREAM_TOKENS, STREAM_LAST, STREAM_END } stage;

    struct {               /* of OpenAI's routes */
        bool named;        /* the body has a model, which may be the base */
        bool echo;         /* the answer begins with the prompt */
        bool echo_special; /* and special tokens are a part of its text */
        struct buf prompt; /* that text; owned */
        bool usage_wanted; /* as an event of its own */
        bool begun;        /* the first event is out */
        int64_t created_s; /* since 1970 */
        size_t offset[2];  /* of the last token in the answer's text: bytes, characters */
    } openai;
};

/* ---- the form of POST /infer ---- */
int inference_parse(struct inference *q, json_t *body, struct err *e);
int inference_resolve(struct inference *q, struct err *e);
int inference_answer(const struct inference *q, json_t **out, struct err *e);
int inference_answer_event(struct inference *q);
int inference_answer_last_event(struct inference *q);

/* ---- what the forms share; each of the parsers fills its part of `q` ---- */

/* temperature, top_p, top_k, min_p, seed, max_tokens, stop, ignore_eos, stream; no log-probabilities. */
int inference_parse_sampling(struct inference *q, const json_t *body, int64_t max_tokens, double temperature,
                             struct err *e);
/* One adapter more, by its name; there is room for it. "adapter_not_found" */
int inference_parse_reference(struct inference *q, const char *name, size_t length, double scale,
                              struct err *e);
int inference_parse_prompt(struct inference *q, const json_t *value, struct err *e);
int inference_parse_messages(struct inference *q, const json_t *list, struct err *e);
/* New references; NULL when memory ran out. */
json_t *inference_answer_token_text(const struct inference *q, int32_t token);
json_t *inference_answer_number(double value); /* null for what JSON cannot say */
/* Append `data`, which is taken over, to q->event. -1: memory ran out. */
int inference_answer_add_event(struct inference *q, json_t *data);

/* ---- the routes ---- */
void inference_free(void *inference); /* with all that it owns; a request's task_free */
/* From the body to the answer. */
void inference_run(struct request *r, const struct inference_dialect *dialect);
void inference_handle(struct request *r);
void inference_handle_completions(struct request *r);
void inference_handle_chat(struct request *r);

/* ---- the adapters ---- */
int inference_resolve(struct inference *q, struct err *e);
/* Calls `ready` exactly once, on this or another thread: with the delta (NULL: bare base; q owns it), or with
 * the error: those of cache_lease and delta_combine, "loader_busy", "overloaded". */
void inference_lease(struct inference *q,
                     void (*ready)(struct inference *q, struct delta *delta, const struct err *e));
/* The engine has what it needs: adapters may go when it is done, however slowly the answer is read. */
void inference_lease_release(struct inference *q);
void inference_lease_fini(struct inference *q);

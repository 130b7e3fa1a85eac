/* One inference from its body to its answer: parse -> resolve -> tokenize -> lease -> submit -> stream or
 * reply. inference.c is the whole way; inference_parse.c reads the body, inference_answer.c writes the
 * answer.
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
    INFERENCE_REFERENCE_MAX = 144 /* name@sha256:digits */
};

struct inference {
    struct request *r; /* not referenced: it owns this */

    /* What was asked for. */
    struct tenant_row tenant;
    char reference[INFERENCE_REFERENCE_MAX + 1]; /* adapter; "": the bare base */
    bool stream, prompt_logprobs;
    struct sampling sampling;
    struct stops stops;
    struct token_list tokens;
    float *rows; /* numeric models: [row_count, input_size]; owned */
    size_t row_count;

    const struct version *version; /* owned reference; NULL: the bare base */
    double lease_began_ms, load_ms;

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

/* The whole answer, or NULL when memory ran out. The run is done. */
json_t *inference_answer(const struct inference *q);
/* Append one event to q->event. With the request's lock held. -1: memory ran out. */
int inference_answer_event(struct inference *q);      /* what may be shown and was not yet */
int inference_answer_last_event(struct inference *q); /* the end of the run, or its error */

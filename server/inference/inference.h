/* One inference from its body to its answer: parse -> resolve -> tokenize -> lease -> submit -> stream or
 * reply. inference_run.c is the whole way, inference_choices.c the runs of the model under way,
 * inference_routes.c its beginnings; inference_lease.c gets the adapters. How bodies and answers look is the
 * request's dialect: that of POST /infer is in inference_parse.c and inference_answer.c, those of OpenAI's
 * routes are in server/openai. inference_sampling.c and inference_prompt.c read what the
 * bodies have in common.
 *
 * The struct is the request's task. HTTP and job threads own it until the engine has it; from then on what
 * the engine writes is under the request's lock. */
#pragma once
#include <jansson.h>

#include "adapters/registry/registry.h"
#include "core/dialogue/answer_reader.h"
#include "core/engine/engine.h"
#include "server/admission/ability.h"
#include "server/http/request.h"
#include "server/inference/output.h"
#include "server/structured/grammars.h"

enum {
    INFERENCE_MAX_TOKENS_DEFAULT = 128,
    INFERENCE_MAX_TOKENS_MAX = 1 << 20, /* a run ends with "length" where the context ends, too */
    INFERENCE_TOP_K_MAX = 1000000,
    INFERENCE_TEMPERATURE_MAX = 100,
    INFERENCE_ROWS_MAX = 4096,
    INFERENCE_MESSAGES_MAX = 4096,
    INFERENCE_PENALTY_MAX = 2, /* of frequency and presence, either sign */
    INFERENCE_REPETITION_MAX = 100,
    INFERENCE_BIAS_MAX = 100, /* either sign */
    INFERENCE_BAD_WORDS_MAX = SAMPLING_BANS_MAX / 2,
    INFERENCE_BAD_WORD_MAX = 256,              /* bytes */
    INFERENCE_CHOICES_MAX = 128,               /* answers of one request, all prompts together */
    INFERENCE_AT_ONCE = INFERENCE_CHOICES_MAX, /* runs of one request that the engine has at a time */
    INFERENCE_REFERENCE_MAX = 144,             /* name@sha256:digits */
    INFERENCE_AFFINITY_MAX = 256,
    INFERENCE_ADAPTERS_MAX = 8, /* in one request */
    INFERENCE_SCALE_MAX = 100   /* of an adapter in a list, either sign */
};

/* JSON clients keep integers up to here; all bits are set. */
#define INFERENCE_SEED_MAX ((INT64_C(1) << 53) - 1)

/* One adapter of a request. */
struct inference_part {
    char reference[INFERENCE_REFERENCE_MAX + 1]; /* what was asked for */
    double scale;
    const struct version *version; /* owned reference */
    struct delta *delta;           /* owned reference, once leased */
};

struct inference;

/* What the model goes on with, and what was expected of it. */
struct inference_prompt {
    struct token_list tokens;
    float *logprob;           /* [tokens.count]; the first is not set; owned; NULL: not wanted */
    struct engine_token *top; /* the same with the likeliest ones, where the prompt is echoed */
    struct buf text;          /* what is echoed of it; owned */
    bool text_special;        /* special tokens are a part of that text */
};

/* One answer: a run of the model. Under the request's lock once submitted, but for what is the HTTP
 * thread's. */
struct inference_choice {
    struct inference *q;
    struct inference_prompt *prompt;
    int index;
    uint64_t seed;
    uint64_t engine_id;
    uint64_t token_us; /* when the last token came; 0: none yet; engine thread */
    bool done, failed;
    struct engine_done result;
    struct err error; /* when failed */
    struct output output;

    size_t sent_text, sent_tokens; /* of the stream; HTTP thread, as what follows */
    size_t offset[2];              /* of the last token in the answer's text: bytes, characters */
    bool begun, ended;             /* its first event is out, its last one is */
    /* Where the dialect takes answers apart: the text up to sent_text, and what was told of it. */
    struct answer_reader reader;
    struct {
        size_t thoughts, words; /* bytes */
        int calls;
        size_t arguments; /* of the last call; bytes */
    } told;
};

/* What the routes that run the model do not have in common. */
struct inference_dialect {
    /* Fill what was asked for, prompts included; `body` may be changed. Any 400 code of the API,
     * "tenant_not_found", "forbidden". */
    int (*parse)(struct inference *q, json_t *body, struct err *e);
    /* Find the versions. Errors of registry_resolve. */
    int (*resolve)(struct inference *q, struct err *e);
    /* The whole answer of runs that are done and did not fail. */
    int (*answer)(struct inference *q, json_t **out, struct err *e);
    /* Append to q->event, with the request's lock held: what of a choice may be shown and was not yet, and
     * that this was all of it; the end of the answer, or its error. -1: memory ran out. */
    int (*event)(struct inference *q, struct inference_choice *c, bool last);
    int (*last_event)(struct inference *q);
    /* The same before there is anything to say; NULL: nothing. Without the lock: nobody reads yet. */
    int (*first_event)(struct inference *q);
    /* Say an error in this dialect; NULL: as it is. */
    void (*translate)(const struct inference *q, struct err *e);

    /* Where the answer is no text: NULL elsewhere. Room for what the runs give; what is wanted of one of
     * them; the answer as JSON, on a thread for text, in the place of `answer`. */
    int (*prepare)(struct inference *q, struct err *e);
    void (*ask)(const struct inference_choice *c, struct engine_request *r);
    int (*write)(const struct inference *q, struct buf *out, struct err *e);
    enum ability ability; /* what is asked of the base and its adapters */
};

struct inference {
    struct request *r; /* not referenced: it owns this */
    const struct inference_dialect *dialect;

    /* What was asked for. */
    struct inference_part parts[INFERENCE_ADAPTERS_MAX];
    char affinity[INFERENCE_AFFINITY_MAX]; /* not terminated */
    size_t affinity_length;                /* 0: none */
    int part_count;                        /* 0: the bare base */
    bool listed;                           /* "adapter" was a list: scales count, and the answer has a list */
    bool stream, prompt_logprobs, show_special;
    bool fill_context;        /* no length was asked for: prompt and answer may fill the context together */
    struct sampling sampling; /* what it points to is here */
    struct sampling_bias *biases; /* owned */
    struct sampling_ban *bans;    /* owned */
    struct token_list ban_tokens;
    int32_t stop_tokens[SAMPLING_STOP_TOKENS_MAX];
    struct settings *settings; /* owned reference: the adapter's own; NULL: it has none */
    struct stops stops;
    bool stops_special;               /* some have special tokens in them, beside other text */
    struct inference_prompt *prompts; /* owned, [prompt_count]; none for numeric models */
    int prompt_count;
    int choices_each; /* answers to each prompt */
    struct {          /* what the answer has to be */
        enum grammars_kind kind;
        json_t *value;       /* owned reference; NULL: the kind says all */
        const char *field;   /* that asked for it; static */
        struct guide *guide; /* owned reference, once compiled */
    } structure;
    struct {                     /* how answers are taken apart; only where the dialect does */
        struct answer_form form; /* its `arg` is here */
        json_t *tools;           /* owned: those that may be called */
        bool thoughts_over;      /* the prompt ends behind thoughts */
        int32_t marks[OUTPUT_MARKS_MAX];
        int mark_count; /* special tokens that are a part of the text for it */
    } reading;
    float *rows; /* numeric models: [row_count, input_size]; owned */
    size_t row_count;

    /* Of the lease; whoever carries it on. */
    int leased;
    struct delta *combined; /* owned reference; NULL: none */
    size_t charged_bytes;
    double lease_began_ms, load_ms;
    int load_cost; /* of adapters that were cold, in prompt tokens */
    void (*ready)(struct inference *q, struct delta *delta, const struct err *e);

    /* The base's, or of the one adapter that is meant: from inference_settle on. */
    const struct tokenizer *tokenizer; /* NULL: a model of numbers */
    int vocab_size;

    struct inference_choice *choices; /* owned, [choice_count]: for each prompt in order, one at least */
    int choice_count;
    struct delta *fed_delta; /* owned reference, until all are done; NULL: bare base */
    uint8_t fed_root[SHA256_BYTES];
    float *numeric; /* [row_count, vocab_size]; owned */

    /* Under the request's lock. */
    bool submitted;
    int fed;        /* choices that the engine was given */
    int running;    /* choices that are not done */
    bool streaming; /* the stream's head is out: wake its reader for news */

    /* Of the stream; HTTP thread. */
    bool text_only; /* tokens are not in the events: they alone are no news */
    int turn;       /* the choice to look at next */
    struct buf event;
    size_t event_sent;
    bool event_last; /* what is in it is the end */

    void *own; /* the dialect's; owned */
    void (*own_free)(void *own);
    size_t kept_bytes; /* of the body that are in it */

    struct {                   /* of OpenAI's routes */
        bool named;            /* the body has a model, which may be the base */
        bool echo;             /* the answer begins with the prompt */
        bool usage_wanted;     /* as an event of its own */
        bool logprobs_unasked; /* they are for the choice of the best alone */
        int kept;              /* answers to each prompt that are shown: the best */
        int64_t created_s;     /* since 1970 */
    } openai;
};

void inference_handle(struct request *r); /* the route POST /infer */

void inference_free(void *inference); /* with all that it owns; a request's task_free */
/* The whole way of a request in a dialect. */
void inference_run(struct request *r, const struct inference_dialect *dialect);

/* ---- the dialect of POST /infer ---- */
MUST_USE int inference_parse(struct inference *q, json_t *body, struct err *e);
MUST_USE int inference_answer(struct inference *q, json_t **out, struct err *e);
int inference_answer_event(struct inference *q, struct inference_choice *c, bool last);
int inference_answer_last_event(struct inference *q);

/* ---- what the dialects share; each of the parsers fills its part of `q` ---- */

/* What a body says nothing about. */
struct inference_defaults {
    int64_t max_tokens, top_k;
    double temperature, top_p, min_p, repetition_penalty;
};
/* temperature, top_p, top_k, min_p, seed, max_tokens, min_tokens, stop, stop_token_ids, the penalties,
 * logit_bias, bad_words, ignore_eos, skip_special_tokens, stream; no log-probabilities. */
MUST_USE int inference_parse_sampling(struct inference *q, const json_t *body,
                                      const struct inference_defaults *d, struct err *e);
/* tenant, adapter, affinity, and who that is: errors of inference_settle. */
MUST_USE int inference_parse_who(struct inference *q, const json_t *body, struct err *e);
/* bad_words: each as it is written and with a space before it. */
MUST_USE int inference_parse_bans(struct inference *q, const json_t *body, struct err *e);
/* One adapter more, by its name; there is room for it. "adapter_not_found" */
MUST_USE int inference_parse_reference(struct inference *q, const char *name, size_t length, double scale,
                                       struct err *e);
/* One prompt more: a text, with the special tokens that the tokenizer adds unless the body has
 * "add_special_tokens": false. */
MUST_USE int inference_parse_prompt(struct inference *q, const json_t *body, const json_t *text,
                                    struct err *e);
/* One prompt more, empty; NULL: out of memory. Pointers to the others end here. */
struct inference_prompt *inference_add_prompt(struct inference *q, struct err *e);
/* One prompt more: what the chat template makes of the body's "messages", with its chat_template_kwargs,
 * tools, documents, add_generation_prompt, continue_final_message, add_special_tokens. */
MUST_USE int inference_parse_messages(struct inference *q, json_t *body, struct err *e);
/* The chat template of the adapter, or else the base. */
const struct chat *inference_chat(const struct inference *q);
/* What the answer has to be: response_format, grammar, regex, choice. */
MUST_USE int inference_parse_structure(struct inference *q, const json_t *body, struct err *e);
/* The same by a field of another name; at most one of all. "field_conflict", "input_unsupported"; what is no
 * list of strings is "invalid_type". */
MUST_USE int inference_want(struct inference *q, const char *field, enum grammars_kind kind,
                            const json_t *value, struct err *e);
MUST_USE int inference_want_choice(struct inference *q, const char *field, const json_t *list, struct err *e);
/* New references; NULL when memory ran out. */
json_t *inference_answer_adapters(const struct inference *q);
json_t *inference_answer_token_text(const struct inference *q, int32_t token);
json_t *inference_answer_number(double value); /* null for what JSON cannot say */
/* Hexadecimal digits for the id of a part of an answer, which stands at `place` [count]: the same each time
 * it is asked for, and in no other answer. */
enum { INFERENCE_DIGITS = 64 };
void inference_answer_digits(const struct inference *q, const int *place, int count,
                             char out[INFERENCE_DIGITS + 1]);
/* Append `data`, which is taken over, to q->event. -1: memory ran out. */
int inference_answer_add_event(struct inference *q, json_t *data);

/* ---- the runs of the model ---- */

/* Room for all answers with this delta, of which a reference is kept until all are done; NULL: bare base. */
MUST_USE int inference_choices_prepare(struct inference *q, struct delta *delta, struct err *e);
/* Errors of engine_submit. Afterwards q->running goes to 0, and then one reference to the request is given
 * up. */
MUST_USE int inference_choices_submit(struct inference *q, struct err *e);
void inference_choices_cancel(struct inference *q);
/* They will not be submitted: as if they had been cancelled. */
void inference_choices_abandon(struct inference *q);
void inference_choices_fini(struct inference *q);
/* Is there anything that the stream may show of a choice and did not yet? */
bool inference_choice_has_news(const struct inference_choice *c);
/* The first that failed; NULL: none did. */
const struct inference_choice *inference_failed(const struct inference *q);
/* Tokens of all prompts; of all answers; of all prompts that did not have to be computed. */
int64_t inference_prompt_tokens(const struct inference *q);
int64_t inference_answer_tokens(const struct inference *q);
int64_t inference_cached_tokens(const struct inference *q);

/* ---- the grammar ---- */

/* Where one was asked for. Takes a while. Errors: those of grammars_compile, with the field. */
MUST_USE int inference_compile_structure(struct inference *q, struct err *e);
void inference_structure_fini(struct inference *q);

/* ---- the adapters ---- */
/* Find the versions; they, or else the base, can do what the dialect is about. Errors of registry_resolve,
 * ability_check. */
MUST_USE int inference_resolve(struct inference *q, struct err *e);
/* Once the body has said who is meant, before its messages and lengths are read: find the versions, by the
 * dialect's own `resolve`, and the settings of a single one. Errors also: those of settings_cache_get. */
MUST_USE int inference_settle(struct inference *q, struct err *e);
/* Calls `ready` exactly once, on this or another thread, with the grammar compiled: with the delta (NULL:
 * bare base; q owns it), or with the error: those of inference_compile_structure, cache_lease and
 * delta_combine, "loader_busy", "overloaded". */
void inference_lease(struct inference *q,
                     void (*ready)(struct inference *q, struct delta *delta, const struct err *e));
/* The engine has what it needs: adapters may go when it is done, however slowly the answer is read. */
void inference_lease_release(struct inference *q);
void inference_lease_fini(struct inference *q);

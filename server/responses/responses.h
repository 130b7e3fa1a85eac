/* POST /v1/responses: a dialect for inference_run.c, in which a chat is a list of items. responses_parse.c
 * and responses_items.c make a body into that of a chat, which server/openai reads; responses_output.c finds
 * the items in what is read of the answer, responses_object.c writes them as a whole, responses_events.c one
 * after the other. Nothing is stored: what would go on from an earlier response is refused by name. Threads:
 * those of inference.h. */
#pragma once
#include "server/openai/openai.h"

enum {
    RESPONSES_ID_MAX = 40,
    RESPONSES_METADATA_MAX = 16,
    RESPONSES_METADATA_NAME_MAX = 64,   /* bytes */
    RESPONSES_METADATA_VALUE_MAX = 2048 /* bytes: 512 characters of any kind */
};

/* The request's own. */
struct responses {
    struct buf head; /* what the answer repeats of the request: an object as text; owned */

    /* Of the stream; HTTP thread. */
    int sequence; /* events so far */
    int item;     /* the present one */
    bool open;    /* it was told that there is one */
    size_t told;  /* bytes of its text */
    size_t told_tokens;
};

void responses_handle(struct request *r); /* the route */

/* ---- the input ---- */

MUST_USE int responses_parse(struct inference *q, json_t *body, struct err *e); /* the dialect's */

/* A list of messages as chats have them: a new reference, NULL on an error. `instructions` may be NULL.
 * "invalid_type", "missing_field", "unsupported_value", "unknown_field", "out_of_range", of "input". */
json_t *responses_messages(json_t *input, json_t *instructions, struct err *e);

/* ---- what is found in an answer ---- */

enum responses_kind { RESPONSES_REASONING, RESPONSES_MESSAGE, RESPONSES_CALL };

/* One item of the output, in the order in which they were written. */
struct responses_item {
    enum responses_kind kind;
    int index;
    const struct buf *text; /* which of it is in `from` to `to` */
    size_t from, to;
    size_t begin, end;       /* tokens of a message's words */
    int call_index;          /* of the reader's calls */
    const struct call *call; /* NULL: it is none */
    bool whole;              /* it came to its end */
    bool ended;              /* nothing will come of it any more */
};
/* The item at `index`, as far as it is known; false: it is not there (yet). `last`: the answer is at its
 * end. */
bool responses_item_at(const struct inference_choice *c, int index, bool last, struct responses_item *out);

/* ---- what is written ---- */

/* Each of these: a new reference; NULL: memory ran out. The part of a message or of thoughts with its text:
 */
json_t *responses_part_json(const struct inference_choice *c, const struct responses_item *item);
/* `status` NULL: it has begun, and nothing of it is told. */
json_t *responses_item_json(const struct inference_choice *c, const struct responses_item *item,
                            const char *status);
/* Of the tokens from..to; none where none are wanted. */
json_t *responses_logprobs(const struct inference_choice *c, size_t from, size_t to);
json_t *responses_text_json(const struct buf *text, size_t from, size_t to);
void responses_item_id(const struct inference_choice *c, const struct responses_item *item,
                       char out[RESPONSES_ID_MAX + 1]);

/* How the answer stands: "in_progress", "completed", "incomplete", "failed"; `error` only where it failed. */
json_t *responses_object(const struct inference *q, const char *status, const struct err *error);
/* "completed", "incomplete" */
const char *responses_end(const struct inference_choice *c);
const char *responses_item_end(const struct inference_choice *c, const struct responses_item *item);

MUST_USE int responses_answer(struct inference *q, json_t **out, struct err *e);
int responses_first_event(struct inference *q);
int responses_event(struct inference *q, struct inference_choice *c, bool last);
int responses_last_event(struct inference *q);

/* Requests whose answer is numbers about texts instead of more text: vectors (embeddings.c), labels
 * (classify.c). Dialects of inference_run; what they have in common is here. Threads: those of inference.h;
 * answers are written on threads for text, since many numbers take a while. */
#pragma once
#include "core/base/buf.h"
#include "server/inference/inference.h"

enum {
    NUMBERS_INPUTS_MAX = 2048,   /* texts of one request, as OpenAI has it */
    NUMBERS_FLOATS_MAX = 4 << 20 /* of one answer */
};

void embeddings_handle(struct request *r); /* the route POST /v1/embeddings */
void classify_handle(struct request *r);   /* the route POST /classify */

/* ---- the texts ---- */

/* The field `name`: a text, a list of token ids, or a list of these; each becomes a prompt, for which no text
 * is generated. */
MUST_USE int numbers_parse_input(struct inference *q, const json_t *body, const char *name, struct err *e);
/* Each of them fits into the context, before the first is computed: "prompt_too_long", "prompt_empty". */
MUST_USE int numbers_check_lengths(const struct inference *q, const char *name, struct err *e);
/* Are all runs there to the end? "shutting_down" where the daemon was stopped before. */
MUST_USE int numbers_check_end(const struct inference *q, struct err *e);

/* ---- the answer; -1: memory ran out ---- */

/* A list of numbers, each so that it is read back as it was. */
int numbers_print(const float *x, size_t count, struct buf *out);
/* The same as base64 of little-endian floats, in quotes. */
int numbers_print_base64(const float *x, size_t count, struct buf *out);
int numbers_print_text(const char *text, struct buf *out); /* in quotes */
int numbers_print_json(json_t *value, struct buf *out);    /* which is taken over; NULL: memory ran out */
/* ,"model":...,"usage":{...} */
int numbers_print_end(const struct inference *q, struct buf *out);

/* What a run has produced so far: tokens, their text, and how much of both may be shown already. Text that
 * may begin a stop string is held back, so what is shown in pieces adds up to exactly what is shown at once.
 * Caller's storage; the caller's lock. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/engine/engine.h"
#include "core/tokenizer/detokenizer.h"
#include "core/tokenizer/tokenizer.h"
#include "server/inference/stops.h"

enum { OUTPUT_MARKS_MAX = 8 };

struct output_token {
    int32_t id;
    size_t begin;  /* length of the text before it */
    size_t search; /* and of what is searched for stop strings */
};

struct output_options {
    const struct stops *stops; /* borrowed; NULL: none */
    int least_tokens;          /* no stop string ends the text before that many */
    bool continued;            /* the prompt ended in ordinary text: a first word keeps its leading space */
    bool show_special;         /* special tokens are a part of the text */
    bool find_special;         /* they are not, but stop strings have some in them */
    bool want_logprobs;
    const int32_t *marks; /* [mark_count] special tokens that are a part of the text all the same; borrowed */
    int mark_count;
};

struct output {
    struct output_options options;
    struct detokenizer detokenizer;
    struct buf text;    /* whole characters only */
    struct buf special; /* the same with special tokens, where they are to be found */
    struct detokenizer special_detokenizer;
    struct output_token *tokens;   /* owned */
    struct engine_token *logprobs; /* owned; NULL unless asked for; as many as tokens */
    size_t token_count, token_capacity;
    size_t text_ready, tokens_ready; /* may be shown */
    size_t searched;                 /* what is searched holds no stop string before this */
    bool cut;                        /* a stop string was found, text and tokens end before it */
};

/* `t` NULL: for tests of output_append. */
void output_init(struct output *o, const struct tokenizer *t, const struct output_options *options);
/* One more token. *more is false when a stop string was found. */
MUST_USE int output_push(struct output *o, const struct engine_token *t, bool *more, struct err *e);
/* The run is over: everything that is not cut may be shown. */
MUST_USE int output_finish(struct output *o, struct err *e);
void output_fini(struct output *o);

/* output_push for tests: the `length` bytes of text that token `t` adds are given, no tokenizer is asked. */
MUST_USE int output_append(struct output *o, const struct engine_token *t, const char *text, size_t length,
                           struct err *e);

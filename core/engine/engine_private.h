/* What the engine's files share: engine.c (the way in, life), sequence.c (a request as the engine keeps it),
 * engine_loop.c (the engine thread). */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "core/draft/worth.h"
#include "core/engine/engine_types.h"
#include "core/engine/lending.h"
#include "core/engine/sampler.h"
#include "core/engine/scheduler.h"
#include "core/forward/forward.h"
#include "core/model/model.h"

/* Rows of logits in a step, beside one for each sequence: of prompts whose rows are all wanted, and of
 * guesses. */
enum { ENGINE_ROWS_MORE = 64 };

struct sequence {
    struct schedulable s; /* first: the scheduler's pointer is ours */
    uint64_t id;
    struct engine_request request; /* tokens, input, biases and delta are owned */
    struct sampler sampler;
    int32_t *ends; /* owned, [end_count]: the tokens that end it */
    int end_count;
    int prompt_tokens; /* as submitted */
    int new_tokens, new_tokens_max;
    int labels;        /* of each row of its scores */
    int vocab;         /* tokens that there are with its delta */
    int rows_given;    /* to on_logits or on_state */
    bool stretched;    /* it is so long that it rotates in another way (model_info) */
    int cached_tokens; /* when it was admitted first */
    struct draft draft;
    enum draft_kind draft_kind; /* of the guess in the step in hand */
    int guessed;                /* tokens of it, behind those that are known */
    struct worth_trust trust;
    double copies; /* right guesses a step, of late */
    uint64_t submitted_us, admitted_us, prefilled_us;
    atomic_bool cancelled;
    bool taken;                                /* the engine thread's own: the scheduler knows it */
    bool admitted;                             /* under the lock */
    LIST_ENTRY(sequence) live;                 /* under the lock */
    STAILQ_ENTRY(sequence) submitted;          /* under the lock until it is taken */
    struct sequence *follows;                  /* whose prompt it has; NULL once that one is computed */
    TAILQ_HEAD(followers, sequence) followers; /* that wait for this one's prompt */
    TAILQ_ENTRY(sequence) follower;
};

struct engine {
    const struct model *model;
    const struct model_info *info;
    struct engine_options options;
    struct pool *pool;
    struct kvcache *kv;
    struct prefix *prefix;
    struct forward *forward;
    pthread_t thread;
    bool started;

    pthread_mutex_t lock; /* for what follows */
    pthread_cond_t wake;
    LIST_HEAD(, sequence) live;                 /* every sequence until its on_done */
    STAILQ_HEAD(submitted, sequence) submitted; /* not yet seen by the engine thread */
    bool cancel_pending, stopping;
    uint64_t next_id;
    struct engine_stats stats;

    struct engine_times times;

    /* the engine thread's own */
    float *logits; /* [vocab_size + DELTA_TOKENS_MAX] of one row */
    struct scheduler scheduler;
    struct sequence **order; /* [sequences_max] running ones sorted by delta */
    int32_t *token, *position, *length;
    float *input;
    struct kv_sequence **kv_of;
    const struct delta **delta_of;
    uint8_t *want, *want_state;
    float **scores; /* where those of a token go */
    struct sampler_scratch scratch;
    double token_us; /* what a prompt token costs */
    struct lending lending;
    struct worth_cost step_cost;
};

/* A copy of what belongs to the caller, checked. Errors: those of engine_submit about the request. */
MUST_USE int sequence_new(const struct engine *g, const struct engine_request *r, struct sequence **out,
                          struct err *e);
void sequence_free(struct sequence *q); /* NULL is fine */
/* Tokens that its rotation sees it have at the token that stands at `place`. */
int sequence_length(const struct engine *g, const struct sequence *q, int place);
/* Has it grown so that all its tokens rotate in another way? */
bool sequence_outgrows(const struct engine *g, const struct sequence *q);
/* It has, and begins again: its pages are others from now on. */
void sequence_stretch(const struct engine *g, struct sequence *q);

/* ---- engine_drafts.c, for the engine thread ---- */

/* Put guesses behind the tokens of `order[0..count)`, which all decode, as far as they pay, and plan them;
 * how many tokens. `room`: of the step. */
int engine_draft(struct engine *g, int count, int room);
/* The step brought `right` tokens of the guess, and is done with it. */
void engine_draft_learn(struct sequence *q, int right);

void *engine_main(void *engine); /* the engine thread, until `stopping` */

/* Who runs, and with how many tokens, in the next step. Pure bookkeeping over its own lists and the KV pages:
 * no threads, no clock, no model. Owned by the engine thread.
 *
 *   scheduler_add -> waiting (one queue per tenant) -> scheduler_admit -> running -> scheduler_remove
 *
 * Admission is round robin over tenants. A sequence reserves the pages for its whole possible length when it
 * is admitted, so that a running one never waits for memory; the next in turn waits, and nobody overtakes it,
 * until they are there. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/engine/prefix.h"

struct schedulable { /* embedded in a sequence; zero-initialize, then fill in the first group */
    uint32_t tenant;
    int prompt_tokens;
    int reserve_tokens;        /* KV positions it may use in all; 0: none */
    bool wants_all_logits;     /* of the prompt: takes part of the scarce logit rows */
    int computed;              /* tokens in the KV cache so far; the engine counts on */
    const int32_t *tokens;     /* of the prompt, where its pages may be shared; otherwise NULL */
    struct prefix_chain chain; /* starts at the root; how far the pages are in the prefix cache */
    int shared_tokens;         /* of `computed`, those found in the prefix cache */
    struct kv_sequence kv;
    int planned;                         /* tokens in the coming step, from scheduler_plan */
    struct schedulable *next, *previous; /* in the list it is in */
    bool waiting, running;               /* neither: the scheduler does not know it */
};

struct scheduler_limits {
    int sequences_max; /* running */
    int step_tokens;   /* in one step; at least sequences_max */
    int chunk_tokens;  /* of one prompt in one step */
    int logit_rows;    /* in one step; more than sequences_max */
};

struct tenant_queue;
struct scheduler {
    struct scheduler_limits limits;
    struct kvcache *kv;               /* NULL: no sequence reserves pages */
    struct prefix *prefix;            /* NULL: no pages are shared */
    struct tenant_queue *turn;        /* ring of tenants with waiting sequences; the next to admit from */
    struct schedulable *first, *last; /* running, in order of admission */
    int running, waiting;
};

void scheduler_init(struct scheduler *s, const struct scheduler_limits *limits, struct kvcache *kv,
                    struct prefix *prefix);
/* 0, or -1: out of memory. */
int scheduler_add(struct scheduler *s, struct schedulable *q);
/* Admit the next in turn; NULL when nobody waits or the next one does not fit now. */
struct schedulable *scheduler_admit(struct scheduler *s);
/* Take a sequence out, waiting or running, and give its pages back; one that is not in is fine. */
void scheduler_remove(struct scheduler *s, struct schedulable *q);
/* Set `planned` of all running sequences; returns the sum. Decodes come first. Prompts share what is left
 * evenly, so that a long one does not hold up a short one; where there are decodes, at most `prefill_tokens`
 * go with them, so that nobody's stream stalls. */
int scheduler_plan(struct scheduler *s, int prefill_tokens);
void scheduler_fini(struct scheduler *s); /* all sequences were removed before */

/* Who runs, and with how many tokens, in the next step. Pure bookkeeping over its own lists and the KV pages:
 * no threads, no clock, no model. Owned by the engine thread.
 *
 *   scheduler_add -> waiting (one queue per tenant) -> scheduler_admit -> running -> scheduler_remove
 *                       ^------------------- scheduler_put_back ---------------'
 *
 * Tenants share by counters (Sheng et al., "Fairness in Serving Large Language Models", OSDI 2024): each has
 * one of what was done for it, divided by its weight, and whoever has the least is next - for a place among
 * the running, and for prompt tokens in a step. Adapters do not enter. A counter moves only for work, so a
 * tenant alone gets everything; one that had nothing waiting starts level with those that have, so idling
 * earns nothing.
 *
 * A sequence reserves the pages for its whole possible length when it is admitted, so that a running one
 * never waits for memory; the next in turn waits, and nobody overtakes it, until they are there. One that
 * holds more than its share of the places gives one up to a tenant that waits (scheduler_overserved): what
 * was computed is computed again later, with the same bits. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "core/kv/prefix.h"

/* What is charged: prompt tokens as computed (found in the prefix cache: nothing), a decode token more, since
 * a step that computes one reads all weights as well; each admission, so that requests are never free; and
 * what the caller says was done before (a cold load). What is computed again after scheduler_put_back was
 * paid. */
enum { SCHEDULER_PREFILL_COST = 1, SCHEDULER_DECODE_COST = 2, SCHEDULER_ADMISSION_COST = 1 };

struct account; /* of a tenant */

struct schedulable { /* embedded in a sequence; zero-initialize, then fill in the first group */
    uint32_t tenant;
    int weight;                /* of the tenant, at least 1 */
    int extra_cost;            /* charged when it is admitted, in prompt tokens */
    int prompt_tokens;         /* known before the next is sampled; more after scheduler_put_back */
    int reserve_tokens;        /* KV positions it may use in all; 0: none */
    bool wants_all_logits;     /* of the prompt: takes part of the scarce logit rows */
    int computed;              /* tokens in the KV cache that count; the engine counts on */
    const int32_t *tokens;     /* of the prompt, where its pages may be shared; otherwise NULL */
    struct prefix_chain root;  /* of its prompt */
    struct prefix_chain chain; /* how far its pages are in the prefix cache; the scheduler starts it */
    int shared_tokens;         /* of `computed`, those found in the prefix cache */
    struct kv_sequence kv;
    int planned;                   /* tokens in the coming step, from scheduler_plan */
    int paid;                      /* tokens charged so far */
    struct account *account;       /* while it is in */
    TAILQ_ENTRY(schedulable) link; /* in the list it is in */
    bool waiting, running;         /* neither: the scheduler does not know it */
};

struct scheduler_limits {
    int sequences_max; /* running */
    int step_tokens;   /* in one step; at least sequences_max */
    int chunk_tokens;  /* of one prompt in one step */
    int logit_rows;    /* in one step; more than sequences_max */
};

TAILQ_HEAD(schedulables, schedulable);

struct scheduler {
    struct scheduler_limits limits;
    struct kvcache *kv;             /* NULL: no sequence reserves pages */
    struct prefix *prefix;          /* NULL: no pages are shared */
    TAILQ_HEAD(, account) accounts; /* owned: tenants that are in, and those that are ahead of them */
    struct schedulables admitted;   /* running, in order of admission */
    int running, waiting;
};

void scheduler_init(struct scheduler *s, const struct scheduler_limits *limits, struct kvcache *kv,
                    struct prefix *prefix);
/* 0, or -1: out of memory. */
MUST_USE int scheduler_add(struct scheduler *s, struct schedulable *q);
/* Admit the next in turn; NULL when nobody waits or the next one does not fit now. */
struct schedulable *scheduler_admit(struct scheduler *s);
/* The next in turn does not fit: the newest running sequence of the tenant with the most places per weight,
 * if that one keeps no fewer than the other would have and is not behind in what it got (a tenant's first
 * place counts more than weights); otherwise NULL. The caller saves of it what it wants, sets `prompt_tokens`
 * to all tokens known, puts it back, and tries again to admit. */
struct schedulable *scheduler_overserved(const struct scheduler *s);
/* From running to the front of its tenant's queue, its pages given back. */
void scheduler_put_back(struct scheduler *s, struct schedulable *q);
/* Take a sequence out, waiting or running, and give its pages back; one that is not in is fine. */
void scheduler_remove(struct scheduler *s, struct schedulable *q);
/* Set `planned` of all running sequences and charge for it; returns the sum. Decodes come first. Prompts get
 * what is left by their tenants' counters; those of one tenant share evenly, so that a long one does not hold
 * up a short one. Where there are decodes, at most `prefill_tokens` go with them, so that nobody's stream
 * stalls. */
int scheduler_plan(struct scheduler *s, int prefill_tokens);
/* `tokens` more in the coming step of a sequence that decodes, whose right to be there is not sure: charged
 * as those of a prompt. */
void scheduler_draft(struct schedulable *q, int tokens);
void scheduler_fini(struct scheduler *s); /* all sequences were removed before */

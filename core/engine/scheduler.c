#include "core/engine/scheduler.h"

#include <stdlib.h>

struct tenant_queue {
    uint32_t tenant;
    struct schedulable *first, *last;
    struct tenant_queue *next, *previous; /* ring */
};

void scheduler_init(struct scheduler *s, const struct scheduler_limits *limits, struct kvcache *kv)
{
    *s = (struct scheduler){.limits = *limits, .kv = kv};
}

void scheduler_fini(struct scheduler *s)
{
    *s = (struct scheduler){0};
}

static struct tenant_queue *find_queue(const struct scheduler *s, uint32_t tenant)
{
    struct tenant_queue *q = s->turn;
    do {
        if (q && q->tenant == tenant)
            return q;
    } while (q && (q = q->next) != s->turn);
    return NULL;
}

/* A new tenant comes last in the ring: just before the one whose turn it is. */
static struct tenant_queue *add_queue(struct scheduler *s, uint32_t tenant)
{
    struct tenant_queue *q = calloc(1, sizeof *q);
    if (!q)
        return NULL;
    q->tenant = tenant;
    q->next = s->turn ? s->turn : q;
    q->previous = s->turn ? s->turn->previous : q;
    q->next->previous = q;
    q->previous->next = q;
    if (!s->turn)
        s->turn = q;
    return q;
}

static void drop_queue(struct scheduler *s, struct tenant_queue *q)
{
    if (s->turn == q)
        s->turn = q->next == q ? NULL : q->next;
    q->next->previous = q->previous;
    q->previous->next = q->next;
    free(q);
}

static void append(struct schedulable **first, struct schedulable **last, struct schedulable *q)
{
    q->next = NULL;
    q->previous = *last;
    if (*last)
        (*last)->next = q;
    else
        *first = q;
    *last = q;
}

static void unlink_from(struct schedulable **first, struct schedulable **last, struct schedulable *q)
{
    if (q->previous)
        q->previous->next = q->next;
    else
        *first = q->next;
    if (q->next)
        q->next->previous = q->previous;
    else
        *last = q->previous;
    q->next = q->previous = NULL;
}

int scheduler_add(struct scheduler *s, struct schedulable *q)
{
    struct tenant_queue *queue = find_queue(s, q->tenant);
    if (!queue && !(queue = add_queue(s, q->tenant)))
        return -1;
    append(&queue->first, &queue->last, q);
    q->waiting = true;
    s->waiting++;
    return 0;
}

static void leave_queue(struct scheduler *s, struct tenant_queue *queue, struct schedulable *q)
{
    unlink_from(&queue->first, &queue->last, q);
    q->waiting = false;
    s->waiting--;
    if (!queue->first)
        drop_queue(s, queue);
}

struct schedulable *scheduler_admit(struct scheduler *s)
{
    struct tenant_queue *queue = s->turn;
    if (!queue || s->running >= s->limits.sequences_max)
        return NULL;
    struct schedulable *q = queue->first;
    if (q->reserve_tokens > 0 && !kvcache_reserve(s->kv, &q->kv, q->reserve_tokens))
        return NULL;
    s->turn = queue->next;
    leave_queue(s, queue, q);
    append(&s->first, &s->last, q);
    q->running = true;
    s->running++;
    return q;
}

void scheduler_remove(struct scheduler *s, struct schedulable *q)
{
    if (q->running) {
        unlink_from(&s->first, &s->last, q);
        q->running = false;
        s->running--;
    } else if (q->waiting) {
        leave_queue(s, find_queue(s, q->tenant), q);
    }
    if (s->kv)
        kvcache_release(s->kv, &q->kv);
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

int scheduler_plan(struct scheduler *s)
{
    int tokens = s->limits.step_tokens, rows = s->limits.logit_rows;
    for (struct schedulable *q = s->first; q; q = q->next) {
        bool decodes = q->computed >= q->prompt_tokens;
        q->planned = decodes ? 1 : 0;
        tokens -= q->planned;
        rows--; /* every sequence may want the logits of its last token */
    }
    for (struct schedulable *q = s->first; q; q = q->next) {
        if (q->planned > 0)
            continue;
        int count = least(least(q->prompt_tokens - q->computed, s->limits.chunk_tokens), tokens);
        if (q->wants_all_logits) {
            count = least(count, rows + 1);
            rows -= count - 1;
        }
        q->planned = count;
        tokens -= count;
    }
    return s->limits.step_tokens - tokens;
}

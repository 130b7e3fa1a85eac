#include "core/engine/scheduler.h"

#include <stdlib.h>

struct tenant_queue {
    uint32_t tenant;
    struct schedulable *first, *last;
    struct tenant_queue *next, *previous; /* ring */
};

void scheduler_init(struct scheduler *s, const struct scheduler_limits *limits, struct kvcache *kv,
                    struct prefix *prefix)
{
    *s = (struct scheduler){.limits = *limits, .kv = kv, .prefix = prefix};
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

/* Begin with the pages that are in the prefix cache already. The last token is always computed: its logits
 * are wanted. */
static void share_prefix(struct scheduler *s, struct schedulable *q)
{
    int limit = (q->prompt_tokens - 1) / KV_PAGE_TOKENS;
    if (!s->prefix || !q->tokens || limit == 0)
        return;
    int32_t *pages = malloc((size_t)limit * sizeof *pages);
    struct prefix_chain chain = q->chain;
    int count = pages ? prefix_match(s->prefix, &chain, q->tokens, limit, pages) : 0;
    if (count > 0 && kvcache_share(s->kv, &q->kv, pages, count)) {
        q->chain = chain;
        q->computed = q->shared_tokens = count * KV_PAGE_TOKENS;
    }
    free(pages);
}

/* Pages for its whole possible length, those of the prefix cache given up where need be. */
static bool take_pages(struct scheduler *s, struct schedulable *q)
{
    if (q->reserve_tokens == 0)
        return true;
    struct prefix_chain root = q->chain;
    share_prefix(s, q);
    int pages = (q->reserve_tokens + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
    if (s->prefix)
        prefix_make_room(s->prefix, pages - q->kv.page_count);
    if (kvcache_reserve(s->kv, &q->kv, q->reserve_tokens))
        return true;
    kvcache_release(s->kv, &q->kv);
    q->chain = root;
    q->computed = q->shared_tokens = 0;
    return false;
}

struct schedulable *scheduler_admit(struct scheduler *s)
{
    struct tenant_queue *queue = s->turn;
    if (!queue || s->running >= s->limits.sequences_max)
        return NULL;
    struct schedulable *q = queue->first;
    if (!take_pages(s, q))
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

/* What a step can still hold. */
struct room {
    int tokens, rows;
    int prompts; /* sequences whose prompts wait for tokens */
};

static void plan_decodes(struct scheduler *s, struct room *room)
{
    for (struct schedulable *q = s->first; q; q = q->next) {
        bool decodes = q->computed >= q->prompt_tokens;
        q->planned = decodes ? 1 : 0;
        room->tokens -= q->planned;
        room->prompts += !decodes;
        room->rows--; /* every sequence may want the logits of its last token */
    }
}

/* Up to `share` more tokens of each prompt. */
static void plan_prompts(struct scheduler *s, struct room *room, int share)
{
    for (struct schedulable *q = s->first; q; q = q->next) {
        int left = least(q->prompt_tokens - q->computed, s->limits.chunk_tokens) - q->planned;
        if (q->computed >= q->prompt_tokens)
            continue;
        int more = least(least(left, share), room->tokens);
        if (q->wants_all_logits) { /* its first row is counted already */
            more = least(more, room->rows + (q->planned == 0));
            room->rows -= more > 0 ? more - (q->planned == 0) : 0;
        }
        q->planned += more;
        room->tokens -= more;
    }
}

int scheduler_plan(struct scheduler *s, int prefill_tokens)
{
    struct room room = {.tokens = s->limits.step_tokens, .rows = s->limits.logit_rows};
    plan_decodes(s, &room);
    int decodes = s->limits.step_tokens - room.tokens, before;
    if (decodes > 0)
        room.tokens = least(room.tokens, prefill_tokens);
    before = room.tokens;
    if (room.prompts > 0 && room.tokens > 0) {
        int share = room.tokens / room.prompts;
        plan_prompts(s, &room, share > 0 ? share : 1);
        plan_prompts(s, &room, s->limits.chunk_tokens); /* what short prompts left over */
    }
    return decodes + before - room.tokens;
}

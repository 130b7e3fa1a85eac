#include "core/engine/scheduler.h"

#include <assert.h>
#include <stdlib.h>

#include "core/base/least.h"

/* Fixed point: a counter moves by UNIT / weight for each prompt token. */
#define UNIT (UINT64_C(1) << 20)

struct account {
    uint32_t tenant;
    int weight;
    uint64_t served;           /* the counter */
    struct schedulables queue; /* waiting */
    int running;
    int prompts; /* of the running ones, while a step is planned: whose prompts want tokens */
    TAILQ_ENTRY(account) link;
};

void scheduler_init(struct scheduler *s, const struct scheduler_limits *limits, struct kvcache *kv,
                    struct prefix *prefix)
{
    *s = (struct scheduler){.limits = *limits, .kv = kv, .prefix = prefix};
    TAILQ_INIT(&s->accounts);
    TAILQ_INIT(&s->admitted);
}

/* ---- accounts ---- */

static void free_account(struct scheduler *s, struct account *a)
{
    assert(TAILQ_EMPTY(&a->queue) && a->running == 0);
    TAILQ_REMOVE(&s->accounts, a, link);
    free(a);
}

void scheduler_fini(struct scheduler *s)
{
    assert(s->running == 0 && s->waiting == 0);
    while (!TAILQ_EMPTY(&s->accounts))
        free_account(s, TAILQ_FIRST(&s->accounts));
}

static bool is_idle(const struct account *a)
{
    return TAILQ_EMPTY(&a->queue) && a->running == 0;
}

/* Has a, with `more_a` places more, fewer per weight than b with `more_b`? */
static bool fewer_places(const struct account *a, int more_a, const struct account *b, int more_b)
{
    return (int64_t)(a->running + more_a) * b->weight < (int64_t)(b->running + more_b) * a->weight;
}

/* Of those whose counter is at least that: the tenant with the most places per weight; of several, the one
 * with the highest counter. NULL: nobody runs. */
static struct account *most_places(const struct scheduler *s, uint64_t served)
{
    struct account *most = NULL, *a;
    TAILQ_FOREACH(a, &s->accounts, link) {
        if (a->running == 0 || a->served < served)
            continue;
        bool tie = most && !fewer_places(a, 0, most, 0) && !fewer_places(most, 0, a, 0);
        if (!most || fewer_places(most, 0, a, 0) || (tie && a->served > most->served))
            most = a;
    }
    return most;
}

/* Where a tenant starts that had nothing waiting: level with the one that is behind most among those that
 * wait. Where nobody waits, everybody has what they want: level with who has the most. */
static uint64_t level(const struct scheduler *s)
{
    const struct account *least = NULL, *most, *a;
    TAILQ_FOREACH(a, &s->accounts, link)
        if (!TAILQ_EMPTY(&a->queue) && (!least || a->served < least->served))
            least = a;
    if (least)
        return least->served;
    return (most = most_places(s, 0)) ? most->served : 0;
}

/* Its account, or NULL. Those of tenants that are not in are forgotten once they would start level anyway. */
static struct account *find_account(struct scheduler *s, uint32_t tenant, uint64_t start)
{
    struct account *found = NULL;
    for (struct account *a = TAILQ_FIRST(&s->accounts), *next; a; a = next) {
        next = TAILQ_NEXT(a, link);
        if (a->tenant == tenant)
            found = a;
        else if (is_idle(a) && a->served <= start)
            free_account(s, a);
    }
    return found;
}

static struct account *open_account(struct scheduler *s, uint32_t tenant)
{
    struct account *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->tenant = tenant;
    TAILQ_INIT(&a->queue);
    TAILQ_INSERT_TAIL(&s->accounts, a, link);
    return a;
}

static void charge(struct account *a, int cost)
{
    a->served += (uint64_t)cost * UNIT / (uint64_t)a->weight;
}

/* ---- lists ---- */

int scheduler_add(struct scheduler *s, struct schedulable *q)
{
    uint64_t start = level(s);
    struct account *a = find_account(s, q->tenant, start);
    if (!a && !(a = open_account(s, q->tenant)))
        return -1;
    if (TAILQ_EMPTY(&a->queue) && a->served < start)
        a->served = start;
    a->weight = q->weight > 0 ? q->weight : 1;
    assert(!q->waiting && !q->running);
    TAILQ_INSERT_TAIL(&a->queue, q, link);
    q->account = a;
    q->chain = q->root;
    q->waiting = true;
    s->waiting++;
    return 0;
}

static void leave_queue(struct scheduler *s, struct schedulable *q)
{
    assert(s->waiting > 0);
    TAILQ_REMOVE(&q->account->queue, q, link);
    q->waiting = false;
    s->waiting--;
}

static void leave_running(struct scheduler *s, struct schedulable *q)
{
    assert(s->running > 0 && q->account->running > 0);
    TAILQ_REMOVE(&s->admitted, q, link);
    q->running = false;
    s->running--;
    q->account->running--;
}

/* ---- admission ---- */

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

/* It has to begin again, unless it needs none. */
static void give_pages_back(struct scheduler *s, struct schedulable *q)
{
    if (q->reserve_tokens == 0)
        return;
    kvcache_release(s->kv, &q->kv);
    q->chain = q->root;
    q->computed = q->shared_tokens = 0;
}

/* Pages for its whole possible length, those of the prefix cache given up where need be. */
static bool take_pages(struct scheduler *s, struct schedulable *q)
{
    if (q->reserve_tokens == 0)
        return true;
    share_prefix(s, q);
    int pages = (q->reserve_tokens + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
    if (s->prefix)
        prefix_make_room(s->prefix, pages - q->kv.page_count);
    if (kvcache_reserve(s->kv, &q->kv, q->reserve_tokens))
        return true;
    give_pages_back(s, q);
    return false;
}

/* Of the tenants that wait: the one with the lowest counter; of several, the one with the fewest places. */
static struct account *next_in_turn(const struct scheduler *s)
{
    struct account *best = NULL, *a;
    TAILQ_FOREACH(a, &s->accounts, link)
        if (!TAILQ_EMPTY(&a->queue) &&
            (!best || a->served < best->served || (a->served == best->served && fewer_places(a, 0, best, 0))))
            best = a;
    return best;
}

struct schedulable *scheduler_admit(struct scheduler *s)
{
    struct account *a = next_in_turn(s);
    if (!a || s->running >= s->limits.sequences_max)
        return NULL;
    struct schedulable *q = TAILQ_FIRST(&a->queue);
    if (!take_pages(s, q))
        return NULL;
    leave_queue(s, q);
    TAILQ_INSERT_TAIL(&s->admitted, q, link);
    q->running = true;
    s->running++;
    a->running++;
    charge(a, SCHEDULER_ADMISSION_COST * (q->paid == 0) + q->extra_cost);
    q->extra_cost = 0;
    return q;
}

struct schedulable *scheduler_overserved(const struct scheduler *s)
{
    const struct account *next = next_in_turn(s);
    const struct account *most = next ? most_places(s, next->served) : NULL;
    if (!most || most->running < 2 || (next->running > 0 && fewer_places(most, -1, next, 1)))
        return NULL;
    struct schedulable *q;
    TAILQ_FOREACH_REVERSE(q, &s->admitted, schedulables, link)
        if (q->account == most)
            break;
    return q;
}

void scheduler_put_back(struct scheduler *s, struct schedulable *q)
{
    leave_running(s, q);
    give_pages_back(s, q);
    TAILQ_INSERT_HEAD(&q->account->queue, q, link);
    q->waiting = true;
    s->waiting++;
}

void scheduler_remove(struct scheduler *s, struct schedulable *q)
{
    if (q->running)
        leave_running(s, q);
    else if (q->waiting)
        leave_queue(s, q);
    q->account = NULL;
    if (s->kv)
        kvcache_release(s->kv, &q->kv);
}

/* What a step can still hold. */
struct room {
    int tokens, rows;
};

static bool decodes(const struct schedulable *q)
{
    return q->computed >= q->prompt_tokens;
}

static void plan_decodes(struct scheduler *s, struct room *room)
{
    struct account *a;
    struct schedulable *q;
    TAILQ_FOREACH(a, &s->accounts, link)
        a->prompts = 0;
    TAILQ_FOREACH(q, &s->admitted, link) {
        q->planned = decodes(q) ? 1 : 0;
        q->account->prompts += !decodes(q);
        room->tokens -= q->planned;
        room->rows--; /* every sequence may want the logits of its last token */
    }
}

/* Up to `share` more tokens of each prompt of this tenant. */
static void plan_prompts(struct scheduler *s, const struct account *a, struct room *room, int share)
{
    struct schedulable *q;
    TAILQ_FOREACH(q, &s->admitted, link) {
        if (q->account != a || decodes(q))
            continue;
        int left = least(q->prompt_tokens - q->computed, s->limits.chunk_tokens) - q->planned;
        int more = least(least(left, share), room->tokens);
        if (q->wants_all_logits) { /* its first row is counted already */
            more = least(more, room->rows + (q->planned == 0));
            room->rows -= more > 0 ? more - (q->planned == 0) : 0;
        }
        q->planned += more;
        room->tokens -= more;
    }
}

static struct account *next_for_prompts(const struct scheduler *s)
{
    struct account *best = NULL, *a;
    TAILQ_FOREACH(a, &s->accounts, link)
        if (a->prompts > 0 && (!best || a->served < best->served))
            best = a;
    return best;
}

static void plan_account(struct scheduler *s, const struct account *a, struct room *room)
{
    int share = room->tokens / a->prompts;
    plan_prompts(s, a, room, share > 0 ? share : 1);
    plan_prompts(s, a, room, s->limits.chunk_tokens); /* what short prompts left over */
}

/* By counters. Whoever has more places than the first makes its step no more than twice as long: the light
 * tenant of a few prompt tokens does not wait for a flood's hundreds. */
static void plan_by_account(struct scheduler *s, struct room *room)
{
    const struct account *first = NULL;
    int beside = 0;
    for (struct account *a; room->tokens > 0 && (a = next_for_prompts(s)); a->prompts = 0) {
        int before = room->tokens;
        bool limited = first && fewer_places(first, 0, a, 0);
        room->tokens = limited ? least(before, beside) : before;
        int held_back = before - room->tokens;
        plan_account(s, a, room);
        room->tokens += held_back;
        int given = before - room->tokens;
        beside = first ? beside - (limited ? given : 0) : given;
        first = first ? first : a;
    }
}

static void charge_step(struct scheduler *s)
{
    struct schedulable *q;
    TAILQ_FOREACH(q, &s->admitted, link) {
        int from = q->paid > q->computed ? q->paid : q->computed, to = q->computed + q->planned;
        if (to <= from)
            continue;
        charge(q->account, (to - from) * (decodes(q) ? SCHEDULER_DECODE_COST : SCHEDULER_PREFILL_COST));
        q->paid = to;
    }
}

void scheduler_draft(struct schedulable *q, int tokens)
{
    assert(decodes(q) && q->planned == 1);
    q->planned += tokens;
    charge(q->account, tokens * SCHEDULER_PREFILL_COST);
}

int scheduler_plan(struct scheduler *s, int prefill_tokens)
{
    struct room room = {.tokens = s->limits.step_tokens, .rows = s->limits.logit_rows};
    plan_decodes(s, &room);
    int decoded = s->limits.step_tokens - room.tokens, before;
    if (decoded > 0)
        room.tokens = least(room.tokens, prefill_tokens);
    before = room.tokens;
    plan_by_account(s, &room);
    charge_step(s);
    return decoded + before - room.tokens;
}

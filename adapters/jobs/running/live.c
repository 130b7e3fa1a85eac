#include "adapters/jobs/running/live.h"

void live_pass_locked(struct runner *r, struct live *l, enum stage stage)
{
    l->stage = stage;
    if (stage == STAGE_TRAINING)
        pthread_cond_signal(&r->trainer_wake);
    else if (stage == STAGE_WAITING)
        pthread_cond_signal(&r->preparer_wake);
    else if (stage == STAGE_CHECKED || stage == STAGE_READY || stage == STAGE_LEFT)
        pthread_cond_signal(&r->keeper_wake);
}

size_t live_pass_bytes(const struct runner *r, int tokens)
{
    return train_pass_bytes(r->options.model, tokens, pool_threads(r->pool));
}

/* As many as are useful and take half of the memory at most; more where one example needs them. */
int live_pass_tokens(const struct runner *r, int longest)
{
    int tokens = PASS_TOKENS;
    while (tokens > 64 && live_pass_bytes(r, tokens) > r->options.memory / 2)
        tokens /= 2;
    return longest > tokens ? longest : tokens;
}

/* ---- whose turn it is ---- */

static int64_t looked_at_locked(const struct runner *r, uint32_t tenant)
{
    const struct live *l;
    int64_t count = 0;
    TAILQ_FOREACH(l, &r->lives, link)
        count += l->row.tenant == tenant && l->stage != STAGE_NEW;
    return count;
}

struct live *live_unread_locked(struct runner *r)
{
    struct live *l, *first = NULL;
    int64_t least = 0;
    TAILQ_FOREACH(l, &r->lives, link) {
        if (l->stage != STAGE_NEW || (first && l->row.tenant == first->row.tenant))
            continue;
        int64_t looked_at = looked_at_locked(r, l->row.tenant);
        if (first && looked_at >= least)
            continue;
        first = l;
        least = looked_at;
        if (least == 0)
            break;
    }
    return first;
}

/* With `more` beside them, or NULL. */
static size_t bytes_locked(const struct runner *r, const struct live *more)
{
    const struct live *l;
    size_t bytes = 0;
    int longest = 0;
    TAILQ_FOREACH(l, &r->lives, link) {
        if (!l->taken && l != more)
            continue;
        bytes += l->bytes;
        longest = l->longest > longest ? l->longest : longest;
    }
    return longest && !r->info->numeric ? bytes + live_pass_bytes(r, live_pass_tokens(r, longest)) : bytes;
}

size_t live_bytes_locked(const struct runner *r)
{
    return bytes_locked(r, NULL);
}

static int taken_locked(const struct runner *r, uint32_t tenant)
{
    const struct live *l;
    int count = 0;
    TAILQ_FOREACH(l, &r->lives, link)
        count += l->taken && (!tenant || l->row.tenant == tenant);
    return count;
}

struct claim {
    int running, behind, weight;
};

static struct claim claim_locked(const struct runner *r, const struct live *l)
{
    return (struct claim){taken_locked(r, l->row.tenant), l->behind, l->weight};
}

static bool is_before(const struct claim *a, const struct claim *b)
{
    int64_t running = (int64_t)a->running * b->weight - (int64_t)b->running * a->weight;
    int64_t behind = (int64_t)a->behind * b->weight - (int64_t)b->behind * a->weight;
    return running ? running < 0 : behind < 0;
}

/* Whether it fits or not. */
static struct live *first_locked(struct runner *r)
{
    struct live *l, *first = NULL;
    struct claim least = {0};
    TAILQ_FOREACH(l, &r->lives, link) {
        if (l->stage != STAGE_WAITING)
            continue;
        struct claim own = claim_locked(r, l);
        if (first && !is_before(&own, &least))
            continue;
        first = l;
        least = own;
    }
    return first;
}

static bool fits_locked(const struct runner *r, const struct live *l)
{
    int running = taken_locked(r, 0);
    if (running == RUNNING_MAX)
        return false;
    return running == 0 || bytes_locked(r, l) <= r->options.memory;
}

struct live *live_turn_locked(struct runner *r)
{
    struct live *l = first_locked(r);
    return l && fits_locked(r, l) ? l : NULL;
}

void live_add_locked(struct runner *r, struct live *l)
{
    l->behind = taken_locked(r, l->row.tenant);
    TAILQ_INSERT_TAIL(&r->lives, l, link);
    pthread_cond_signal(&r->preparer_wake);
}

void live_take_locked(struct runner *r, struct live *taken)
{
    struct live *l;
    taken->taken = true;
    TAILQ_FOREACH(l, &r->lives, link)
        if (!l->taken && l->row.tenant == taken->row.tenant)
            l->behind++;
}

/* Somebody comes or goes, and who comes next is seen then. */
static bool changes_locked(const struct runner *r)
{
    const struct live *l;
    TAILQ_FOREACH(l, &r->lives, link)
        if (l->taken && (l->stage != STAGE_TRAINING || atomic_load(&l->stop)))
            return true;
    return false;
}

/* Of the tenant that has most running for its weight, the youngest that has had its turn. */
struct live *live_to_yield_locked(struct runner *r, uint64_t now_us)
{
    struct live *l, *next = first_locked(r), *found = NULL;
    struct claim most = {0};
    if (!next || taken_locked(r, next->row.tenant) > 0 || fits_locked(r, next) || changes_locked(r))
        return NULL;
    TAILQ_FOREACH(l, &r->lives, link) {
        if (l->stage != STAGE_TRAINING || now_us - l->began_us < r->options.turn_us)
            continue;
        struct claim own = claim_locked(r, l);
        own.behind = 0;
        if (found && is_before(&own, &most))
            continue;
        found = l;
        most = own;
    }
    return found;
}

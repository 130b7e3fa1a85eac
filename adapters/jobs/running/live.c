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

struct live *live_turn_locked(struct runner *r)
{
    struct live *l, *next = NULL;
    int running = taken_locked(r, 0), least = 0;
    if (running == RUNNING_MAX)
        return NULL;
    TAILQ_FOREACH(l, &r->lives, link) {
        if (l->stage != STAGE_WAITING || (next && l->row.tenant == next->row.tenant))
            continue;
        int own = taken_locked(r, l->row.tenant);
        if (next && (int64_t)own * next->weight >= (int64_t)least * l->weight)
            continue;
        next = l;
        least = own;
    }
    return next && (running == 0 || bytes_locked(r, next) <= r->options.memory) ? next : NULL;
}

#include "core/draft/draft.h"

#include <assert.h>
#include <stdlib.h>

enum {
    CANDIDATES = 16, /* earlier places that are looked at for one guess */
    MATCH_MAX = 16,  /* tokens that are compared at each */
    MATCH_LONG = 4,
    NEAR = 32,     /* tokens behind the last source in which a copy may go on */
    NEAR_BONUS = 4 /* what that counts, in tokens that match */
};

/* ---- where each pair of tokens stood ---- */

static uint32_t bucket(const struct draft *d, int32_t first, int32_t second)
{
    uint64_t pair = (uint64_t)(uint32_t)first << 32 | (uint32_t)second;
    return (uint32_t)(pair * UINT64_C(0x9E3779B97F4A7C15) >> 32) & (d->buckets - 1);
}

static bool allocate(struct draft *d, int capacity)
{
    d->capacity = capacity;
    d->buckets = 1;
    while (d->buckets < (uint32_t)capacity)
        d->buckets *= 2;
    d->newest = calloc(d->buckets, sizeof *d->newest);
    d->before = calloc((size_t)capacity, sizeof *d->before);
    if (d->newest && d->before)
        return true;
    draft_free(d);
    d->capacity = capacity; /* so that it is tried once */
    return false;
}

static void learn(struct draft *d, const int32_t *tokens, int count)
{
    for (int i = d->count > 1 ? d->count : 1; i < count; i++) {
        int32_t *newest = &d->newest[bucket(d, tokens[i - 1], tokens[i])];
        d->before[i] = *newest;
        *newest = i + 1;
    }
    d->count = count;
}

/* ---- the best of them ---- */

/* How many tokens up to the one at `at` are those up to the last. */
static int match(const int32_t *tokens, int count, int at)
{
    int length = 0;
    while (length < MATCH_MAX && length <= at && tokens[at - length] == tokens[count - 1 - length])
        length++;
    return length;
}

static bool is_near(const struct draft *d, int from)
{
    return d->source > 0 && from >= d->source && from < d->source + NEAR;
}

/* Behind the longest match, better one near the last source, the newest of several; 0: none. */
static int find(const struct draft *d, const int32_t *tokens, int count, int *length)
{
    int best = 0, tried = 0, most = 0;
    for (int at = d->before[count - 1]; at > 0 && tried < CANDIDATES; at = d->before[at - 1], tried++) {
        int found = match(tokens, count, at - 1), worth = found + (is_near(d, at) ? NEAR_BONUS : 0);
        if (found < 2 || worth <= most) /* fewer than two share a bucket alone */
            continue;
        best = at;
        most = worth;
        *length = found;
        if (found == MATCH_MAX)
            break;
    }
    return best;
}

/* A word was put in another's place: the text may go on soon behind where the last guess went wrong. */
static int find_near(const struct draft *d, const int32_t *tokens, int count)
{
    for (int from = d->source + 1; from < count && is_near(d, from); from++)
        if (tokens[from - 1] == tokens[count - 1])
            return from;
    return 0;
}

/* How far the last guess was right. */
static void follow(struct draft *d, const int32_t *tokens, int count)
{
    for (; d->source > 0 && d->at < count && tokens[d->at] == tokens[d->source]; d->at++)
        d->source++;
}

static enum draft_kind kind_of(int from, int prompt, int length)
{
    if (from >= prompt)
        return DRAFT_ANSWER;
    return length >= MATCH_LONG ? DRAFT_LONG : length >= 2 ? DRAFT_SHORT : DRAFT_NEAR;
}

int draft_guess(struct draft *d, int capacity, const int32_t *tokens, int prompt, int count, int32_t *out,
                int max, enum draft_kind *kind)
{
    if (count < 2 || max <= 0)
        return 0;
    if (!d->newest && (d->capacity > 0 || !allocate(d, capacity)))
        return 0;
    assert(count <= d->capacity && count >= d->count);
    learn(d, tokens, count);
    follow(d, tokens, count);
    int length = 1, from = find(d, tokens, count, &length);
    if (from == 0)
        from = find_near(d, tokens, count);
    if (from == 0)
        return 0;
    *kind = kind_of(from, prompt, length);
    if (from < prompt) { /* what is copied from the answer says nothing of where the copy of the prompt is */
        d->source = from;
        d->at = count;
    }
    for (int i = 0; i < max; i++) /* a short circle goes on as it began */
        out[i] = from + i < count ? tokens[from + i] : out[from + i - count];
    return max;
}

void draft_free(struct draft *d)
{
    free(d->newest);
    free(d->before);
    *d = (struct draft){0};
}

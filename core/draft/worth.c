#include "core/draft/worth.h"

#include <math.h>

static const double keep = 0.98; /* of what older steps weigh, from one step to the next */
static const double outlier = 3; /* a step that took longer than so many times the mean was interrupted */
static const double each_guess = 0.1;   /* of a step, while all steps had the same tokens */
static const double each_least = 0.005; /* of a step: a token is never free */
static const double stretch = 1.5; /* by which guesses may make a step longer for those that do not copy */
static const double trust_rate = 0.125; /* by which one token changes the trust */
static const double trust_return = 1.0 / 64, trust_rest = 0.3;

void worth_note(struct worth_cost *c, int tokens, double us)
{
    double n = tokens;
    if (c->weight > 0)
        us = fmin(us, outlier * c->us / c->weight * fmax(1, n * c->weight / c->tokens));
    *c = (struct worth_cost){.weight = keep * c->weight + 1,
                             .tokens = keep * c->tokens + n,
                             .us = keep * c->us + us,
                             .tokens_tokens = keep * c->tokens_tokens + n * n,
                             .tokens_us = keep * c->tokens_us + n * us};
}

/* The slope of the line, within what can be. */
static double each_token(const struct worth_cost *c, double mean_tokens, double mean_us)
{
    double spread = c->tokens_tokens / c->weight - mean_tokens * mean_tokens,
           together = c->tokens_us / c->weight - mean_tokens * mean_us;
    if (spread < 0.05)
        return each_guess * mean_us / (1 + each_guess * (mean_tokens - 1));
    double each = together / spread;
    return fmin(fmax(each, each_least * mean_us), mean_us / mean_tokens);
}

bool worth_begin(struct worth_step *s, const struct worth_cost *c, int sequences, bool shared)
{
    if (c->weight <= 0)
        return false;
    double mean_tokens = c->tokens / c->weight, mean_us = c->us / c->weight;
    s->each = each_token(c, mean_tokens, mean_us);
    s->us = fmax(mean_us + s->each * (sequences - mean_tokens), s->each * sequences);
    s->us_most = shared ? stretch * s->us : INFINITY;
    s->tokens = sequences;
    return true;
}

void worth_trust_init(struct worth_trust *t)
{
    t->share[DRAFT_ANSWER] = 0.5;
    t->share[DRAFT_NEAR] = 0.5;
    t->share[DRAFT_SHORT] = 0.7;
    t->share[DRAFT_LONG] = 0.9;
    t->share[DRAFT_FORCED] = 0.95;
}

void worth_learn(struct worth_trust *t, enum draft_kind kind, int right, bool wrong)
{
    double *share = &t->share[kind];
    for (int i = 0; i < right; i++)
        *share += trust_rate * (1 - *share);
    if (wrong)
        *share -= trust_rate * *share;
}

int worth_take(struct worth_step *s, struct worth_trust *t, enum draft_kind kind, int count)
{
    double chance = 1;
    int taken = 0;
    for (; taken < count; taken++) {
        chance *= t->share[kind];
        if (chance * s->us <= s->each * s->tokens || s->us + s->each > s->us_most)
            break;
        s->us += s->each;
        s->tokens += chance;
    }
    if (taken == 0)
        t->share[kind] += trust_return * (trust_rest - t->share[kind]);
    return taken;
}

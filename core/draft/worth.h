/* How many guessed tokens pay: what a step costs by its tokens, measured as it runs, and how often guesses of
 * each kind were right. One thread. */
#pragma once
#include "core/draft/draft.h"

/* Steps that only decode: a line through (tokens, time), older steps counting less and less. */
struct worth_cost { /* zero-initialize */
    double weight, tokens, us, tokens_tokens, tokens_us;
};

void worth_note(struct worth_cost *c, int tokens, double us);

/* Of one sequence: how likely the next token of a guess is right. */
struct worth_trust {
    double share[DRAFT_KINDS];
};

void worth_trust_init(struct worth_trust *t);
/* `right` tokens of a guess were, and the one behind them was not, if `wrong`. */
void worth_learn(struct worth_trust *t, enum draft_kind kind, int right, bool wrong);

/* A step as it is planned. */
struct worth_step {
    double us, each; /* what it is likely to take, and one token more */
    double us_most;  /* what it may take, for the sake of those that do not copy */
    double tokens;   /* that it is likely to bring */
};

/* `sequences` that decode one token each; `shared`: some of them do not copy. False: nothing is known yet.
 */
bool worth_begin(struct worth_step *s, const struct worth_cost *c, int sequences, bool shared);
/* How many of `count` tokens of a guess bring more, by what they cost, than the step does without them; they
 * are counted in. Trust in what is not taken comes back slowly, so that it is tried again one day. */
int worth_take(struct worth_step *s, struct worth_trust *t, enum draft_kind kind, int count);

/* Guesses how a text goes on that copies from itself: as it went on where the same tokens stood before. Texts
 * that mask, correct or reformat their prompt are mostly copies.
 *
 * One for each sequence, used by one thread. A guess is a guess: whoever takes it checks it, so it can cost
 * time and nothing else. Memory: eight to twelve bytes for each token that the sequence may have, taken with
 * the first guess; where there is none left there are no guesses. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* Where a guess comes from, which says how sure it may be: from the answer itself; from the prompt, by one
 * token near where the last guess went wrong, by few tokens that stand before it in both places, or by many.
 * A constraint that leaves no choice is not asked here, but its tokens are weighed with the others. */
enum draft_kind { DRAFT_ANSWER, DRAFT_NEAR, DRAFT_SHORT, DRAFT_LONG, DRAFT_FORCED, DRAFT_KINDS };

struct draft { /* zero-initialize */
    int32_t
        *newest; /* owned, [buckets]: where the newest pair of tokens of that bucket ends, counted from 1 */
    int32_t *before; /* owned, [capacity]: the one before it in its bucket */
    uint32_t buckets;
    int capacity, count;
    int source,
        at; /* tokens[source..] was the last guess for tokens[at..], as far as it was right; 0: none */
};

/* Up to `max` tokens that may follow tokens[0..count), of which the first `prompt` are the prompt, put into
 * `out`; how many. The text only grows from call to call, up to `capacity` tokens in all. */
int draft_guess(struct draft *d, int capacity, const int32_t *tokens, int prompt, int count, int32_t *out,
                int max, enum draft_kind *kind);
void draft_free(struct draft *d);

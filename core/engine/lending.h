/* How long the engine leaves the machine to training between two steps, so that training gets its share of
 * the time while requests run, and no request notices more of it than that. No clock of its own, no waiting:
 * the engine thread asks. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum {
    LENDING_US_MIN = 1000,   /* less is not worth waking anybody for */
    LENDING_US_MAX = 100000, /* at once: a stop, or a request that comes, does not wait longer */
    /* Steps that are too short for a loan of their own save up for one, which only so few steps in a hundred
     * get that the 99th percentile of the time between tokens does not know of it. */
    LENDING_STEPS_MIN = 200,
    LENDING_SAVED_US_MAX = 10000
};

struct lending {
    double share; /* of the time, 0 to less than 1 */
    uint64_t opened_us;
    uint64_t loan_us; /* from opened_us on */
    double saved_us;
    int steps; /* since the last loan */
};

/* A step of `step_us` ended at `now_us`, and training waited (or did not) for its end. */
void lending_note(struct lending *l, uint64_t now_us, uint64_t step_us, bool wanted);
/* How much longer the next step should wait. */
uint64_t lending_left(const struct lending *l, uint64_t now_us);

#include "core/engine/lending.h"

/* A loan of its own for a long step; short ones save. */
static uint64_t loan(struct lending *l, double due_us)
{
    if (due_us >= LENDING_US_MIN)
        return due_us < LENDING_US_MAX ? (uint64_t)due_us : LENDING_US_MAX;
    l->saved_us += due_us;
    if (l->saved_us > LENDING_SAVED_US_MAX)
        l->saved_us = LENDING_SAVED_US_MAX;
    if (l->steps < LENDING_STEPS_MIN || l->saved_us < LENDING_US_MIN)
        return 0;
    uint64_t saved = (uint64_t)l->saved_us;
    l->saved_us = 0;
    return saved;
}

void lending_note(struct lending *l, uint64_t now_us, uint64_t step_us, bool wanted)
{
    l->opened_us = now_us;
    l->loan_us = 0;
    if (l->steps < LENDING_STEPS_MIN)
        l->steps++;
    if (!wanted)
        return;
    l->loan_us = loan(l, (double)step_us * l->share / (1 - l->share));
    if (l->loan_us)
        l->steps = 0;
}

uint64_t lending_left(const struct lending *l, uint64_t now_us)
{
    uint64_t end = l->opened_us + l->loan_us;
    return now_us < end ? end - now_us : 0;
}

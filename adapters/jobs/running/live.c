#include "adapters/jobs/running/live.h"

void live_pass_locked(struct runner *r, struct live *l, enum stage stage)
{
    l->stage = stage;
    if (stage == STAGE_TRAINING)
        pthread_cond_signal(&r->trainer_wake);
    else if (stage == STAGE_READY || stage == STAGE_LEFT)
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

#include "core/engine/logprobs.h"

#include <math.h>

#include "core/kernels/vector.h"

/* Of the softmax: logprob = (logit - top) - log_sum, which keeps its digits whatever the logits' size. */
struct softmax {
    double top, log_sum;
};

static struct softmax softmax_of(const float *logits, int vocab_size)
{
    double top = (double)logits[vector_argmax(logits, vocab_size)], sum = 0;
    for (int i = 0; i < vocab_size; i++)
        sum += exp((double)logits[i] - top);
    return (struct softmax){.top = top, .log_sum = log(sum)};
}

static float logprob(const struct softmax *s, float logit)
{
    return (float)((double)logit - s->top - s->log_sum);
}

float logprobs_of(const float *logits, int vocab_size, int32_t token)
{
    struct softmax s = softmax_of(logits, vocab_size);
    return logprob(&s, logits[token]);
}

/* Likelier first; equal ones by id, so that the order is the same everywhere. */
static bool before(const struct engine_logprob *a, const struct engine_logprob *b)
{
    return a->logprob > b->logprob || (a->logprob == b->logprob && a->token < b->token);
}

/* Insert into a short list that is kept in order. */
static void insert_top(struct engine_token *t, int limit, struct engine_logprob candidate)
{
    if (t->top_count == limit && !before(&candidate, &t->top[limit - 1]))
        return;
    int at = t->top_count < limit ? t->top_count++ : limit - 1;
    for (; at > 0 && before(&candidate, &t->top[at - 1]); at--)
        t->top[at] = t->top[at - 1];
    t->top[at] = candidate;
}

void logprobs_fill(const float *logits, int vocab_size, int count, struct engine_token *t)
{
    struct softmax s = softmax_of(logits, vocab_size);
    t->logprob = logprob(&s, logits[t->token]);
    t->top_count = 0;
    int limit = count < SAMPLING_LOGPROBS_MAX ? count : SAMPLING_LOGPROBS_MAX;
    limit = limit < vocab_size ? limit : vocab_size;
    for (int i = 0; limit > 0 && i < vocab_size; i++)
        insert_top(t, limit, (struct engine_logprob){.token = i, .logprob = logits[i]});
    for (int i = 0; i < t->top_count; i++)
        t->top[i].logprob = logprob(&s, t->top[i].logprob);
}

#include "core/engine/sampler.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "core/kernels/vector.h"

int sampler_init(struct sampler *s, const struct sampling *how, int vocab_size, struct err *e)
{
    *s = (struct sampler){.state = how->seed};
    if (how->temperature <= 0)
        return 0;
    s->candidates = malloc((size_t)vocab_size * sizeof *s->candidates);
    return s->candidates ? 0 : err_memory(e);
}

void sampler_fini(struct sampler *s)
{
    free(s->candidates);
    s->candidates = NULL;
}

/* Steele, Lea and Flood 2014. */
static uint64_t next_random(struct sampler *s)
{
    uint64_t z = s->state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

/* In [0, 1). */
static double next_uniform(struct sampler *s)
{
    return (double)(next_random(s) >> 11) * 0x1p-53;
}

/* Likelier first; equal ones by id, so that the order is the same everywhere. */
static bool before(const struct engine_logprob *a, const struct engine_logprob *b)
{
    return a->logprob > b->logprob || (a->logprob == b->logprob && a->token < b->token);
}

static void sift_down(struct engine_logprob *heap, int count, int at)
{
    for (int child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && before(&heap[child + 1], &heap[child]))
            child++;
        if (!before(&heap[child], &heap[at]))
            return;
        struct engine_logprob swap = heap[at];
        heap[at] = heap[child];
        heap[child] = swap;
    }
}

/* Take the likeliest candidate off the heap; it is put behind the `count - 1` that stay. */
static struct engine_logprob pop(struct engine_logprob *heap, int count)
{
    struct engine_logprob top = heap[0];
    heap[0] = heap[count - 1];
    heap[count - 1] = top;
    sift_down(heap, count - 1, 0);
    return top;
}

/* Fill the candidates with logits / temperature as a heap; returns the sum of exp(value - largest). */
static double fill_heap(struct engine_logprob *heap, const float *logits, int vocab_size, float temperature)
{
    float top = logits[vector_argmax(logits, vocab_size)];
    double sum = 0;
    for (int i = 0; i < vocab_size; i++) {
        heap[i] = (struct engine_logprob){.token = i, .logprob = (logits[i] - top) / temperature};
        sum += exp((double)heap[i].logprob);
    }
    for (int i = vocab_size / 2 - 1; i >= 0; i--)
        sift_down(heap, vocab_size, i);
    return sum;
}

/* Pop candidates, likeliest first, until the filters say that the rest is out; how many were kept. They end
 * up at the end of the array, likeliest last. `*mass` becomes the sum of their exp values, `sum` is that of
 * all. */
static int filter(struct engine_logprob *heap, int vocab_size, const struct sampling *how, double sum,
                  double *mass)
{
    bool limited = how->top_k > 0 && how->top_k < vocab_size;
    int limit = limited ? how->top_k : vocab_size, kept = 0;
    if (limited) { /* top_p counts what top_k left */
        sum = 0;
        for (int i = 0; i < limit; i++)
            sum += exp((double)pop(heap, vocab_size - i).logprob);
    }
    for (*mass = 0; kept < limit; kept++) {
        double p = exp((double)(limited ? heap[vocab_size - 1 - kept] : heap[0]).logprob);
        if (kept > 0 && (*mass >= (double)how->top_p * sum || p < (double)how->min_p))
            break;
        if (!limited)
            pop(heap, vocab_size - kept);
        *mass += p;
    }
    return kept;
}

/* Without filters no order is needed: one walk over the vocabulary. */
static int32_t draw_from_all(const struct engine_logprob *heap, int vocab_size, double target)
{
    int32_t last = 0;
    for (int i = 0; i < vocab_size; i++) {
        double p = exp((double)heap[i].logprob);
        if (p > 0)
            last = heap[i].token;
        if ((target -= p) < 0)
            return heap[i].token;
    }
    return last;
}

int32_t sampler_next(struct sampler *s, const struct sampling *how, const float *logits, int vocab_size)
{
    if (how->temperature <= 0)
        return vector_argmax(logits, vocab_size);
    double sum = fill_heap(s->candidates, logits, vocab_size, how->temperature), mass;
    bool filtered = how->top_k > 0 || how->top_p < 1 || how->min_p > 0;
    if (!filtered)
        return draw_from_all(s->candidates, vocab_size, next_uniform(s) * sum);
    int kept = filter(s->candidates, vocab_size, how, sum, &mass);
    double target = next_uniform(s) * mass;
    for (int i = 0; i < kept; i++) {
        const struct engine_logprob *c = &s->candidates[vocab_size - 1 - i];
        if ((target -= exp((double)c->logprob)) < 0)
            return c->token;
    }
    return s->candidates[vocab_size - kept].token;
}

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

float engine_logprob_of(const float *logits, int vocab_size, int32_t token)
{
    struct softmax s = softmax_of(logits, vocab_size);
    return logprob(&s, logits[token]);
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

void sampler_logprobs(const struct sampling *how, const float *logits, int vocab_size, struct engine_token *t)
{
    struct softmax s = softmax_of(logits, vocab_size);
    t->logprob = logprob(&s, logits[t->token]);
    t->top_count = 0;
    int limit = how->logprobs < ENGINE_LOGPROBS_MAX ? how->logprobs : ENGINE_LOGPROBS_MAX;
    limit = limit < vocab_size ? limit : vocab_size;
    for (int i = 0; limit > 0 && i < vocab_size; i++)
        insert_top(t, limit, (struct engine_logprob){.token = i, .logprob = logits[i]});
    for (int i = 0; i < t->top_count; i++)
        t->top[i].logprob = logprob(&s, t->top[i].logprob);
}

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

/* Fill the candidates with exp((logit - largest) / temperature), in the order of ids; returns their sum. What
 * is not a number is never drawn. */
static double fill_candidates(struct candidate *c, const float *logits, int vocab_size, float temperature)
{
    float top = logits[vector_argmax(logits, vocab_size)];
    double sum = 0;
    for (int i = 0; i < vocab_size; i++) {
        float x = (logits[i] - top) / temperature;
        c[i] = (struct candidate){.token = i, .weight = x <= 0 ? expf(x) : 0};
        sum += (double)c[i].weight;
    }
    return sum;
}

static bool heavier(const struct candidate *a, const struct candidate *b)
{
    return a->weight > b->weight || (a->weight == b->weight && a->token < b->token);
}

static void swap(struct candidate *a, struct candidate *b)
{
    struct candidate c = *a;
    *a = *b;
    *b = c;
}

/* Put the candidates of [begin, end) that are heavier than a pivot among them before it; where the pivot ends
 * up. */
static int partition(struct candidate *c, int begin, int end)
{
    int length = end - begin, at = begin;
    swap(&c[begin + (int)((uint32_t)length * 2654435761u % (uint32_t)length)], &c[end - 1]);
    for (int i = begin; i < end - 1; i++)
        if (heavier(&c[i], &c[end - 1]))
            swap(&c[i], &c[at++]);
    swap(&c[at], &c[end - 1]);
    return at;
}

/* Bring to the front the fewest of the heaviest candidates, at least one, that are `limit` in number, or with
 * `by_mass` weigh `limit` together; how many. Quickselect: time in proportion to count, whatever the
 * distribution. */
static int select_heaviest(struct candidate *c, int count, double limit, bool by_mass)
{
    int begin = 0, end = count; /* all before begin are kept, all from end on are not */
    double kept = 0;
    while (begin < end && (begin == 0 || kept < limit)) {
        int pivot = partition(c, begin, end);
        double mass = 0;
        for (int i = begin; i <= pivot; i++)
            mass += by_mass ? (double)c[i].weight : 1;
        double before_pivot = kept + mass - (by_mass ? (double)c[pivot].weight : 1);
        if (pivot > begin && before_pivot >= limit) {
            end = pivot;
        } else {
            kept += mass;
            begin = pivot + 1;
        }
    }
    return begin;
}

/* Bring to the front what top_k, top_p and min_p leave, each of what the one before left; how many. */
static int filter(struct candidate *c, int vocab_size, const struct sampling *how, double sum)
{
    int kept = vocab_size, within = 0;
    if (how->top_k > 0 && how->top_k < vocab_size) {
        kept = select_heaviest(c, kept, how->top_k, false);
        sum = 0;
        for (int i = 0; i < kept; i++)
            sum += (double)c[i].weight;
    }
    if (how->top_p < 1)
        kept = select_heaviest(c, kept, (double)how->top_p * sum, true);
    float least = how->min_p < 1 ? how->min_p : 1; /* the largest weighs 1 */
    for (int i = 0; i < kept; i++)
        if (c[i].weight >= least)
            swap(&c[i], &c[within++]);
    return within;
}

/* One of the first `count`, each with a chance in proportion to its weight. */
static int32_t draw(struct sampler *s, int count)
{
    const struct candidate *c = s->candidates;
    double mass = 0;
    int32_t last = c[0].token;
    for (int i = 0; i < count; i++)
        mass += (double)c[i].weight;
    double target = next_uniform(s) * mass;
    for (int i = 0; i < count; i++) {
        if (c[i].weight > 0)
            last = c[i].token;
        if ((target -= (double)c[i].weight) < 0)
            return last;
    }
    return last;
}

int32_t sampler_next(struct sampler *s, const struct sampling *how, const float *logits, int vocab_size)
{
    if (how->temperature <= 0)
        return vector_argmax(logits, vocab_size);
    double sum = fill_candidates(s->candidates, logits, vocab_size, how->temperature);
    int kept = filter(s->candidates, vocab_size, how, sum);
    return draw(s, kept > 0 ? kept : 1);
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

void engine_logprobs_of(const float *logits, int vocab_size, int count, struct engine_token *t)
{
    sampler_logprobs(&(struct sampling){.logprobs = count}, logits, vocab_size, t);
}

#include "core/engine/sampler.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/kernels/vector.h"

int sampler_scratch_init(struct sampler_scratch *w, int vocab_size, struct err *e)
{
    size_t count = (size_t)vocab_size;
    *w = (struct sampler_scratch){.candidates = malloc(count * sizeof *w->candidates),
                                  .logits = malloc(count * sizeof *w->logits),
                                  .counts = calloc(count, sizeof *w->counts),
                                  .vocab_size = vocab_size};
    if (w->candidates && w->logits && w->counts)
        return 0;
    sampler_scratch_fini(w);
    return err_memory(e);
}

void sampler_scratch_fini(struct sampler_scratch *w)
{
    free(w->candidates);
    free(w->logits);
    free(w->counts);
    *w = (struct sampler_scratch){0};
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

/* Fill the candidates with exp((logit - largest) / temperature), in the order of ids; returns their sum. What
 * is not a number is never drawn. */
static double fill_candidates(struct sampler_candidate *c, const float *logits, int vocab_size,
                              float temperature)
{
    float top = logits[vector_argmax(logits, vocab_size)];
    double sum = 0;
    for (int i = 0; i < vocab_size; i++) {
        float x = (logits[i] - top) / temperature;
        c[i] = (struct sampler_candidate){.token = i, .weight = x <= 0 ? expf(x) : 0};
        sum += (double)c[i].weight;
    }
    return sum;
}

static bool heavier(const struct sampler_candidate *a, const struct sampler_candidate *b)
{
    return a->weight > b->weight || (a->weight == b->weight && a->token < b->token);
}

static void swap(struct sampler_candidate *a, struct sampler_candidate *b)
{
    struct sampler_candidate c = *a;
    *a = *b;
    *b = c;
}

/* Put the candidates of [begin, end) that are heavier than a pivot among them before it; where the pivot ends
 * up. */
static int partition(struct sampler_candidate *c, int begin, int end)
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
static int select_heaviest(struct sampler_candidate *c, int count, double limit, bool by_mass)
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
static int filter(struct sampler_candidate *c, int vocab_size, const struct sampling *how, double sum)
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
static int32_t draw(struct sampler *s, const struct sampler_candidate *c, int count)
{
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

static int32_t choose(struct sampler *s, struct sampler_candidate *c, const struct sampling *how,
                      const float *logits, int vocab_size)
{
    double sum = fill_candidates(c, logits, vocab_size, how->temperature);
    int kept = filter(c, vocab_size, how, sum);
    return draw(s, c, kept > 0 ? kept : 1);
}

int32_t sampler_next(struct sampler *s, struct sampler_scratch *w, const struct sampling *how,
                     const struct processors_history *h, const float *logits)
{
    if (processors_wanted(how, h)) {
        memcpy(w->logits, logits, (size_t)w->vocab_size * sizeof *logits);
        processors_apply(how, h, w->logits, w->counts, w->vocab_size);
        logits = w->logits;
        if (logits[vector_argmax(logits, w->vocab_size)] == -INFINITY)
            return -1;
    }
    if (how->temperature <= 0)
        return vector_argmax(logits, w->vocab_size);
    return choose(s, w->candidates, how, logits, w->vocab_size);
}

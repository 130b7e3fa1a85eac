#include "core/train/train_steps.h"

#include <math.h>

#include "core/train/train_random.h"

static size_t lines_of_step(const struct train_options *o)
{
    return (size_t)o->batch_size * (size_t)o->accumulation;
}

int64_t train_steps_of_epoch(const struct train_options *o, size_t lines)
{
    return (int64_t)((lines + lines_of_step(o) - 1) / lines_of_step(o));
}

int64_t train_steps_all(const struct train_options *o, size_t lines)
{
    return o->max_steps > 0 ? o->max_steps
                            : (int64_t)ceil(o->epochs * (double)train_steps_of_epoch(o, lines));
}

struct train_span train_steps_span(const struct train_options *o, size_t lines, int64_t step)
{
    int64_t each = train_steps_of_epoch(o, lines);
    struct train_span s = {.epoch = step / each, .first = (size_t)(step % each) * lines_of_step(o)};
    s.count = lines - s.first < lines_of_step(o) ? lines - s.first : lines_of_step(o);
    return s;
}

enum { FEISTEL_ROUNDS = 8 };

/* One way through a network of Feistel, a bijection of 2 * half bits whatever the key. */
static uint64_t scramble(uint64_t key, int half, uint64_t x)
{
    uint64_t mask = ((uint64_t)1 << half) - 1, left = x >> half, right = x & mask;
    for (uint64_t round = 0; round < FEISTEL_ROUNDS; round++) {
        uint64_t next = left ^ (train_random_bits(key, round << 56 | right) & mask);
        left = right;
        right = next;
    }
    return left << half | right;
}

/* A permutation that takes no memory, whatever the number of lines: a scrambled place behind the last one is
 * scrambled again (cycle walking, Black and Rogaway 2002). */
size_t train_steps_line(const struct train_options *o, size_t lines, int64_t epoch, size_t place)
{
    uint64_t x = place;
    int half = 1;
    if (!o->shuffle || lines < 2)
        return place;
    while (((uint64_t)1 << (2 * half)) < lines)
        half++;
    uint64_t key = train_random_key(o->seed, "order of lines", (uint64_t)epoch);
    do
        x = scramble(key, half, x);
    while (x >= lines);
    return (size_t)x;
}

double train_steps_rate(const struct train_options *o, int64_t step, int64_t steps)
{
    if (step < o->warmup_steps)
        return o->learning_rate * (double)step / (double)o->warmup_steps;
    if (o->schedule == TRAIN_CONSTANT)
        return o->learning_rate;
    int64_t rest = steps - o->warmup_steps;
    double share = (double)(step - o->warmup_steps) / (double)(rest > 1 ? rest : 1);
    return o->learning_rate *
           (o->schedule == TRAIN_LINEAR ? fmax(0, 1 - share) : fmax(0, (1 + cos(M_PI * share)) / 2));
}

#include "core/train/optimizer.h"

#include <math.h>

enum { LANES = 8 };

/* In lanes, so that a sum of many squares is not a chain of as many additions. */
double optimizer_norm(const struct train_params *p)
{
    double lanes[LANES] = {0}, sum = 0;
    for (int i = 0; i < p->count; i++) {
        const struct train_tensor *t = &p->tensors[i];
        for (size_t k = 0; k < t->count; k++)
            lanes[k % LANES] += (double)t->gradient[k] * (double)t->gradient[k];
    }
    for (int i = 0; i < LANES; i++)
        sum += lanes[i];
    return sqrt(sum);
}

double optimizer_clip(const struct train_options *o, double norm)
{
    return o->max_grad_norm > 0 ? fmin(1, o->max_grad_norm / (norm + 1e-6)) : 1;
}

/* The constants of one step. */
struct adam {
    float keep, first, second, decay, rate, root, epsilon, clip;
};

static void adam_tensor(const struct train_tensor *t, struct adam a)
{
    float *restrict value = t->value, *restrict first = t->first, *restrict second = t->second;
    const float *restrict gradient = t->gradient;
    for (size_t i = 0; i < t->count; i++) {
        float g = gradient[i] * a.clip;
        float m = first[i] + (g - first[i]) * a.first;
        float v = second[i] * a.decay + g * g * a.second;
        first[i] = m;
        second[i] = v;
        value[i] = value[i] * a.keep - a.rate * (m / (sqrtf(v) / a.root + a.epsilon));
    }
}

static void descend(const struct train_tensor *t, float keep, float rate)
{
    for (size_t i = 0; i < t->count; i++)
        t->value[i] = t->value[i] * keep - rate * t->gradient[i];
}

static struct adam adam_of(const struct train_options *o, int64_t step, double rate, double clip)
{
    return (struct adam){.first = (float)(1 - o->adam_beta1),
                         .second = (float)(1 - o->adam_beta2),
                         .decay = (float)o->adam_beta2,
                         .rate = (float)(rate / (1 - pow(o->adam_beta1, (double)step))),
                         .root = (float)sqrt(1 - pow(o->adam_beta2, (double)step)),
                         .epsilon = (float)o->adam_epsilon,
                         .clip = (float)clip};
}

void optimizer_step(struct train_params *p, const struct train_options *o, int64_t step, double rate,
                    double clip)
{
    struct adam a = adam_of(o, step, rate, clip);
    for (int i = 0; i < p->count; i++) {
        const struct train_tensor *t = &p->tensors[i];
        a.keep = t->decays || o->decay_all ? (float)(1 - rate * o->weight_decay) : 1;
        if (o->optimizer == TRAIN_SGD)
            descend(t, a.keep, (float)(rate * clip));
        else
            adam_tensor(t, a);
    }
}

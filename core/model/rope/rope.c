#include "core/model/rope/rope.h"

#include <math.h>

/* Long wavelengths are stretched by `factor`, short ones kept, those between blended. */
static float llama3_frequency(const struct rope *r, float frequency)
{
    double wavelength = 2.0 * M_PI / (double)frequency;
    double low = r->original_context / r->low_freq_factor, high = r->original_context / r->high_freq_factor;
    if (wavelength < high)
        return frequency;
    if (wavelength > low)
        return (float)((double)frequency / r->factor);
    double smooth =
        (r->original_context / wavelength - r->low_freq_factor) / (r->high_freq_factor - r->low_freq_factor);
    return (float)((1.0 - smooth) * (double)frequency / r->factor + smooth * (double)frequency);
}

/* The pair, as a real number, that turns so often in a sequence of training. */
static double yarn_pair(const struct rope *r, double turns)
{
    return r->dim * log(r->original_context / (turns * 2.0 * M_PI)) / (2.0 * log(r->theta));
}

static float yarn_frequency(const struct rope *r, int i, float frequency)
{
    double low = yarn_pair(r, r->beta_fast), high = yarn_pair(r, r->beta_slow);
    if (r->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, r->dim - 1);
    if (low == high)
        high += 0.001;
    double ramp = fmin(fmax((i - low) / (high - low), 0), 1);
    return (float)((double)frequency / r->factor * ramp + (double)frequency * (1 - ramp));
}

static float plain_frequency(double theta, int i, int dim)
{
    return 1.0f / powf((float)theta, (float)(2 * i) / (float)dim);
}

bool rope_is_stretched(const struct rope *r, int length)
{
    return (r->kind == ROPE_DYNAMIC || r->kind == ROPE_LONG) && length > r->original_context;
}

/* By the theta that a sequence of this length has. */
static float dynamic_frequency(const struct rope *r, int i, int length)
{
    double stretch = r->factor * length / r->original_context - (r->factor - 1);
    bool is_longer = rope_is_stretched(r, length);
    return plain_frequency(is_longer ? r->theta * pow(stretch, r->dim / (r->dim - 2.0)) : r->theta, i,
                           r->dim);
}

float rope_frequency(const struct rope *r, int i, int length)
{
    float frequency = plain_frequency(r->theta, i, r->dim);
    switch (r->kind) {
    case ROPE_PLAIN:
        return frequency;
    case ROPE_LINEAR:
        return (float)((double)frequency / r->factor);
    case ROPE_LLAMA3:
        return llama3_frequency(r, frequency);
    case ROPE_YARN:
        return yarn_frequency(r, i, frequency);
    case ROPE_DYNAMIC:
        return dynamic_frequency(r, i, length);
    case ROPE_LONG:
        return frequency / (rope_is_stretched(r, length) ? r->far : r->near)[i];
    }
    return frequency;
}

double rope_magnitude(double factor, double share)
{
    return factor > 1 ? 0.1 * share * log(factor) + 1 : 1;
}

double rope_long_magnitude(double factor, double original_context)
{
    return factor > 1 ? sqrt(1 + log(factor) / log(original_context)) : 1;
}

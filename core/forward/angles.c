#include "core/forward/angles.h"

#include <math.h>

struct angles angles_at(const struct forward *f, int rope, int t)
{
    const struct config *c = &f->model->config;
    int half = c->rope[0].dim / 2; /* of both, where there are two */
    size_t at = ((size_t)t * (size_t)c->ropes + (size_t)rope) * (size_t)half;
    return (struct angles){f->cosine + at, f->sine + at};
}

float angles_query_factor(const struct config *c, int position)
{
    return 1 + c->query_growth * logf(1 + floorf((float)position / (float)c->query_context));
}

void angles_find(struct forward *f, int rope, int t)
{
    const struct rope *r = &f->model->config.rope[rope];
    const struct batch *b = f->batch;
    struct angles a = angles_at(f, rope, t);
    int length = b->length ? b->length[t] : b->position[t] + 1;
    bool stretched = rope_is_stretched(r, length);
    float *const *known = f->model->inverse_frequency[rope];
    for (int i = 0; i < r->dim / 2; i++) {
        float frequency = !stretched ? known[0][i] : known[1] ? known[1][i] : rope_frequency(r, i, length);
        float angle = (float)b->position[t] * frequency;
        a.cosine[i] = (float)r->magnitude * cosf(angle);
        a.sine[i] = (float)r->magnitude * sinf(angle);
    }
}

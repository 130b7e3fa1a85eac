#include "core/train/pass/norm_backward.h"

#include <string.h>

static float *weight_gradient(const struct norm *n, const struct pass_run *run)
{
    return n->weight ? pass_whole(run, n->weight_parameter) : NULL;
}

static float *bias_gradient(const struct norm *n, const struct pass_run *run)
{
    return n->bias ? pass_whole(run, n->bias_parameter) : NULL;
}

bool norm_backward_is_trained(const struct norm *n, const struct pass_run *run)
{
    return weight_gradient(n, run) || bias_gradient(n, run);
}

void norm_backward_row(const struct norm *n, const struct pass_run *run, const float *x, const float *dy,
                       float *dx)
{
    if (!n->weight) {
        vector_add(dx, dy, n->size);
        return;
    }
    const float *weight = delta_vector(run->delta, n->weight_parameter, n->weight);
    if (n->kind == NORM_LAYER)
        backward_layer_norm(dx, weight_gradient(n, run), bias_gradient(n, run), dy, x, weight, n->eps,
                            n->size);
    else
        backward_rms_norm(dx, weight_gradient(n, run), dy, x, weight, norm_plus(n), n->eps, n->size);
}

struct pass_run norm_backward_rows(const struct norm *n, const struct pass_run *run, int index,
                                   const struct worker *w)
{
    struct pass_run part = *run;
    int rows = run->end - run->begin;
    if (norm_backward_is_trained(n, run)) {
        part.end = index % w->count == w->index ? run->end : run->begin;
    } else {
        part.begin = run->begin + pass_share(rows, w->index, w->count);
        part.end = run->begin + pass_share(rows, w->index + 1, w->count);
    }
    return part;
}

void norm_backward_share(struct train_pass *p, const struct norm *n, const float *x, const float *dy,
                         const struct worker *w)
{
    for (int i = 0; i < p->token_runs.count; i++) {
        struct pass_run rows = norm_backward_rows(n, &p->token_runs.run[i], i, w);
        for (int t = rows.begin; t < rows.end; t++)
            norm_backward_row(n, &rows, row_at(x, t, n->size), row_at(dy, t, n->size),
                              row_at(p->dx, t, n->size));
    }
    pool_barrier(p->pool);
}

/* One row of a branch: the stream's gradient times the multiplier, through the norm. */
static void branch_row(struct train_pass *p, const struct norm *n, const struct pass_run *run,
                       const float *given, int t, float *scaled)
{
    float *out = row_at(p->branch, t, n->size);
    memcpy(scaled, row_at(p->dx, t, n->size), (size_t)n->size * sizeof *scaled);
    vector_scale(scaled, p->model->config.residual_multiplier, n->size);
    memset(out, 0, (size_t)n->size * sizeof *out);
    norm_backward_row(n, run, row_at(given, t, n->size), scaled, out);
}

const float *norm_backward_branch(struct train_pass *p, const struct norm *n, const float *given,
                                  const struct worker *w)
{
    if (!n->weight && p->model->config.residual_multiplier == 1)
        return p->dx;
    for (int i = 0; i < p->token_runs.count; i++) {
        struct pass_run rows = norm_backward_rows(n, &p->token_runs.run[i], i, w);
        for (int t = rows.begin; t < rows.end; t++)
            branch_row(p, n, &rows, given, t, p->workers[w->index].row);
    }
    pool_barrier(p->pool);
    return p->branch;
}

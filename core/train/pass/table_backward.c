/* Includes delta_internal.h: gradients are those of the delta's numbers. */
#include <string.h>

#include "core/delta/delta_internal.h"
#include "core/forward/blocks.h"
#include "core/kernels/vector.h"
#include "core/train/pass/blocks_backward.h"
#include "core/train/pass/low_backward.h"

/* A table and the row of it that each token of the pass reads. */
struct lookup {
    const struct table *table;
    const int32_t *row;
};

/* The row goes through the table's A and B as through a linear layer's with a one-hot input: u = B^T dx, and
 * A learns in that column alone. */
static void prepare_rows(struct train_pass *p, const struct lookup *l, const struct pass_run *run, int begin,
                         int end, float *scratch)
{
    const struct table *table = l->table;
    const struct lowrank *part = delta_at(run->delta, table->site);
    const struct train_site *site = pass_site(run, table->site);
    const float *factor = delta_magnitude(run->delta, table->site);
    int size = table->weight.cols;
    if (!part || !site || begin >= end)
        return;
    low_backward_outputs(part, size, row_at(p->dx, begin, size), (size_t)size, end - begin,
                         row_at(p->low, begin, p->forward->layout.stride), p->forward->layout.stride,
                         scratch);
    for (int t = begin; t < end; t++) {
        float *low = row_at(p->forward->low, t, p->forward->layout.stride),
              *scaled = row_at(p->scaled, t, size);
        lowrank_column(part, l->row[t], low);
        for (int r = 0; r < site->rank; r++)
            low[r] *= site->scale;
        memcpy(scaled, row_at(p->dx, t, size), (size_t)size * sizeof *scaled);
        if (factor)
            vector_multiply(scaled, factor, size);
    }
}

/* dmagnitude += dx y / magnitude; by one worker. */
static void add_magnitude(struct train_pass *p, const struct lookup *l, const struct pass_run *run,
                          const struct train_site *site, const struct pass_worker *own)
{
    int size = l->table->weight.cols;
    const float *magnitude = run->params->tensors[site->magnitude].value;
    float *gradient = pass_gradient(run, site->magnitude), *y = own->row;
    for (int t = run->begin; t < run->end; t++) {
        const float *dx = row_at(p->dx, t, size);
        forward_embed_row(l->table, run->delta, l->row[t], own->low, y);
        for (int i = 0; i < size; i++)
            if (magnitude[i] != 0)
                gradient[i] += dx[i] * (y[i] / magnitude[i]);
    }
}

/* Gradients of B and of the whole table, of this worker's columns. */
static void add_columns(struct train_pass *p, const struct lookup *l, const struct pass_run *run,
                        const struct worker *w)
{
    int size = l->table->weight.cols, first = pass_share(size, w->index, w->count),
        count = pass_share(size, w->index + 1, w->count) - first;
    const struct train_site *site = pass_site(run, l->table->site);
    float *whole = pass_whole(run, l->table->weight_parameter);
    if (site)
        backward_outer(row_at(pass_gradient(run, site->b), first, site->rank), site->rank,
                       row_at(p->scaled, run->begin, size) + first, size, count,
                       row_at(p->forward->low, run->begin, p->forward->layout.stride),
                       p->forward->layout.stride, site->rank, run->end - run->begin);
    for (int t = run->begin; whole && t < run->end; t++)
        vector_add(row_at(whole, l->row[t], size) + first, row_at(p->dx, t, size) + first, count);
}

/* The gradient of A, of this worker's rows. */
static void add_a(struct train_pass *p, const struct lookup *l, const struct pass_run *run,
                  const struct train_site *site, const struct worker *w)
{
    float *gradient = pass_gradient(run, site->a);
    for (int r = pass_share(site->rank, w->index, w->count);
         r < pass_share(site->rank, w->index + 1, w->count); r++)
        for (int t = run->begin; t < run->end; t++)
            row_at(gradient, r, l->table->weight.rows)[l->row[t]] +=
                row_at(p->low, t, p->forward->layout.stride)[r];
}

static void one_table(struct train_pass *p, const struct lookup *l, const struct worker *w)
{
    const struct pass_runs *runs = &p->token_runs;
    int begin = pass_share(runs->rows, w->index, w->count),
        end = pass_share(runs->rows, w->index + 1, w->count);
    for (int i = 0; i < runs->count; i++) {
        const struct pass_run *run = &runs->run[i];
        prepare_rows(p, l, run, begin > run->begin ? begin : run->begin, end < run->end ? end : run->end,
                     p->workers[w->index].low);
    }
    pool_barrier(p->pool);
    for (int i = 0; i < runs->count; i++) {
        const struct pass_run *run = &runs->run[i];
        const struct train_site *site = pass_site(run, l->table->site);
        gate_pass(p->gate);
        add_columns(p, l, run, w);
        if (site)
            add_a(p, l, run, site, w);
        if (site && site->magnitude >= 0 && i % w->count == w->index)
            add_magnitude(p, l, run, site, &p->workers[w->index]);
    }
    pool_barrier(p->pool);
}

void table_backward(struct train_pass *p, const struct worker *w)
{
    const struct config *c = &p->model->config;
    int begin = pass_share(p->token_runs.rows, w->index, w->count),
        end = pass_share(p->token_runs.rows, w->index + 1, w->count);
    for (int t = begin; t < end && c->embedding_multiplier != 1; t++)
        vector_scale(row_at(p->dx, t, c->hidden), c->embedding_multiplier, c->hidden);
    one_table(p, &(struct lookup){&p->model->embed, p->trained.token}, w);
    if (p->model->positions.weight.data)
        one_table(p, &(struct lookup){&p->model->positions, p->trained.position}, w);
}

#include "core/train/pass/head_backward.h"

#include <string.h>

#include "core/forward/forward.h"
#include "core/train/pass/linear_backward.h"
#include "core/train/pass/norm_backward.h"

/* ---- which targets ---- */

static const struct pass_target *target_at(const struct train_pass *p, int row)
{
    return &p->target[p->head_first + row];
}

/* Targets that are trained, or such that are not, from the first on. */
static void take_block(struct train_pass *p, int first)
{
    p->head_first = first;
    for (p->head_count = 0; p->head_count < p->head_rows && first + p->head_count < p->target_count;
         p->head_count++)
        if ((target_at(p, p->head_count)->run < 0) != (target_at(p, 0)->run < 0))
            break;
}

static void find_runs(struct train_pass *p)
{
    p->head_runs = (struct pass_runs){.run = p->head_run, .rows = p->head_count};
    for (int row = 0; row < p->head_count; row++) {
        const struct pass_target *t = target_at(p, row);
        if (t->run < 0)
            continue;
        if (row == 0 || t->run != target_at(p, row - 1)->run) {
            p->head_run[p->head_runs.count] = p->token_run[t->run];
            p->head_run[p->head_runs.count++].begin = row;
        }
        p->head_run[p->head_runs.count - 1].end = row + 1;
    }
}

/* ---- one block ---- */

/* The loss of a row, whose logits become their gradients. */
static double row_loss(struct train_pass *p, int row, struct pass_target *t, float *capped)
{
    const struct config *c = &p->model->config;
    float *logits = row_at(p->forward->logits, row, c->vocab);
    if (c->logit_cap > 0)
        memcpy(capped, logits, (size_t)c->vocab * sizeof *capped);
    double loss = backward_cross_entropy(logits, c->vocab, t->token, t->weight, &t->correct);
    if (c->logit_cap > 0 && t->weight != 0)
        backward_cap(logits, capped, c->logit_cap, c->vocab);
    return loss;
}

static void find_losses(struct train_pass *p, const struct worker *w)
{
    float *capped =
        p->capped + (size_t)w->index * (p->model->config.logit_cap > 0 ? (size_t)p->model->config.vocab : 0);
    for (int row = w->index; row < p->head_count; row += w->count) {
        struct pass_target *t = &p->target[p->head_first + row];
        gate_pass(p->gate);
        t->loss = row_loss(p, row, t, capped);
    }
    pool_barrier(p->pool);
}

/* Does anybody want the gradient of what the head read? */
static bool goes_on(const struct train_pass *p)
{
    bool wanted = p->lowest < p->model->config.layers;
    for (int i = 0; i < p->head_runs.count; i++)
        wanted |= norm_backward_is_trained(&p->model->final_norm, &p->head_runs.run[i]);
    return wanted;
}

static void final_norm(struct train_pass *p, const struct worker *w)
{
    const struct norm *n = &p->model->final_norm;
    float factor = p->model->config.logits_multiplier; /* of what the norm gave, too */
    for (int i = 0; i < p->head_runs.count; i++) {
        struct pass_run rows = norm_backward_rows(n, &p->head_runs.run[i], i, w);
        for (int row = rows.begin; row < rows.end; row++) {
            const struct pass_target *t = target_at(p, row);
            if (factor != 1)
                vector_scale(row_at(p->dh, row, n->size), factor, n->size);
            norm_backward_row(n, &rows, row_at(p->forward->x, t->row, n->size), row_at(p->dh, row, n->size),
                              row_at(p->dx, p->trained_row[t->row], n->size));
        }
    }
}

static void block_work(void *arg, int index, int count)
{
    struct train_pass *p = arg;
    struct forward *f = p->forward;
    struct worker w = scratch_worker(f, index, count);
    forward_head(f, index, count);
    pool_barrier(p->pool);
    find_losses(p, &w);
    if (p->head_runs.count == 0)
        return;
    struct linear_backward head = {.input = input_wanted(f, f->head_input, &p->model->lm_head),
                                   .runs = &p->head_runs,
                                   .wants_dx = goes_on(p),
                                   .stride = p->model->config.vocab,
                                   .dy = {f->logits},
                                   .scaled = {f->logits}};
    linear_backward_share(p, &head, p->dh, &w);
    if (head.wants_dx)
        final_norm(p, &w);
}

void head_backward(struct train_pass *p)
{
    for (int first = 0; first < p->target_count; first += p->head_count) {
        take_block(p, first);
        find_runs(p);
        for (int row = 0; row < p->head_count; row++)
            p->all.want[target_at(p, row)->row] = 1;
        forward_begin(p->forward, &p->all.batch);
        pool_run(p->pool, block_work, p);
        for (int row = 0; row < p->head_count; row++)
            p->all.want[target_at(p, row)->row] = 0;
    }
}

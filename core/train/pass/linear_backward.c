/* Includes delta_internal.h: gradients are those of the delta's numbers. */
#include "core/train/pass/linear_backward.h"

#include <string.h>

#include "core/delta/delta_internal.h"
#include "core/kernels/vector.h"
#include "core/train/pass/low_backward.h"

static const struct pass_run *run_at(const struct linear_backward *l, int index)
{
    return &l->runs->run[index];
}

static const struct linear *layer_at(const struct linear_backward *l, int which)
{
    return l->input.linear[which];
}

/* `low`: p->low or p->forward->low. */
static float *low_at(const struct train_pass *p, float *low, int row, int which)
{
    const struct low_layout *layout = &p->forward->layout;
    return row_at(low, row, layout->stride) + which * layout->slot;
}

static int low_stride(const struct train_pass *p)
{
    return p->forward->layout.stride;
}

static const struct matrix *own_weight(const struct linear_backward *l, const struct pass_run *run, int which)
{
    return delta_matrix(run->delta, layer_at(l, which)->weight_parameter);
}

/* ---- which runs need what ---- */

static bool any_factor(const struct linear_backward *l, int which)
{
    for (int i = 0; i < l->runs->count; i++)
        if (delta_magnitude(run_at(l, i)->delta, layer_at(l, which)->site))
            return true;
    return false;
}

static bool any_factors(const struct linear_backward *l)
{
    bool any = false;
    for (int which = 0; which < l->input.count; which++)
        any |= any_factor(l, which);
    return any;
}

static int count_own(const struct linear_backward *l, int which)
{
    int count = 0;
    for (int i = 0; i < l->runs->count; i++)
        count += own_weight(l, run_at(l, i), which) != NULL;
    return count;
}

static float *bias_gradient(const struct linear_backward *l, const struct pass_run *run, int which)
{
    const struct linear *layer = layer_at(l, which);
    return layer->bias ? pass_whole(run, layer->bias_parameter) : NULL;
}

static bool any_bias(const struct linear_backward *l)
{
    bool any = false;
    for (int which = 0; which < l->input.count; which++)
        for (int i = 0; i < l->runs->count; i++)
            any |= bias_gradient(l, run_at(l, i), which) != NULL;
    return any;
}

/* ---- biases and magnitudes, before dy is scaled ---- */

static void add_bias(const struct linear_backward *l, const struct pass_run *run, int which, int row,
                     int count)
{
    float *gradient = bias_gradient(l, run, which);
    for (int t = run->begin; gradient && t < run->end; t++)
        vector_add(gradient + row, row_at(l->dy[which], t, l->stride) + row, count);
}

/* y: [rows, LINEAR_ROWS], the layer's outputs from `row` on. A row of magnitude 0 learns nothing: how long it
 * would be is not known of its output. */
static void add_magnitude(const struct linear_backward *l, const struct pass_run *run, int which, int row,
                          int count, const float *y)
{
    const struct linear *layer = layer_at(l, which);
    const struct train_site *site = pass_site(run, layer->site);
    if (!site || site->magnitude < 0)
        return;
    const float *bias = delta_vector(run->delta, layer->bias_parameter, layer->bias),
                *magnitude = run->params->tensors[site->magnitude].value + row;
    float *gradient = pass_gradient(run, site->magnitude) + row;
    for (int t = run->begin; t < run->end; t++) {
        const float *dy = row_at(l->dy[which], t, l->stride) + row, *z = row_at(y, t, LINEAR_ROWS);
        for (int i = 0; i < count; i++)
            if (magnitude[i] != 0)
                gradient[i] += dy[i] * ((bias ? z[i] - bias[row + i] : z[i]) / magnitude[i]);
    }
}

static void add_vectors(struct train_pass *p, const struct linear_backward *l, int which,
                        const struct worker *w)
{
    const struct matrix *weight = &layer_at(l, which)->weight;
    bool factors = any_factor(l, which);
    for (int block = w->index; block < linear_blocks(weight); block += w->count) {
        int row = linear_block_row(block), count = linear_block_rows(weight, block);
        struct product y = {
            .input = &l->input, .which = which, .y = w->up, .stride = LINEAR_ROWS, .from = row};
        gate_pass(p->gate);
        if (factors)
            product_block(p->forward, &y, block, w);
        for (int i = 0; i < l->runs->count; i++) {
            add_bias(l, run_at(l, i), which, row, count);
            add_magnitude(l, run_at(l, i), which, row, count, w->up);
        }
    }
}

/* ---- rows made ready ---- */

/* What rows [begin, end) of a run need for one layer: u, scale A x, factor dy. */
static void prepare_rows(struct train_pass *p, const struct linear_backward *l, const struct pass_run *run,
                         int begin, int end, int which, bool factors, float *scratch)
{
    const struct linear *layer = layer_at(l, which);
    const struct lowrank *part = delta_at(run->delta, layer->site);
    const struct train_site *site = pass_site(run, layer->site);
    const float *factor = delta_magnitude(run->delta, layer->site),
                *dy = row_at(l->dy[which], begin, l->stride);
    int out = layer->weight.rows;
    if (part)
        low_backward_outputs(part, out, dy, (size_t)l->stride, end - begin, low_at(p, p->low, begin, which),
                             low_stride(p), scratch);
    for (int t = begin; t < end; t++) {
        float *low = low_at(p, p->forward->low, t, which), *to = row_at(l->scaled[which], t, l->stride);
        for (int r = 0; site && r < site->rank; r++)
            low[r] *= site->scale;
        if (factors && l->scaled[which] != l->dy[which])
            memcpy(to, row_at(l->dy[which], t, l->stride), (size_t)out * sizeof *to);
        if (factor)
            vector_multiply(to, factor, out);
    }
}

static void prepare_share(struct train_pass *p, const struct linear_backward *l, const struct worker *w)
{
    int begin = pass_share(l->runs->rows, w->index, w->count),
        end = pass_share(l->runs->rows, w->index + 1, w->count);
    for (int which = 0; which < l->input.count; which++) {
        bool factors = any_factor(l, which);
        for (int i = 0; i < l->runs->count; i++) {
            const struct pass_run *run = run_at(l, i);
            int from = begin > run->begin ? begin : run->begin, to = end < run->end ? end : run->end;
            if (from < to)
                prepare_rows(p, l, run, from, to, which, factors, p->workers[w->index].low);
        }
        if (l->wants_dx && l->base[which].tokens > 0)
            backward_prepare(&l->base[which], layer_at(l, which)->packed.bits != 0, begin, end);
        if (l->wants_dx && l->own[which].tokens > 0)
            backward_prepare(&l->own[which], false, begin, end);
    }
}

/* Where the gradients of each layer are read from, and by which weights they are multiplied. */
static void choose(const struct train_pass *p, struct linear_backward *l)
{
    for (int which = 0; which < l->input.count; which++) {
        int own = count_own(l, which), rows = l->runs->rows;
        if (!any_factor(l, which))
            l->scaled[which] = (float *)l->dy[which];
        struct backward_input in = {
            .dy = l->scaled[which], .stride = l->stride, .rows = layer_at(l, which)->weight.rows};
        l->base[which] = l->own[which] = in;
        l->base[which].prepared = p->prepared[which];
        l->base[which].tokens = own < l->runs->count ? rows : 0;
        l->own[which].prepared = p->prepared_own[which];
        l->own[which].tokens = own > 0 ? rows : 0;
    }
}

void linear_backward_prepare(struct train_pass *p, struct linear_backward *l, const struct worker *w)
{
    bool factors = any_factors(l);
    l->input.quantized = !factors; /* the layers are computed again for magnitudes alone */
    input_prepare(p->forward, &l->input, w);
    if (factors || any_bias(l)) {
        for (int which = 0; which < l->input.count; which++)
            add_vectors(p, l, which, w);
        pool_barrier(p->pool);
    }
    choose(p, l);
    prepare_share(p, l, w);
    pool_barrier(p->pool);
}

/* ---- columns ---- */

struct columns linear_backward_columns(int cols, const struct worker *w)
{
    int blocks = (cols + LINEAR_ROWS - 1) / LINEAR_ROWS,
        begin = pass_share(blocks, w->index, w->count) * LINEAR_ROWS,
        end = pass_share(blocks, w->index + 1, w->count) * LINEAR_ROWS;
    return (struct columns){begin, end < cols ? end : cols};
}

struct columns linear_backward_next(const struct columns *all, int done)
{
    int blocks = (all->end - done + LINEAR_ROWS - 1) / LINEAR_ROWS, most = BACKWARD_COLS / LINEAR_ROWS,
        parts = (blocks + most - 1) / most;
    int end = parts == 0 ? done : done + (blocks + parts - 1) / parts * LINEAR_ROWS;
    return (struct columns){done, end < all->end ? end : all->end};
}

/* Of one of a worker's blocks. */
static size_t block_floats(const struct train_pass *p)
{
    int rows = p->tokens > p->head_rows ? p->tokens : p->head_rows;
    return (size_t)rows * BACKWARD_COLS;
}

/* Of use for a moment. */
static float *third_block(const struct train_pass *p, const struct pass_worker *own)
{
    return own->block + 2 * block_floats(p);
}

/* W^T dy of some columns, by one W. */
static void multiply_by(struct train_pass *p, const struct matrix *w, const struct packed *packed,
                        const struct backward_input *in, const struct columns *c, float *to, float *scratch)
{
    for (int stretch = 0; stretch < backward_stretches(in->rows); stretch++) {
        gate_pass(p->gate);
        backward_stretch(w, packed, c->begin, c->end, stretch, in, to, BACKWARD_COLS, scratch);
    }
}

/* W^T dy of some columns; of the rows whose delta has another W, by that one. */
static void multiply(struct train_pass *p, const struct linear_backward *l, int which,
                     const struct columns *c, float *to, const struct worker *w)
{
    const struct linear *layer = layer_at(l, which);
    float *scratch = p->workers[w->index].widened, *all = third_block(p, &p->workers[w->index]);
    if (l->base[which].tokens > 0)
        multiply_by(p, &layer->weight, &layer->packed, &l->base[which], c, to, scratch);
    for (int i = 0; l->own[which].tokens > 0 && i < l->runs->count; i++) {
        const struct pass_run *run = run_at(l, i);
        const struct matrix *own = own_weight(l, run, which);
        if (!own)
            continue;
        multiply_by(p, own, NULL, &l->own[which], c, all, scratch);
        memcpy(row_at(to, run->begin, BACKWARD_COLS), row_at(all, run->begin, BACKWARD_COLS),
               (size_t)(run->end - run->begin) * BACKWARD_COLS * sizeof *to);
    }
}

/* ---- the low-rank part of some columns ---- */

static bool is_dropped(const struct linear_backward *l, const struct pass_run *run)
{
    return l->input.rows.dropout && l->input.rows.dropout[run->begin].share > 0;
}

/* The columns of rows of x as the part reads them, or of its gradient as it goes on, to out [rows,
 * BACKWARD_COLS]. */
static void drop(const struct linear_backward *l, const struct pass_run *run, int which,
                 const struct columns *c, const float *x, int stride, float *out)
{
    for (int t = run->begin; t < run->end; t++)
        dropout_row(&l->input.rows.dropout[t], layer_at(l, which)->site, c->begin, c->end - c->begin,
                    row_at(x, t, stride), row_at(out, t, BACKWARD_COLS));
}

/* to += A^T u of a run's rows. */
static void add_low(struct train_pass *p, const struct linear_backward *l, const struct pass_run *run,
                    int which, const struct columns *c, float *to, const struct pass_worker *own)
{
    const struct linear *layer = layer_at(l, which);
    const struct lowrank *part = delta_at(run->delta, layer->site);
    bool dropped = is_dropped(l, run);
    int tokens = run->end - run->begin, count = c->end - c->begin;
    float *sum = dropped ? third_block(p, own) : to;
    if (!part)
        return;
    if (dropped)
        memset(row_at(sum, run->begin, BACKWARD_COLS), 0, (size_t)tokens * BACKWARD_COLS * sizeof *sum);
    low_backward_inputs(part, layer->weight.cols, c->begin, count, low_at(p, p->low, run->begin, which),
                        low_stride(p), tokens, row_at(sum, run->begin, BACKWARD_COLS), BACKWARD_COLS,
                        own->low);
    if (!dropped)
        return;
    drop(l, run, which, c, sum, BACKWARD_COLS, sum);
    for (int t = run->begin; t < run->end; t++)
        vector_add(row_at(to, t, BACKWARD_COLS), row_at(sum, t, BACKWARD_COLS), count);
}

static void add_a(struct train_pass *p, const struct linear_backward *l, const struct pass_run *run,
                  int which, const struct columns *c, const struct pass_worker *own)
{
    const struct linear *layer = layer_at(l, which);
    const struct train_site *site = pass_site(run, layer->site);
    int in = layer->weight.cols, stride = in;
    const float *x = l->input.x + c->begin;
    if (!site)
        return;
    if (is_dropped(l, run)) {
        drop(l, run, which, c, x, in, third_block(p, own));
        x = third_block(p, own);
        stride = BACKWARD_COLS;
    }
    backward_outer(pass_gradient(run, site->a) + c->begin, in, low_at(p, p->low, run->begin, which),
                   low_stride(p), site->rank, row_at(x, run->begin, stride), stride, c->end - c->begin,
                   run->end - run->begin);
}

float *linear_backward_inputs(struct train_pass *p, const struct linear_backward *l, const struct columns *c,
                              const struct worker *w)
{
    const struct pass_worker *own = &p->workers[w->index];
    float *sum = own->block, *next = sum + block_floats(p);
    for (int which = 0; which < l->input.count; which++) {
        float *to = which == 0 ? sum : next;
        if (l->wants_dx)
            multiply(p, l, which, c, to, w);
        gate_pass(p->gate);
        for (int i = 0; i < l->runs->count; i++) {
            if (l->wants_dx)
                add_low(p, l, run_at(l, i), which, c, to, own);
            add_a(p, l, run_at(l, i), which, c, own);
        }
        for (int t = 0; l->wants_dx && which > 0 && t < l->runs->rows; t++)
            vector_add(row_at(sum, t, BACKWARD_COLS), row_at(next, t, BACKWARD_COLS), c->end - c->begin);
    }
    return sum;
}

/* Gradients of B and W for a block of the layer's outputs. */
static void add_outputs(struct train_pass *p, const struct linear_backward *l, const struct pass_run *run,
                        int which, int block)
{
    const struct linear *layer = layer_at(l, which);
    const struct train_site *site = pass_site(run, layer->site);
    int row = linear_block_row(block), count = linear_block_rows(&layer->weight, block),
        in = layer->weight.cols, out = layer->weight.rows, tokens = run->end - run->begin;
    const float *dy = row_at(l->scaled[which], run->begin, l->stride) + row,
                *x = row_at(l->input.x, run->begin, in);
    float *whole = pass_whole(run, layer->weight_parameter);
    if (site)
        backward_outer(row_at(pass_gradient(run, site->b), row, site->rank), site->rank, dy, l->stride, count,
                       low_at(p, p->forward->low, run->begin, which), low_stride(p), site->rank, tokens);
    if (whole && layer->weight.transposed)
        backward_outer(whole + row, out, x, in, in, dy, l->stride, count, tokens);
    else if (whole)
        backward_outer(row_at(whole, row, in), in, dy, l->stride, count, x, in, in, tokens);
}

void linear_backward_outputs(struct train_pass *p, const struct linear_backward *l, const struct worker *w)
{
    for (int which = 0, units = 0; which < l->input.count; which++)
        for (int block = 0; block < linear_blocks(&layer_at(l, which)->weight); block++, units++)
            if (units % w->count == w->index) {
                gate_pass(p->gate);
                for (int i = 0; i < l->runs->count; i++)
                    add_outputs(p, l, run_at(l, i), which, block);
            }
}

void linear_backward_share(struct train_pass *p, struct linear_backward *l, float *dx, const struct worker *w)
{
    int cols = layer_at(l, 0)->weight.cols;
    const struct columns all = linear_backward_columns(cols, w);
    linear_backward_prepare(p, l, w);
    for (struct columns c = linear_backward_next(&all, all.begin); c.begin < c.end;
         c = linear_backward_next(&all, c.end)) {
        const float *from = linear_backward_inputs(p, l, &c, w);
        for (int t = 0; l->wants_dx && t < l->runs->rows; t++)
            memcpy(row_at(dx, t, cols) + c.begin, row_at(from, t, BACKWARD_COLS),
                   (size_t)(c.end - c.begin) * sizeof *dx);
    }
    linear_backward_outputs(p, l, w);
    pool_barrier(p->pool);
}

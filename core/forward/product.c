#include "core/forward/product.h"

#include <assert.h>
#include <string.h>

#include "core/delta/delta_internal.h"
#include "core/forward/norm.h"
#include "core/kernels/lowrank.h"
#include "core/kernels/vector.h"

/* ---- inputs ---- */

struct input input_tokens(struct forward *f, const float *x, const struct linear *l)
{
    const struct batch *b = f->batch;
    return (struct input){.rows = {b->count, b->delta, b->dropout},
                          .step_rows = b->count,
                          .x = x,
                          .q = &f->activation,
                          .linear = {l},
                          .count = 1};
}

struct input input_wanted(struct forward *f, const float *x, const struct linear *l)
{
    return (struct input){.rows = {f->wanted, f->head_delta, f->batch->dropout ? f->head_dropout : NULL},
                          .step_rows = f->wanted,
                          .x = x,
                          .q = &f->activation,
                          .linear = {l},
                          .count = 1};
}

static int columns(const struct input *in)
{
    return in->linear[0]->weight.cols;
}

/* The rows [begin, end) alone. */
static struct input slice(const struct input *in, int begin, int end)
{
    struct input part = *in;
    part.rows = (struct rows){end - begin, in->rows.delta + begin,
                              in->rows.dropout ? in->rows.dropout + begin : NULL};
    part.first += begin;
    part.x = row_at(in->x, begin, columns(in));
    return part;
}

/* The worker's share: neighbours, which often share a delta. */
static struct input share(const struct input *in, const struct worker *w)
{
    long count = in->rows.count;
    return slice(in, (int)(count * w->index / w->count), (int)(count * (w->index + 1) / w->count));
}

static float *low_at(const struct forward *f, int row, int which)
{
    return row_at(f->low, row, f->layout.stride) + which * f->layout.slot;
}

/* The same of rows of which some numbers are dropped, each layer's own. row: room for one. */
static void shrink_dropped(const struct forward *f, const struct input *in, const struct lowrank *l,
                           int which, int t, int end, int part, int parts, float *row)
{
    int cols = columns(in);
    for (; t < end; t++) {
        dropout_row(&in->rows.dropout[t], in->linear[which]->site, 0, cols, row_at(in->x, t, cols), row);
        lowrank_shrink(l, row, (size_t)cols, 1, low_at(f, in->first + t, which), (size_t)f->layout.stride,
                       cols, l->rank * part / parts, l->rank * (part + 1) / parts);
    }
}

/* t = A x for the rows and the layers that read them: of each A, the part `part` of `parts`. row: room for
 * one row. */
static void shrink(struct forward *f, const struct input *in, int part, int parts, float *row)
{
    int cols = columns(in);
    for (int t = 0, next; f->any_delta && t < in->rows.count; t = next) {
        next = rows_run_end(in->rows, t, in->rows.count);
        for (int i = 0; i < in->count; i++) {
            const struct lowrank *l = delta_at(in->rows.delta[t], in->linear[i]->site);
            if (l && in->rows.dropout)
                shrink_dropped(f, in, l, i, t, next, part, parts, row);
            else if (l)
                lowrank_shrink(l, row_at(in->x, t, cols), (size_t)cols, next - t, low_at(f, in->first + t, i),
                               (size_t)f->layout.stride, cols, l->rank * part / parts,
                               l->rank * (part + 1) / parts);
        }
    }
}

/* `count` columns of a row from `first` on, which begins a group. */
static void quantize_columns(const struct forward *f, const struct input *in, int row, int first,
                             const float *x, int count)
{
    const struct qgemm_kernels *k = f->model->kernels;
    const struct packed *packed = &in->linear[0]->packed;
    struct activation *a = in->q;
    size_t at = (size_t)(in->first + row) * (size_t)packed->cols_padded + (size_t)first;
    k->quantize(x, count, a->q + at, a->scale + at / R16_K, a->sum + at / R16_SUM_K);
    if (a->wide && in->step_rows >= R16_WIDE_TOKENS && packed->bits == R16_INT8)
        k->widen(a->q + at, r16_pad(count), a->wide + at);
}

static void quantize(const struct forward *f, const struct input *in)
{
    for (int t = 0; in->linear[0]->packed.bits && !in->quantized && t < in->rows.count; t++)
        quantize_columns(f, in, t, 0, row_at(in->x, t, columns(in)), columns(in));
}

void input_quantize_block(const struct forward *f, const struct input *in, int block, const float *x)
{
    int first = block * LINEAR_ROWS, left = columns(in) - first;
    static_assert(LINEAR_ROWS % R16_K == 0, "a block of columns is whole groups");
    for (int t = 0; t < in->rows.count; t++)
        quantize_columns(f, in, t, first, row_at(x, t, LINEAR_ROWS), left < LINEAR_ROWS ? left : LINEAR_ROWS);
}

void input_prepare(struct forward *f, const struct input *in, const struct worker *w)
{
    struct input own = share(in, w);
    if (!f->any_delta && (in->quantized || !in->linear[0]->packed.bits))
        return;
    quantize(f, &own);
    if (in->rows.count >= w->count)
        shrink(f, &own, 0, 1, w->scratch);
    else
        shrink(f, in, w->index, w->count, w->scratch);
    pool_barrier(f->pool);
}

/* Fewer rows than workers: the norm of every row that has a delta, for this worker's part of A. */
static void normalize_few(struct forward *f, const struct norm *n, const struct input *in,
                          const struct worker *w)
{
    struct input own = share(in, w);
    for (int t = 0; t < in->rows.count; t++) {
        bool mine = t >= own.first && t < own.first + own.rows.count;
        float *h = mine ? row_at(f->h, t, n->size) : w->scratch;
        if (!mine && !in->rows.delta[t])
            continue;
        norm_row(n, in->rows.delta[t], row_at(f->x, t, n->size), h);
        struct input row = slice(in, t, t + 1);
        row.x = h;
        if (mine)
            quantize(f, &row);
        shrink(f, &row, w->index, w->count, w->scratch + n->size);
    }
}

void input_normalize(struct forward *f, const struct norm *n, const struct input *in, const struct worker *w)
{
    struct input own = share(in, w);
    if (in->rows.count < w->count) {
        normalize_few(f, n, in, w);
    } else {
        /* Where a row is read when it is quantized and never again, it gets no further than the cache. */
        bool kept = f->any_delta || !in->linear[0]->packed.bits;
        for (int t = 0; t < own.rows.count; t++) {
            float *h = kept ? row_at(f->h, own.first + t, n->size) : w->scratch;
            norm_row(n, own.rows.delta[t], row_at(f->x, own.first + t, n->size), h);
            if (in->linear[0]->packed.bits)
                quantize_columns(f, &own, t, 0, h, n->size);
        }
        shrink(f, &own, 0, 1, w->scratch);
    }
    pool_barrier(f->pool);
}

/* ---- products ---- */

/* Where a block's first output goes. */
static float *place(const struct product *p, int block)
{
    return p->y + (linear_block_row(block) - p->from);
}

static void multiply_panels(const struct forward *f, const struct packed *w, int begin, int end,
                            struct product to)
{
    struct activation x = *to.input->q;
    x.cols_padded = w->cols_padded;
    (w->bits == R16_INT8 ? f->model->kernels->multiply_int8 : f->model->kernels->multiply_int4)(
        w, begin, end, &x, to.input->rows.count, to.y, to.stride);
}

/* Whole panels go straight to y; a last one that is not whole goes through scratch. */
static void multiply_packed(const struct forward *f, const struct product *p, const struct linear *l,
                            int block, float *scratch)
{
    int row = linear_block_row(block), rows = linear_block_rows(&l->weight, block), begin = row / R16_ROWS,
        whole = rows / R16_ROWS, rest = rows % R16_ROWS;
    struct product to = *p;
    to.y = place(p, block);
    if (whole > 0)
        multiply_panels(f, &l->packed, begin, begin + whole, to);
    if (rest == 0)
        return;
    multiply_panels(f, &l->packed, begin + whole, begin + whole + 1,
                    (struct product){.input = p->input, .y = scratch, .stride = R16_ROWS});
    for (int t = 0; t < p->input->rows.count; t++)
        memcpy(row_at(to.y, t, p->stride) + whole * R16_ROWS, row_at(scratch, t, R16_ROWS),
               (size_t)rest * sizeof *scratch);
}

/* W x with a delta's own W, each run of equal deltas for itself. */
static void multiply_replaced(const struct product *p, const struct linear *l, int block, float *scratch)
{
    const struct input *in = p->input;
    for (int t = 0, end; t < in->rows.count; t = end) {
        const struct matrix *own = delta_matrix(in->rows.delta[t], l->weight_parameter);
        end = rows_run_end(in->rows, t, in->rows.count);
        if (own)
            linear_block(own, block, row_at(in->x, t, own->cols), end - t,
                         row_at(place(p, block), t, p->stride), p->stride, scratch);
    }
}

static bool all_replace(const struct linear *l, struct rows rows)
{
    for (int t = 0; t < rows.count; t++)
        if (!delta_matrix(rows.delta[t], l->weight_parameter))
            return false;
    return true;
}

/* W x of a block for all rows. */
static void multiply(const struct forward *f, const struct product *p, int block, float *scratch)
{
    const struct input *in = p->input;
    const struct linear *l = in->linear[p->which];
    bool base = !f->any_replaced || !all_replace(l, in->rows);
    if (base && l->packed.bits)
        multiply_packed(f, p, l, block, scratch);
    else if (base)
        linear_block(&l->weight, block, in->x, in->rows.count, place(p, block), p->stride, scratch);
    if (f->any_replaced)
        multiply_replaced(p, l, block, scratch);
}

/* The outputs of the rows [t, end) that come of rows of W which the delta has of its own. */
static void put_own_rows(const struct product *p, int block, int t, int end, float *scratch)
{
    const struct linear *l = p->input->linear[p->which];
    const struct own_rows *own = delta_own_rows(p->input->rows.delta[t], l->weight_parameter);
    int first = linear_block_row(block), last = first + linear_block_rows(&l->weight, block);
    for (int i = own ? own_rows_from(own, first) : 0; own && i < own->values.rows && own->index[i] < last;
         i++) {
        matrix_row(&own->values, i, scratch);
        for (int k = t; k < end; k++)
            row_at(p->y, k, p->stride)[own->index[i]] =
                vector_dot(scratch, row_at(p->input->x, k, own->values.cols), own->values.cols);
    }
}

/* What the delta of the rows [t, end) adds to a block: DoRA's factors, then the bias, then B t. */
static void add_delta(const struct forward *f, const struct product *p, int block, int t, int end)
{
    const struct linear *l = p->input->linear[p->which];
    const struct delta *delta = p->input->rows.delta[t];
    int first = linear_block_row(block), count = linear_block_rows(&l->weight, block);
    float *out = row_at(place(p, block), t, p->stride);
    const float *factor = delta_magnitude(delta, l->site),
                *bias = delta_vector(delta, l->bias_parameter, l->bias);
    const struct lowrank *part = delta_at(delta, l->site);
    for (int i = 0; (factor || bias) && i < end - t; i++) {
        if (factor)
            vector_multiply(row_at(out, i, p->stride), factor + first, count);
        if (bias)
            vector_add(row_at(out, i, p->stride), bias + first, count);
    }
    if (part)
        lowrank_expand(part, low_at(f, t, p->which), (size_t)f->layout.stride, end - t, out,
                       (size_t)p->stride, first, count);
}

void product_block(struct forward *f, const struct product *p, int block, const struct worker *w)
{
    struct rows rows = p->input->rows;
    multiply(f, p, block, w->scratch);
    for (int t = 0, end; t < rows.count; t = end) {
        end = rows_run_end(rows, t, rows.count);
        put_own_rows(p, block, t, end, w->scratch);
        add_delta(f, p, block, t, end);
    }
}

void product_share(struct forward *f, const struct product *p, const struct worker *w)
{
    const struct matrix *weight = &p->input->linear[p->which]->weight;
    for (int block = w->index; block < linear_blocks(weight); block += w->count) {
        gate_pass(f->gate);
        product_block(f, p, block, w);
    }
}

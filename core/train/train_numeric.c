#include "core/train/train_numeric.h"

#include <stdlib.h>
#include <string.h>

#include "core/delta/delta_internal.h"
#include "core/kernels/backward.h"
#include "core/kernels/lowrank.h"
#include "core/kernels/vector.h"
#include "core/model/network.h"
#include "core/train/train_random.h"

enum { ROWS = TRAIN_NUMERIC_ROWS }; /* whole tiles of LINEAR_TOKENS */

struct train_numeric {
    const struct model *model;
    int layers, widest;
    float *memory;         /* owned: all of these */
    float **x;             /* owned, [layers + 1] each layer's input [ROWS, its columns]; then the outputs */
    float *dy, *dx;        /* [ROWS, widest] */
    float *dropped;        /* [ROWS, widest]: a layer's input, some of it dropped */
    float *product;        /* [ROWS, widest]: W x + scale B A x */
    float *low, *low_back; /* [ROWS, DELTA_RANK_MAX]: A x and its gradient */
    float *prepared;       /* dy for backward_block */
    float *scratch;
    double *norms; /* owned, [widest]: of DoRA */
};

/* ---- memory ---- */

static int widest_of(const struct model *m)
{
    int widest = 0;
    for (int i = 0; i <= m->config.mlp_layers; i++)
        if (m->config.mlp_sizes[i] > widest)
            widest = m->config.mlp_sizes[i];
    return widest;
}

static size_t scratch_of(const struct model *m)
{
    size_t most = backward_scratch();
    for (int i = 0; i < m->config.mlp_layers; i++) {
        size_t forward = linear_scratch(&m->mlp[i].weight);
        most = forward > most ? forward : most;
    }
    return most;
}

/* The next `count` floats, aligned to a cache line; of NULL only their place. */
static float *take(float *memory, size_t *at, size_t count)
{
    float *place = memory ? memory + *at : NULL;
    *at += (count + 15) / 16 * 16;
    return place;
}

static size_t lay_out(struct train_numeric *n, float *memory)
{
    size_t at = 0, wide = (size_t)ROWS * (size_t)n->widest;
    float **const arrays[] = {&n->dy, &n->dx, &n->dropped, &n->product};
    for (int i = 0; i <= n->layers; i++)
        n->x[i] = take(memory, &at, (size_t)ROWS * (size_t)n->model->config.mlp_sizes[i]);
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        *arrays[i] = take(memory, &at, wide);
    n->low = take(memory, &at, (size_t)ROWS * DELTA_RANK_MAX);
    n->low_back = take(memory, &at, (size_t)ROWS * DELTA_RANK_MAX);
    n->prepared = take(memory, &at, backward_input_bytes(ROWS, n->widest, false) / sizeof(float) + 1);
    n->scratch = take(memory, &at, scratch_of(n->model));
    return at;
}

int train_numeric_new(struct train_numeric **out, const struct model *m, struct err *e)
{
    struct train_numeric *n = calloc(1, sizeof *n);
    if (!n)
        return err_memory(e);
    n->model = m;
    n->layers = m->config.mlp_layers;
    n->widest = widest_of(m);
    n->x = calloc((size_t)n->layers + 1, sizeof *n->x);
    n->norms = calloc((size_t)n->widest, sizeof *n->norms);
    size_t bytes = n->x ? lay_out(n, NULL) * sizeof *n->memory : 0;
    if (bytes > 0 && n->norms)
        n->memory = aligned_alloc(64, bytes);
    if (!n->memory) {
        train_numeric_free(n);
        return err_memory(e);
    }
    memset(n->memory, 0, bytes);
    lay_out(n, n->memory);
    *out = n;
    return 0;
}

void train_numeric_free(struct train_numeric *n)
{
    if (!n)
        return;
    free(n->memory);
    free(n->x);
    free(n->norms);
    free(n);
}

/* ---- one layer ---- */

/* What is known of it while it is computed. */
struct layer_in {
    const struct linear *linear;
    const struct matrix *weight; /* the base's or the delta's own */
    const struct lowrank *part;  /* NULL: none */
    const float *factor;         /* of DoRA, or NULL */
    const float *x;              /* [count, in] */
    int index, in, out, count;
};

static struct layer_in layer_at(const struct train_numeric *n, const struct train_numeric_job *j, int index)
{
    const struct linear *l = &n->model->mlp[index];
    const struct matrix *own = delta_matrix(j->delta, l->weight_parameter);
    return (struct layer_in){.linear = l,
                             .weight = own ? own : &l->weight,
                             .part = delta_at(j->delta, l->site),
                             .factor = delta_magnitude(j->delta, l->site),
                             .x = n->x[index],
                             .index = index,
                             .in = l->weight.cols,
                             .out = l->weight.rows,
                             .count = j->count};
}

/* By how much an input of the low-rank part counts: 0 where it is dropped. */
static float kept(const struct train_numeric_job *j, const struct layer_in *l, int row, int k)
{
    double rate = j->params ? j->options->dropout : 0;
    uint64_t place = (uint64_t)l->index << 32 | (uint64_t)k;
    if (rate <= 0)
        return 1;
    return train_random_uniform(j->rows[row].dropout_seed, place) < rate ? 0 : (float)(1 / (1 - rate));
}

/* The input of the low-rank part. */
static const float *dropped(const struct train_numeric *n, const struct train_numeric_job *j,
                            const struct layer_in *l)
{
    if (!j->params || j->options->dropout <= 0)
        return l->x;
    for (int t = 0; t < l->count; t++)
        for (int k = 0; k < l->in; k++)
            n->dropped[t * l->in + k] = l->x[t * l->in + k] * kept(j, l, t, k);
    return n->dropped;
}

static void multiply(const struct train_numeric *n, const struct layer_in *l, float *y)
{
    for (int block = 0; block < linear_blocks(l->weight); block++)
        linear_block(l->weight, block, l->x, l->count, y + linear_block_row(block), l->out, n->scratch);
}

/* As core/forward/product.c: W x, times DoRA's factors, + bias, + B A x. */
static void forward_layer(const struct train_numeric *n, const struct train_numeric_job *j, int index)
{
    struct layer_in l = layer_at(n, j, index);
    const float *bias = delta_vector(j->delta, l.linear->bias_parameter, l.linear->bias);
    float *y = n->x[index + 1];
    multiply(n, &l, y);
    for (int t = 0; t < l.count; t++) {
        if (l.factor)
            vector_multiply(y + t * l.out, l.factor, l.out);
        vector_add(y + t * l.out, bias, l.out);
    }
    if (l.part) {
        lowrank_shrink(l.part, dropped(n, j, &l), (size_t)l.in, l.count, n->low, (size_t)l.part->rank, l.in,
                       0, l.part->rank);
        for (int row = 0; row < l.out; row += LINEAR_ROWS)
            lowrank_expand(l.part, n->low, (size_t)l.part->rank, l.count, y + row, (size_t)l.out, row,
                           l.out - row < LINEAR_ROWS ? l.out - row : LINEAR_ROWS);
    }
    for (int t = 0; t < l.count && index < n->layers - 1; t++)
        vector_relu(y + t * l.out, l.out);
}

/* ---- its gradients; n->dy is of its outputs ---- */

static float *gradient(const struct train_numeric_job *j, int tensor)
{
    return tensor < 0 ? NULL : j->params->tensors[tensor].gradient;
}

static void bias_gradient(const struct train_numeric *n, const struct train_numeric_job *j,
                          const struct layer_in *l)
{
    float *g = gradient(j, j->params->whole[l->linear->bias_parameter]);
    for (int t = 0; g && t < l->count; t++)
        vector_add(g, n->dy + t * l->out, l->out);
}

/* y = m (W x + scale B A x) / norm, the norm a constant as in PEFT; n->low holds A x. */
static int magnitude_gradient(const struct train_numeric *n, const struct train_numeric_job *j,
                              const struct layer_in *l, const struct train_site *site, struct err *e)
{
    const float *b = j->params->tensors[site->b].value;
    float *g = gradient(j, site->magnitude);
    const struct delta_part part = {.site = l->linear->site,
                                    .rank = site->rank,
                                    .scale = site->scale,
                                    .a = j->params->tensors[site->a].value,
                                    .b = b};
    if (delta_dora_norms(n->model, j->delta, &part, n->norms, e) != 0)
        return -1;
    multiply(n, l, n->product);
    for (int t = 0; t < l->count; t++)
        for (int i = 0; i < l->out; i++) {
            float low = vector_dot(b + i * site->rank, n->low + t * site->rank, site->rank),
                  whole = n->product[t * l->out + i] + site->scale * low;
            g[i] += n->dy[t * l->out + i] * (float)((double)whole / n->norms[i]);
        }
    return 0;
}

static void scale_rows(float *x, float c, int count)
{
    for (int i = 0; i < count; i++)
        x[i] *= c;
}

/* n->low_back = scale dY B. */
static void low_gradient(const struct train_numeric *n, const struct train_numeric_job *j,
                         const struct layer_in *l, const struct train_site *site)
{
    const float *b = j->params->tensors[site->b].value;
    memset(n->low_back, 0, (size_t)(l->count * site->rank) * sizeof *n->low_back);
    for (int t = 0; t < l->count; t++)
        for (int i = 0; i < l->out; i++)
            vector_add_scaled(n->low_back + t * site->rank, b + i * site->rank,
                              site->scale * n->dy[t * l->out + i], site->rank);
}

static int site_gradients(const struct train_numeric *n, const struct train_numeric_job *j,
                          const struct layer_in *l, const struct train_site *site, struct err *e)
{
    const float *x = dropped(n, j, l);
    int rank = site->rank;
    lowrank_shrink(l->part, x, (size_t)l->in, l->count, n->low, (size_t)rank, l->in, 0, rank);
    if (site->magnitude >= 0 && magnitude_gradient(n, j, l, site, e) != 0)
        return -1;
    for (int t = 0; t < l->count && l->factor; t++)
        vector_multiply(n->dy + t * l->out, l->factor, l->out);
    scale_rows(n->low, site->scale, l->count * rank);
    low_gradient(n, j, l, site);
    backward_outer(gradient(j, site->b), rank, n->dy, l->out, l->out, n->low, rank, rank, l->count);
    backward_outer(gradient(j, site->a), l->in, n->low_back, rank, rank, x, l->in, l->in, l->count);
    return 0;
}

/* n->dx = dY W, and the low-rank part's. */
static void input_gradient(const struct train_numeric *n, const struct train_numeric_job *j,
                           const struct layer_in *l, const struct train_site *site)
{
    const struct backward_input in = {
        .dy = n->dy, .stride = l->out, .tokens = l->count, .rows = l->out, .prepared = n->prepared};
    backward_prepare(&in, false, 0, l->count);
    for (int begin = 0; begin < l->in; begin += BACKWARD_COLS)
        for (int stretch = 0; stretch < backward_stretches(l->out); stretch++)
            backward_stretch(l->weight, NULL, begin,
                             l->in - begin < BACKWARD_COLS ? l->in : begin + BACKWARD_COLS, stretch, &in,
                             n->dx + begin, l->in, n->scratch);
    for (int t = 0; site->a >= 0 && t < l->count; t++)
        for (int r = 0; r < site->rank; r++)
            for (int k = 0; k < l->in; k++)
                n->dx[t * l->in + k] += n->low_back[t * site->rank + r] *
                                        j->params->tensors[site->a].value[r * l->in + k] * kept(j, l, t, k);
}

/* Where ReLU let nothing through, nothing comes back; *dx and *dy change places. */
static void through_relu(struct train_numeric *n, const struct layer_in *l)
{
    float *dx = n->dx;
    for (int i = 0; i < l->count * l->in; i++)
        if (!(l->x[i] > 0))
            dx[i] = 0;
    n->dx = n->dy;
    n->dy = dx;
}

static int backward_layer(struct train_numeric *n, const struct train_numeric_job *j, int index,
                          struct err *e)
{
    struct layer_in l = layer_at(n, j, index);
    const struct train_site *site = &j->params->sites[l.linear->site];
    float *whole = gradient(j, j->params->whole[l.linear->weight_parameter]);
    bias_gradient(n, j, &l);
    if (whole)
        backward_outer(whole, l.in, n->dy, l.out, l.out, l.x, l.in, l.in, l.count);
    if (site->a >= 0 && site_gradients(n, j, &l, site, e) != 0)
        return -1;
    if (index == 0)
        return 0;
    input_gradient(n, j, &l, site);
    through_relu(n, &l);
    return 0;
}

/* ---- losses ---- */

/* Mean over the outputs; leaves the gradient in dy. */
static double squared_error(const struct train_numeric_job *j, const float *y, const float *target, int count,
                            float *dy)
{
    double share = (j->options->loss == TRAIN_HALF_MSE ? 0.5 : 1) / count, sum = 0;
    for (int i = 0; i < count; i++) {
        double off = (double)y[i] - (double)target[i];
        sum += off * off;
        dy[i] = (float)(2 * share * (double)j->weight * off);
    }
    return sum * share;
}

static double row_loss(const struct train_numeric *n, struct train_numeric_job *j, int row)
{
    int outputs = n->model->config.mlp_sizes[n->layers];
    float *y = n->x[n->layers] + row * outputs, *dy = n->dy + row * outputs;
    bool correct;
    if (j->options->loss != TRAIN_CROSS_ENTROPY)
        return squared_error(j, y, j->rows[row].target, outputs, dy);
    double loss = backward_cross_entropy(y, outputs, j->rows[row].class, j->params ? j->weight : 0, &correct);
    memcpy(dy, y, (size_t)outputs * sizeof *dy);
    j->correct += correct;
    return loss;
}

int train_numeric_run(struct train_numeric *n, struct train_numeric_job *j, struct err *e)
{
    size_t width = (size_t)n->model->config.mlp_sizes[0];
    for (int t = 0; t < j->count; t++)
        memcpy(n->x[0] + (size_t)t * width, j->rows[t].input, width * sizeof *n->x[0]);
    for (int i = 0; i < n->layers; i++)
        forward_layer(n, j, i);
    for (int t = 0; t < j->count; t++)
        j->loss += row_loss(n, j, t);
    for (int i = n->layers - 1; j->params && j->weight != 0 && i >= 0; i--)
        if (backward_layer(n, j, i, e) != 0)
            return -1;
    return 0;
}

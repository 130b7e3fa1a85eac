/* Row norms of DoRA (Liu et al. 2024): as PEFT, over W + scale B A with W as the forward pass has it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/kernels/vector.h"
#include "core/delta/delta_internal.h"
#include "core/model/network.h"

/* One row of a linear layer's W as it is multiplied: packed weights are what they unpack to. */
static void served_row(const struct linear *l, const struct matrix *own, int row, float *out)
{
    if (own)
        matrix_row(own, row, out);
    else if (l->packed.bits)
        qgemm_unpack_row(&l->packed, row, out);
    else
        matrix_row(&l->weight, row, out);
}

/* Rows, or a table's columns, that are computed together. */
enum { BAND = LINEAR_ROWS };

struct room {
    float *row; /* [columns of W as it is read] */
    float *low; /* [BAND, the same]: scale B A */
    float *x;   /* [BAND, rank]: what is multiplied with the other factor */
};

static int room_init(struct room *r, int columns, int rank, struct err *e)
{
    r->row = malloc((size_t)columns * sizeof *r->row);
    r->low = malloc((size_t)columns * BAND * sizeof *r->low);
    r->x = calloc((size_t)rank * BAND, sizeof *r->x);
    return r->row && r->low && r->x ? 0 : err_memory(e);
}

static void room_fini(struct room *r)
{
    free(r->row);
    free(r->low);
    free(r->x);
}

/* low = x W' for `count` rows of x. */
static void multiply(const struct matrix *w, const struct room *r, int count)
{
    for (int block = 0; block < linear_blocks(w); block++)
        linear_block(w, block, r->x, count, r->low + linear_block_row(block), w->rows, NULL);
}

static void linear_norms(const struct model *m, const struct delta *d, const struct delta_part *p,
                         const struct room *r, double *norms)
{
    const struct linear *l = m->site_linear[p->site];
    const struct matrix *own = delta_matrix(d, l->weight_parameter);
    int in = l->weight.cols, rows = l->weight.rows;
    const struct matrix a = {
        .data = p->a, .dtype = DTYPE_F32, .rows = in, .cols = p->rank, .transposed = true};
    for (int first = 0; first < rows; first += BAND) {
        int count = rows - first < BAND ? rows - first : BAND;
        for (int i = 0; i < count * p->rank; i++)
            r->x[i] = p->scale * p->b[(size_t)first * (size_t)p->rank + (size_t)i];
        multiply(&a, r, count);
        for (int i = 0; i < count; i++) {
            served_row(l, own, first + i, r->row);
            vector_add(r->row, r->low + (size_t)i * (size_t)in, in);
            norms[first + i] = sqrt((double)vector_dot(r->row, r->row, in));
        }
    }
}

/* A table holds W turned: its columns are what DoRA calls rows. */
static void table_norms(const struct model *m, const struct delta *d, const struct delta_part *p,
                        const struct room *r, double *norms)
{
    const struct table *t = p->site == m->embed.site ? &m->embed : &m->positions;
    const struct matrix *own = delta_matrix(d, t->weight_parameter), *w = &t->weight;
    const struct matrix b = {.data = p->b, .dtype = DTYPE_F32, .rows = w->cols, .cols = p->rank};
    memset(norms, 0, (size_t)w->cols * sizeof *norms);
    for (int first = 0; first < w->rows; first += BAND) {
        int count = w->rows - first < BAND ? w->rows - first : BAND;
        for (int i = 0; i < count; i++)
            for (int k = 0; k < p->rank; k++)
                r->x[i * p->rank + k] = p->scale * p->a[(size_t)k * (size_t)w->rows + (size_t)(first + i)];
        multiply(&b, r, count);
        for (int i = 0; i < count; i++) {
            table_row(t, own, first + i, r->row);
            vector_add(r->row, r->low + (size_t)i * (size_t)w->cols, w->cols);
            for (int k = 0; k < w->cols; k++)
                norms[k] += (double)r->row[k] * (double)r->row[k];
        }
    }
    for (int i = 0; i < w->cols; i++)
        norms[i] = sqrt(norms[i]);
}

int delta_dora_norms(const struct model *m, const struct delta *d, const struct delta_part *p, double *out,
                     struct err *e)
{
    const struct site *s = &m->sites[p->site];
    bool table = s->kind == SITE_EMBEDDING;
    struct room r;
    int result = room_init(&r, table ? s->out : s->in, p->rank, e);
    if (result == 0)
        (table ? table_norms : linear_norms)(m, d, p, &r, out);
    room_fini(&r);
    return result;
}

int delta_dora(const struct model *m, const struct delta *d, const struct delta_part *p, float *out,
               struct err *e)
{
    const struct site *s = &m->sites[p->site];
    double *norms = malloc((size_t)s->out * sizeof *norms);
    int result = norms ? delta_dora_norms(m, d, p, norms, e) : err_memory(e);
    for (int i = 0; i < s->out && result == 0; i++) {
        out[i] = (float)((double)p->magnitude[i] / norms[i]);
        if (!isfinite(norms[i]) || !isfinite(out[i]))
            result = err_set(e, "adapter_not_finite",
                             "%.200s: row %d has magnitude %g, but norm %g in the base with the adapter",
                             s->path, i, (double)p->magnitude[i], norms[i]);
    }
    free(norms);
    return result;
}

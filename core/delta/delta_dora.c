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

static void linear_norms(const struct model *m, const struct delta *d, const struct delta_part *p, float *row,
                         double *norms)
{
    const struct linear *l = m->site_linear[p->site];
    const struct matrix *own = delta_matrix(d, l->weight_parameter);
    int in = l->weight.cols;
    for (int i = 0; i < l->weight.rows; i++) {
        served_row(l, own, i, row);
        for (int r = 0; r < p->rank; r++)
            vector_add_scaled(row, p->a + (size_t)r * (size_t)in,
                              p->scale * p->b[(size_t)i * (size_t)p->rank + (size_t)r], in);
        norms[i] = sqrt((double)vector_dot(row, row, in));
    }
}

/* A table holds W turned: its columns are what DoRA calls rows. */
static void table_norms(const struct model *m, const struct delta *d, const struct delta_part *p, float *row,
                        double *norms)
{
    const struct table *t = p->site == m->embed.site ? &m->embed : &m->positions;
    const struct matrix *own = delta_matrix(d, t->weight_parameter), *w = &t->weight;
    memset(norms, 0, (size_t)w->cols * sizeof *norms);
    for (int k = 0; k < w->rows; k++) {
        table_row(t, own, k, row);
        for (int i = 0; i < w->cols; i++) {
            float sum = 0;
            for (int r = 0; r < p->rank; r++)
                sum += p->b[(size_t)i * (size_t)p->rank + (size_t)r] *
                       p->a[(size_t)r * (size_t)w->rows + (size_t)k];
            double value = (double)(row[i] + p->scale * sum);
            norms[i] += value * value;
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
    float *row = malloc((size_t)(table ? s->out : s->in) * sizeof *row);
    if (!row)
        return err_memory(e);
    (table ? table_norms : linear_norms)(m, d, p, row, out);
    free(row);
    return 0;
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

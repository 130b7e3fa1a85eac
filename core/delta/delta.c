#include "core/delta/delta.h"

#include <assert.h>
#include <string.h>

#include "core/delta/delta_internal.h"
#include "core/model/model.h"
#include "core/model/network.h"

/* ---- replaced tensors ---- */

static size_t parameter_elements(const struct parameter *s)
{
    return (size_t)s->rows * (size_t)(s->cols ? s->cols : 1);
}

/* The place of an earlier replacement with the same values, or of this one. */
static const struct delta_replacement *first_of(const struct delta_source *s, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (s->replacements[i].values == s->replacements[index].values)
            return &s->replacements[i];
    return &s->replacements[index];
}

static struct matrix parameter_matrix(const struct parameter *s, bool bf16)
{
    bool narrow = bf16 && s->cols > 0;
    return (struct matrix){.dtype = narrow ? DTYPE_BF16 : DTYPE_F32,
                           .rows = s->transposed ? s->cols : s->rows,
                           .cols = s->transposed ? s->rows : s->cols,
                           .transposed = s->transposed};
}

static bool copy_values(const struct delta *d, const struct matrix *w, const float *values, size_t count)
{
    if (w->dtype != DTYPE_F32)
        return delta_put(d, (void *)w->data, 0, values, count);
    memcpy((void *)w->data, values, count * sizeof *values);
    return true;
}

static int fill_replaced(struct delta *d, const struct model *m, const struct delta_source *s, size_t *at,
                         struct err *e)
{
    size_t count;
    const struct parameter *parameters = model_parameters(m, &count);
    const struct site *sites = model_sites(m, &count);
    for (size_t i = 0; i < s->replacement_count; i++) {
        const struct delta_replacement *own = &s->replacements[i], *first = first_of(s, i);
        const struct parameter *parameter = &parameters[own->parameter];
        struct matrix w = parameter_matrix(parameter, d->bf16);
        w.data = own == first ? delta_carve(d, at, parameter_elements(parameter) * dtype_size(w.dtype))
                              : d->replaced[first->parameter].data;
        if (own == first && !copy_values(d, &w, own->values, parameter_elements(parameter)))
            return err_set(e, "adapter_not_finite", "%.200s.%s: a value does not fit bf16", parameter->path,
                           parameter->leaf);
        d->replaced[own->parameter] = w;
        if (parameter->cols == 0 || parameter->site < 0 || sites[parameter->site].kind == SITE_EMBEDDING)
            continue;
        d->replaces_layer = true;
        if (linear_check(&w, e) != 0)
            return -1;
    }
    return 0;
}

/* ---- low-rank parts ---- */

static bool fill_a(const struct delta *d, const struct site *s, const struct lowrank *l, const float *a)
{
    if (s->kind != SITE_EMBEDDING)
        return delta_put(d, (void *)l->a, 0, a, (size_t)l->rank * (size_t)s->in);
    bool finite = true;
    for (int r = 0; r < l->rank; r++)
        for (int k = 0; k < s->in; k++)
            finite &= delta_put(d, (void *)l->a, delta_a_at(s, l->rank, r, k),
                                &a[(size_t)r * (size_t)s->in + (size_t)k], 1);
    return finite;
}

/* B with the scale and, of DoRA, the rows' factors folded in. */
static bool fill_b(const struct delta *d, const struct site *s, const struct lowrank *l, const float *b,
                   float scale, const float *factor)
{
    bool finite = true;
    for (int row = 0; row < s->out; row += LINEAR_ROWS) {
        int rows = s->out - row < LINEAR_ROWS ? s->out - row : LINEAR_ROWS;
        float scales[LINEAR_ROWS], column[LINEAR_ROWS];
        for (int i = 0; i < rows; i++)
            scales[i] = factor ? scale * factor[row + i] : scale;
        for (int r = 0; r < l->rank; r++) {
            for (int i = 0; i < rows; i++)
                column[i] = scales[i] * b[(size_t)(row + i) * (size_t)l->rank + (size_t)r];
            finite &= delta_put(d, (void *)l->b, lowrank_b_at(l->rank, row, r), column, (size_t)rows);
        }
    }
    return finite;
}

/* False where a number is not finite. */
static bool fill_part(struct delta *d, const struct model *m, const struct delta_part *p, size_t *at)
{
    size_t count;
    const struct site *s = &model_sites(m, &count)[p->site];
    const struct lowrank *l = &d->sites[p->site].lowrank;
    delta_put_site(d, m, p->site, p->rank, at);
    return fill_a(d, s, l, p->a) && fill_b(d, s, l, p->b, p->scale, delta_magnitude(d, p->site));
}

int delta_source_part(const struct delta_source *s, size_t index, struct delta_part *out, struct err *e)
{
    struct delta_part part = s->parts[index];
    if (s->read && s->read(s->arg, &part, e) != 0)
        return -1;
    *out = part;
    return 0;
}

static int fill_parts(struct delta *d, const struct model *m, const struct delta_source *s, size_t *at,
                      struct err *e)
{
    size_t count;
    const struct site *sites = model_sites(m, &count);
    for (size_t i = 0; i < s->count; i++) {
        struct delta_part p;
        if (delta_source_part(s, i, &p, e) != 0)
            return -1;
        const struct site *site = &sites[p.site];
        if (p.has[DELTA_MAGNITUDE]) {
            float *factor = delta_carve(d, at, (size_t)site->out * sizeof *factor);
            if (delta_dora(m, d, &p, factor, e) != 0)
                return -1;
            d->sites[p.site].magnitude = factor;
            d->dora = true;
        }
        if (!fill_part(d, m, &p, at))
            return err_set(e, "adapter_not_finite", "%.200s: A, or scale %g times B, is not finite",
                           site->path, (double)p.scale);
    }
    return 0;
}

/* ---- the whole ---- */

static size_t source_bytes(const struct model *m, const struct delta_source *s, struct delta_kinds *kinds)
{
    size_t count, at = 0;
    const struct parameter *parameters = model_parameters(m, &count);
    const struct site *sites = model_sites(m, &count);
    bool bf16 = model_info(m)->precision != PRECISION_EXACT;
    *kinds = (struct delta_kinds){.replaced = s->replacement_count > 0, .rows = s->rows_count > 0};
    for (size_t i = 0; i < s->replacement_count; i++) {
        const struct parameter *parameter = &parameters[s->replacements[i].parameter];
        if (first_of(s, i) == &s->replacements[i])
            delta_carve(NULL, &at,
                        parameter_elements(parameter) * dtype_size(parameter_matrix(parameter, bf16).dtype));
    }
    for (size_t i = 0; i < s->count; i++) {
        const struct site *site = &sites[s->parts[i].site];
        delta_place(NULL, bf16, site, s->parts[i].rank, &at);
        if (s->parts[i].has[DELTA_MAGNITUDE])
            delta_carve(NULL, &at, (size_t)site->out * sizeof(float));
    }
    delta_rows_size(m, s, &at);
    return at;
}

static int fill(struct delta *d, const struct model *m, const struct delta_source *s, struct err *e)
{
    size_t at = 0;
    if (fill_replaced(d, m, s, &at, e) != 0 || fill_parts(d, m, s, &at, e) != 0)
        return -1;
    return delta_rows_fill(d, m, s, &at, e);
}

int delta_new(struct delta **out, const struct model *m, const struct delta_source *s, struct err *e)
{
    struct delta *d;
    struct delta_kinds kinds;
    size_t bytes = source_bytes(m, s, &kinds);
    if (delta_allocate(&d, m, bytes, kinds, e) != 0)
        return -1;
    if (fill(d, m, s, e) != 0) {
        delta_unref(d);
        return -1;
    }
    d->head = head_ref(s->head);
    d->vocab = s->vocab;
    d->bytes += s->head ? head_bytes(s->head) : 0;
    *out = d;
    return 0;
}

int delta_refill(struct delta *d, const struct model *m, const struct delta_source *s, struct err *e)
{
    struct delta_kinds kinds;
    assert(atomic_load_explicit(&d->references, memory_order_relaxed) == 1);
    assert(source_bytes(m, s, &kinds) == d->memory_bytes);
    (void)kinds;
    return fill(d, m, s, e);
}

struct head *delta_head(const struct delta *d, const struct model *m)
{
    return d && d->head ? d->head : m->head;
}

struct delta *delta_ref(struct delta *d)
{
    if (d)
        atomic_fetch_add_explicit(&d->references, 1, memory_order_relaxed);
    return d;
}

void delta_unref(struct delta *d)
{
    if (d && atomic_fetch_sub_explicit(&d->references, 1, memory_order_acq_rel) == 1)
        delta_release(d);
}

size_t delta_bytes(const struct delta *d)
{
    return d->bytes;
}

int delta_vocab(const struct delta *d, const struct model *m)
{
    return d && d->vocab ? d->vocab : m->info.vocab_size;
}

int delta_tokens(const struct delta *d, const struct model *m, int32_t *out, int limit)
{
    const struct own_rows *r = delta_own_rows(d, m->embed.weight_parameter);
    int rows = r ? own_rows_from(r, m->info.vocab_size) : 0, count = rows < limit ? rows : limit;
    for (int i = 0; i < count; i++)
        out[i] = r->index[(int64_t)i * rows / count];
    return count;
}

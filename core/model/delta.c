#include "core/model/delta.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "core/kernels/bf16.h"
#include "core/model/delta_internal.h"
#include "core/model/model.h"

struct delta {
    atomic_int references;
    size_t bytes;
    bool bf16;             /* otherwise f32: the precision of the model decides */
    struct lowrank *sites; /* owned, one per site of the model; rank 0: not changed */
    char *memory;          /* owned: all A and B */
};

static size_t part_elements(const struct site *s, const struct delta_part *p)
{
    return (size_t)p->rank * (size_t)s->in + lowrank_b_elements(p->rank, s->out);
}

static bool put(const struct delta *d, size_t index, float value)
{
    if (d->bf16) {
        ((uint16_t *)d->memory)[index] = bf16_of(value);
        return isfinite(bf16_widen(bf16_of(value)));
    }
    ((float *)d->memory)[index] = value;
    return isfinite(value);
}

/* Puts A and the scaled B behind the first `at` elements; false where one is not finite. */
static bool fill_part(struct delta *d, const struct site *s, const struct delta_part *p, size_t at)
{
    size_t rank = (size_t)p->rank, in = (size_t)s->in, rows = (size_t)s->out, b = at + rank * in;
    size_t size = d->bf16 ? sizeof(uint16_t) : sizeof(float);
    bool finite = true;
    for (size_t i = 0; i < rank * in; i++)
        finite &= put(d, at + i, p->a[i]);
    for (size_t row = 0; row < rows; row++)
        for (size_t r = 0; r < rank; r++)
            finite &= put(d, b + lowrank_b_at(p->rank, (int)row, (int)r), p->scale * p->b[row * rank + r]);
    d->sites[p->site] = (struct lowrank){
        .rank = p->rank, .bf16 = d->bf16, .a = d->memory + at * size, .b = d->memory + b * size};
    return finite;
}

static int fill(struct delta *d, const struct site *sites, const struct delta_source *s, struct err *e)
{
    size_t at = 0;
    for (size_t i = 0; i < s->count; i++) {
        const struct delta_part *p = &s->parts[i];
        if (!fill_part(d, &sites[p->site], p, at))
            return err_set(e, "adapter_not_finite", "%.200s: A, or scale %g times B, is not finite",
                           sites[p->site].path, (double)p->scale);
        at += part_elements(&sites[p->site], p);
    }
    return 0;
}

int delta_new(struct delta **out, const struct model *m, const struct delta_source *s, struct err *e)
{
    size_t site_count, elements = 0;
    const struct site *sites = model_sites(m, &site_count);
    for (size_t i = 0; i < s->count; i++)
        elements += part_elements(&sites[s->parts[i].site], &s->parts[i]);
    struct delta *d = calloc(1, sizeof *d);
    if (!d)
        return err_memory(e);
    atomic_init(&d->references, 1);
    d->bf16 = model_info(m)->precision != PRECISION_EXACT;
    size_t bytes = elements * (d->bf16 ? sizeof(uint16_t) : sizeof(float));
    d->sites = calloc(site_count, sizeof *d->sites);
    d->memory = calloc(1, bytes + 1);
    d->bytes = sizeof *d + site_count * sizeof *d->sites + bytes;
    int result = d->sites && d->memory ? fill(d, sites, s, e) : err_memory(e);
    if (result != 0) {
        delta_unref(d);
        return -1;
    }
    *out = d;
    return 0;
}

struct delta *delta_ref(struct delta *d)
{
    if (d)
        atomic_fetch_add_explicit(&d->references, 1, memory_order_relaxed);
    return d;
}

void delta_unref(struct delta *d)
{
    if (!d || atomic_fetch_sub_explicit(&d->references, 1, memory_order_acq_rel) != 1)
        return;
    free(d->sites);
    free(d->memory);
    free(d);
}

size_t delta_bytes(const struct delta *d)
{
    return d->bytes;
}

const struct lowrank *delta_at(const struct delta *d, int site)
{
    return d && d->sites[site].rank > 0 ? &d->sites[site] : NULL;
}

/* A delta's memory: one piece for all numbers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/delta/delta_internal.h"
#include "core/format/bf16.h"
#include "core/kernels/vector.h"
#include "core/model/model.h"
#include "core/system/hugepage.h"

enum { ALIGNMENT = 64 };

int delta_allocate(struct delta **out, const struct model *m, size_t bytes, struct delta_kinds kinds,
                   struct err *e)
{
    size_t sites, parameters;
    model_sites(m, &sites);
    model_parameters(m, &parameters);
    struct delta *d = calloc(1, sizeof *d);
    if (!d)
        return err_memory(e);
    atomic_init(&d->references, 1);
    d->bf16 = model_info(m)->precision != PRECISION_EXACT;
    d->bytes = sizeof *d + sites * sizeof *d->sites + bytes;
    d->sites = calloc(sites, sizeof *d->sites);
    d->memory = hugepage_new(bytes);
    d->memory_bytes = bytes;
    if (kinds.replaced)
        d->replaced = calloc(parameters, sizeof *d->replaced);
    if (kinds.rows)
        d->rows = calloc(parameters, sizeof *d->rows);
    d->bytes += (kinds.replaced ? parameters * sizeof *d->replaced : 0) +
                (kinds.rows ? parameters * sizeof *d->rows : 0);
    bool complete = d->sites && d->memory && (d->replaced || !kinds.replaced) && (d->rows || !kinds.rows);
    if (complete) {
        *out = d;
        return 0;
    }
    delta_release(d);
    return err_memory(e);
}

void *delta_carve(const struct delta *d, size_t *at, size_t bytes)
{
    void *place = d ? d->memory + *at : NULL;
    *at += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return place;
}

bool delta_put(const struct delta *d, void *numbers, size_t index, const float *values, size_t count)
{
    if (d->bf16)
        return dtype_narrow_bf16(values, (uint16_t *)numbers + index, count);
    memcpy((float *)numbers + index, values, count * sizeof *values);
    return isfinite(vector_largest(values, count));
}

float delta_get(const struct delta *d, const void *numbers, size_t index)
{
    return d->bf16 ? bf16_widen(((const uint16_t *)numbers)[index]) : ((const float *)numbers)[index];
}

struct lowrank delta_place(const struct delta *d, bool bf16, const struct site *s, int rank, size_t *at)
{
    size_t size = bf16 ? sizeof(uint16_t) : sizeof(float);
    struct lowrank l = {.rank = rank, .bf16 = bf16};
    l.a = delta_carve(d, at, (size_t)rank * (size_t)s->in * size);
    l.b = delta_carve(d, at, lowrank_b_elements(rank, s->out) * size);
    return l;
}

void delta_put_site(struct delta *d, const struct model *m, int site, int rank, size_t *at)
{
    size_t count;
    d->sites[site].lowrank = delta_place(d, d->bf16, &model_sites(m, &count)[site], rank, at);
    d->rank_max = rank > d->rank_max ? rank : d->rank_max;
}

size_t delta_a_at(const struct site *s, int rank, int r, int k)
{
    return s->kind == SITE_EMBEDDING ? (size_t)k * (size_t)rank + (size_t)r
                                     : (size_t)r * (size_t)s->in + (size_t)k;
}

void delta_release(struct delta *d)
{
    if (!d)
        return;
    head_unref(d->head);
    free(d->sites);
    free(d->replaced);
    free(d->rows);
    hugepage_free(d->memory, d->memory_bytes);
    free(d);
}

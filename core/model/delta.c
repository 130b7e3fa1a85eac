#include "core/model/delta.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/delta_internal.h"
#include "core/model/model.h"

struct delta {
    atomic_int references;
    size_t bytes;
    size_t site_count;
    struct lowrank *sites; /* owned, [site_count]; rank 0: not changed */
    float *memory;         /* owned: all A and B */
};

static size_t part_floats(const struct site *s, const struct delta_part *p)
{
    return (size_t)p->rank * ((size_t)s->in + (size_t)s->out);
}

/* Copies A and the transposed, scaled B; returns the first float behind them, or NULL where one is not
 * finite. */
static float *fill_part(struct lowrank *out, const struct site *s, const struct delta_part *p, float *memory)
{
    size_t rank = (size_t)p->rank, in = (size_t)s->in, rows = (size_t)s->out;
    float *a = memory, *bt = memory + rank * in;
    memcpy(a, p->a, rank * in * sizeof *a);
    for (size_t row = 0; row < rows; row++)
        for (size_t r = 0; r < rank; r++) {
            float scaled = p->scale * p->b[row * rank + r];
            if (!isfinite(scaled))
                return NULL;
            bt[r * rows + row] = scaled;
        }
    *out = (struct lowrank){.rank = p->rank, .a = a, .bt = bt};
    return bt + rank * rows;
}

static int fill(struct delta *d, const struct site *sites, const struct delta_source *s, struct err *e)
{
    float *memory = d->memory;
    for (size_t i = 0; i < s->count; i++) {
        const struct delta_part *p = &s->parts[i];
        memory = fill_part(&d->sites[p->site], &sites[p->site], p, memory);
        if (!memory)
            return err_set(e, "adapter_not_finite", "%.200s: scale %g times B is not finite",
                           sites[p->site].path, (double)p->scale);
    }
    return 0;
}

int delta_new(struct delta **out, const struct model *m, const struct delta_source *s, struct err *e)
{
    size_t site_count, floats = 0;
    const struct site *sites = model_sites(m, &site_count);
    for (size_t i = 0; i < s->count; i++)
        floats += part_floats(&sites[s->parts[i].site], &s->parts[i]);
    struct delta *d = calloc(1, sizeof *d);
    if (!d)
        return err_memory(e);
    atomic_init(&d->references, 1);
    d->site_count = site_count;
    d->sites = calloc(site_count, sizeof *d->sites);
    d->memory = malloc((floats + 1) * sizeof *d->memory);
    d->bytes = sizeof *d + site_count * sizeof *d->sites + floats * sizeof *d->memory;
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

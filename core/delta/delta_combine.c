/* Several deltas as one: their ranks one behind the other, each with its scale in B. */
#include "core/delta/delta.h"
#include "core/delta/delta_internal.h"
#include "core/model/model.h"

struct parts {
    struct delta *const *deltas;
    const float *scales;
    size_t count;
};

static int rank_at(const struct parts *p, size_t site)
{
    int rank = 0;
    for (size_t i = 0; i < p->count; i++)
        rank += p->deltas[i]->sites[site].lowrank.rank;
    return rank;
}

/* Of what does not add up; NULL: it all does. */
static const char *obstacle(const struct delta *d)
{
    return d->dora                  ? "uses DoRA"
           : d->vocab               ? "has tokens of its own"
           : d->head                ? "has a head of its own"
           : d->replaced || d->rows ? "replaces tensors of the base"
                                    : NULL;
}

static int check(const struct model *m, const struct parts *p, struct err *e)
{
    size_t sites;
    const struct site *all = model_sites(m, &sites);
    for (size_t i = 0; i < p->count; i++)
        if (obstacle(p->deltas[i]))
            return err_set(e, "adapter_unsupported_feature",
                           "adapter %zu of the list %s, which cannot be combined", i + 1,
                           obstacle(p->deltas[i]));
    for (size_t site = 0; site < sites; site++)
        if (rank_at(p, site) > DELTA_RANK_MAX)
            return err_set(e, "adapter_rank_too_large",
                           "module %.200s: the adapters have rank %d together; at most %d is supported",
                           all[site].path, rank_at(p, site), DELTA_RANK_MAX);
    return 0;
}

/* `count` neighbours, each times scale; false where one is not finite. */
static bool copy_run(const struct delta *d, const void *to, size_t to_at, const struct delta *source,
                     const void *from, size_t from_at, size_t count, float scale)
{
    enum { RUN = 256 };
    float values[RUN];
    bool finite = true;
    for (size_t done = 0; done < count; done += RUN) {
        size_t n = count - done < RUN ? count - done : RUN;
        for (size_t i = 0; i < n; i++)
            values[i] = scale * delta_get(source, from, from_at + done + i);
        finite &= delta_put(d, (void *)to, to_at + done, values, n);
    }
    return finite;
}

/* Ranks [first, first + from->rank) of `to`. */
static bool copy_part(const struct delta *d, const struct delta *source, const struct site *s,
                      const struct lowrank *from, const struct lowrank *to, int first, float scale)
{
    bool finite = true, turned = s->kind == SITE_EMBEDDING;
    int lines = turned ? s->in : from->rank, length = turned ? from->rank : s->in;
    for (int i = 0; i < lines; i++)
        copy_run(d, to->a, delta_a_at(s, to->rank, first + (turned ? 0 : i), turned ? i : 0), source, from->a,
                 (size_t)i * (size_t)length, (size_t)length, 1);
    for (int row = 0; row < s->out; row += LINEAR_ROWS)
        for (int r = 0; r < from->rank; r++) {
            int rows = s->out - row < LINEAR_ROWS ? s->out - row : LINEAR_ROWS;
            finite &= copy_run(d, to->b, lowrank_b_at(to->rank, row, first + r), source, from->b,
                               lowrank_b_at(from->rank, row, r), (size_t)rows, scale);
        }
    return finite;
}

static int fill_site(struct delta *d, const struct model *m, const struct parts *p, size_t site, size_t *at,
                     struct err *e)
{
    size_t count;
    const struct site *s = &model_sites(m, &count)[site];
    int rank = rank_at(p, site), first = 0;
    if (rank == 0)
        return 0;
    delta_put_site(d, m, (int)site, rank, at);
    for (size_t i = 0; i < p->count; i++) {
        const struct lowrank *from = &p->deltas[i]->sites[site].lowrank;
        if (!copy_part(d, p->deltas[i], s, from, &d->sites[site].lowrank, first, p->scales[i]))
            return err_set(e, "adapter_not_finite", "%.200s: B times scale %g is not finite", s->path,
                           (double)p->scales[i]);
        first += from->rank;
    }
    return 0;
}

int delta_combine(struct delta **out, const struct model *m, struct delta *const *deltas, const float *scales,
                  size_t count, struct err *e)
{
    const struct parts p = {deltas, scales, count};
    size_t sites, bytes = 0, at = 0;
    const struct site *all = model_sites(m, &sites);
    struct delta *d;
    if (check(m, &p, e) != 0)
        return -1;
    for (size_t site = 0; site < sites; site++)
        if (rank_at(&p, site) > 0)
            delta_place(NULL, model_info(m)->precision != PRECISION_EXACT, &all[site], rank_at(&p, site),
                        &bytes);
    if (delta_allocate(&d, m, bytes, (struct delta_kinds){false, false}, e) != 0)
        return -1;
    for (size_t site = 0; site < sites; site++)
        if (fill_site(d, m, &p, site, &at, e) != 0) {
            delta_unref(d);
            return -1;
        }
    *out = d;
    return 0;
}

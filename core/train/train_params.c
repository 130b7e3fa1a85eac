/* Includes delta_internal.h for the norms of DoRA. */
#include "core/train/train_params.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/delta/delta_internal.h"
#include "core/system/hugepage.h"
#include "core/train/train_random.h"

enum { ARRAYS = 4 }; /* value, gradient, first, second */

/* ---- shapes ---- */

static size_t elements(int rows, int cols)
{
    return (size_t)rows * (size_t)(cols ? cols : 1);
}

static struct train_tensor shape_of(enum train_kind kind, int site, int parameter, int rows, int cols)
{
    return (struct train_tensor){.kind = kind,
                                 .site = site,
                                 .parameter = parameter,
                                 .rows = rows,
                                 .cols = cols,
                                 .decays = cols > 0, /* vectors are norms, biases and magnitudes */
                                 .count = elements(rows, cols)};
}

static int add_tensor(struct train_params *p, struct train_tensor t)
{
    p->tensors[p->count] = t;
    p->numbers += t.count;
    return p->count++;
}

static void add_site(struct train_params *p, const struct train_site_plan *plan)
{
    size_t count;
    const struct site *s = &model_sites(p->model, &count)[plan->site];
    struct train_site *site = &p->sites[plan->site];
    site->rank = plan->rank;
    site->scale = plan->scale;
    site->a = add_tensor(p, shape_of(TRAIN_A, plan->site, -1, plan->rank, s->in));
    site->b = add_tensor(p, shape_of(TRAIN_B, plan->site, -1, s->out, plan->rank));
    if (plan->dora)
        site->magnitude = add_tensor(p, shape_of(TRAIN_MAGNITUDE, plan->site, -1, s->out, 0));
}

static void add_whole(struct train_params *p, int parameter)
{
    size_t count;
    const struct parameter *w = &model_parameters(p->model, &count)[parameter];
    p->whole[parameter] = add_tensor(p, shape_of(TRAIN_WHOLE, -1, parameter, w->rows, w->cols));
}

/* ---- memory ---- */

static size_t tensors_max(const struct train_plan *plan)
{
    return 3 * plan->site_count + plan->whole_count;
}

static int allocate_lists(struct train_params *p, const struct train_plan *plan, struct err *e)
{
    size_t sites, parameters;
    model_sites(p->model, &sites);
    model_parameters(p->model, &parameters);
    p->tensors = calloc(tensors_max(plan) + 1, sizeof *p->tensors);
    p->sites = calloc(sites + 1, sizeof *p->sites);
    p->whole = calloc(parameters + 1, sizeof *p->whole);
    if (!p->tensors || !p->sites || !p->whole)
        return err_memory(e);
    for (size_t i = 0; i < sites; i++)
        p->sites[i] = (struct train_site){.a = -1, .b = -1, .magnitude = -1};
    for (size_t i = 0; i < parameters; i++)
        p->whole[i] = -1;
    return 0;
}

static int allocate_numbers(struct train_params *p, struct err *e)
{
    p->memory = hugepage_new(ARRAYS * p->numbers * sizeof *p->memory);
    if (!p->memory)
        return err_memory(e);
    float *at = p->memory;
    for (int i = 0; i < p->count; at += p->tensors[i++].count) {
        struct train_tensor *t = &p->tensors[i];
        t->value = at;
        t->gradient = at + p->numbers;
        t->first = at + 2 * p->numbers;
        t->second = at + 3 * p->numbers;
    }
    return 0;
}

/* Everything in its place, all zero. */
static int params_allocate(struct train_params **out, const struct model *m, const struct train_plan *plan,
                           struct err *e)
{
    struct train_params *p = calloc(1, sizeof *p);
    if (!p)
        return err_memory(e);
    *out = p;
    p->model = m;
    if (allocate_lists(p, plan, e) != 0)
        return -1;
    for (size_t i = 0; i < plan->site_count; i++)
        add_site(p, &plan->sites[i]);
    for (size_t i = 0; i < plan->whole_count; i++)
        add_whole(p, plan->whole[i]);
    return allocate_numbers(p, e);
}

size_t train_params_bytes(const struct model *m, const struct train_plan *plan)
{
    size_t sites, parameters, numbers = 0;
    const struct site *s = model_sites(m, &sites);
    const struct parameter *w = model_parameters(m, &parameters);
    for (size_t i = 0; i < plan->site_count; i++) {
        const struct train_site_plan *site = &plan->sites[i];
        numbers += (size_t)site->rank * (size_t)(s[site->site].in + s[site->site].out) +
                   (site->dora ? (size_t)s[site->site].out : 0);
    }
    for (size_t i = 0; i < plan->whole_count; i++)
        numbers += elements(w[plan->whole[i]].rows, w[plan->whole[i]].cols);
    return sizeof(struct train_params) + (tensors_max(plan) + 1) * sizeof(struct train_tensor) +
           (sites + 1) * sizeof(struct train_site) + (parameters + 1) * sizeof(int) +
           ARRAYS * numbers * sizeof(float);
}

void train_params_free(struct train_params *p)
{
    if (!p)
        return;
    hugepage_free(p->memory, ARRAYS * p->numbers * sizeof *p->memory);
    free(p->tensors);
    free(p->sites);
    free(p->whole);
    free(p);
}

/* ---- first values ---- */

/* He et al. 2015 as torch.nn.Linear has it: uniform in +-sqrt(6 / (1 + a^2) / in), with a = sqrt(5). */
static void fill_kaiming(const struct train_tensor *t, uint64_t key)
{
    double bound = sqrt(1.0 / t->cols);
    for (size_t i = 0; i < t->count; i++)
        t->value[i] = (float)(bound * (2 * train_random_uniform(key, i) - 1));
}

static void fill_normal(const struct train_tensor *t, uint64_t key)
{
    for (size_t i = 0; i < t->count; i++)
        t->value[i] = (float)train_random_normal(key, i);
}

static int fill_magnitude(struct train_params *p, const struct train_site *site, int index, struct err *e)
{
    const struct train_tensor *t = &p->tensors[site->magnitude];
    const struct delta_part part = {.site = index,
                                    .rank = site->rank,
                                    .scale = site->scale,
                                    .a = p->tensors[site->a].value,
                                    .b = p->tensors[site->b].value};
    double *norms = malloc(t->count * sizeof *norms);
    int result = norms ? delta_dora_norms(p->model, NULL, &part, norms, e) : err_memory(e);
    for (size_t i = 0; result == 0 && i < t->count; i++)
        t->value[i] = (float)norms[i];
    free(norms);
    return result;
}

static int fill_site(struct train_params *p, int index, uint64_t seed, struct err *e)
{
    size_t count;
    const struct site *s = &model_sites(p->model, &count)[index];
    const struct train_site *site = &p->sites[index];
    if (s->kind == SITE_EMBEDDING)
        fill_normal(&p->tensors[site->b], train_random_key(seed, s->path, TRAIN_B));
    else
        fill_kaiming(&p->tensors[site->a], train_random_key(seed, s->path, TRAIN_A));
    return site->magnitude >= 0 ? fill_magnitude(p, site, index, e) : 0;
}

static int fill_whole(struct train_params *p, const struct train_plan *plan, struct err *e)
{
    for (size_t i = 0; i < plan->whole_count; i++) {
        const struct train_tensor *t = &p->tensors[p->whole[plan->whole[i]]];
        if (model_parameter_values(p->model, t->parameter, 0, t->count, t->value, e) != 0)
            return -1;
    }
    return 0;
}

static int fill_first(struct train_params *p, const struct train_plan *plan, uint64_t seed, struct err *e)
{
    for (size_t i = 0; i < plan->site_count; i++)
        if (fill_site(p, plan->sites[i].site, seed, e) != 0)
            return -1;
    return fill_whole(p, plan, e);
}

int train_params_new(struct train_params **out, const struct model *m, const struct train_plan *plan,
                     uint64_t seed, struct err *e)
{
    struct train_params *p = NULL;
    if (params_allocate(&p, m, plan, e) != 0 || fill_first(p, plan, seed, e) != 0) {
        train_params_free(p);
        return -1;
    }
    *out = p;
    return 0;
}

/* ---- from an adapter ---- */

static int refuse(const struct delta_source *s, struct err *e)
{
    if (s->rows_count > 0 || s->vocab)
        return err_set(e, "adapter_unsupported_feature",
                       "rows or tokens of its own (trainable_token_indices, a vocabulary that has grown) are "
                       "not trained");
    for (size_t i = 0; i < s->replacement_count; i++)
        for (size_t j = 0; j < i; j++)
            if (s->replacements[i].values == s->replacements[j].values)
                return err_set(
                    e, "adapter_unsupported_feature",
                    "one tensor in the place of two of the base's (ensure_weight_tying) is not trained");
    return 0;
}

static int site_order(const void *a, const void *b)
{
    return ((const struct train_site_plan *)a)->site - ((const struct train_site_plan *)b)->site;
}

static int int_order(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

struct own_plan {
    struct train_site_plan *sites; /* owned */
    int *whole;                    /* owned */
    struct train_plan plan;
};

/* What the source has. */
static int own_plan_init(struct own_plan *o, const struct delta_source *s, struct err *e)
{
    o->sites = calloc(s->count + 1, sizeof *o->sites);
    o->whole = calloc(s->replacement_count + 1, sizeof *o->whole);
    if (!o->sites || !o->whole)
        return err_memory(e);
    for (size_t i = 0; i < s->count; i++)
        o->sites[i] = (struct train_site_plan){.site = s->parts[i].site,
                                               .rank = s->parts[i].rank,
                                               .scale = s->parts[i].scale,
                                               .dora = s->parts[i].has[DELTA_MAGNITUDE]};
    for (size_t i = 0; i < s->replacement_count; i++)
        o->whole[i] = s->replacements[i].parameter;
    qsort(o->sites, s->count, sizeof *o->sites, site_order);
    qsort(o->whole, s->replacement_count, sizeof *o->whole, int_order);
    o->plan = (struct train_plan){o->sites, s->count, o->whole, s->replacement_count};
    return 0;
}

static void own_plan_fini(struct own_plan *o)
{
    free(o->sites);
    free(o->whole);
}

static void copy(const struct train_params *p, int tensor, const float *values)
{
    assert(tensor >= 0);
    memcpy(p->tensors[tensor].value, values, p->tensors[tensor].count * sizeof *values);
}

static int fill_from(struct train_params *p, const struct delta_source *s, struct err *e)
{
    for (size_t i = 0; i < s->count; i++) {
        struct delta_part part;
        if (delta_source_part(s, i, &part, e) != 0)
            return -1;
        const struct train_site *site = &p->sites[part.site];
        assert(site->rank == part.rank);
        copy(p, site->a, part.a);
        copy(p, site->b, part.b);
        if (site->magnitude >= 0)
            copy(p, site->magnitude, part.magnitude);
    }
    for (size_t i = 0; i < s->replacement_count; i++)
        copy(p, p->whole[s->replacements[i].parameter], s->replacements[i].values);
    return 0;
}

int train_params_from(struct train_params **out, const struct model *m, const struct train_plan *plan,
                      const struct delta_source *s, struct err *e)
{
    struct own_plan own = {0};
    struct train_params *p = NULL;
    if (refuse(s, e) != 0)
        return -1;
    int result = plan ? 0 : own_plan_init(&own, s, e);
    const struct train_plan *what = plan ? plan : &own.plan;
    if (result == 0 &&
        (params_allocate(&p, m, what, e) != 0 || fill_whole(p, what, e) != 0 || fill_from(p, s, e) != 0))
        result = -1;
    own_plan_fini(&own);
    if (result == 0)
        *out = p;
    else
        train_params_free(p);
    return result;
}

/* ---- as served ---- */

static struct delta_part part_of(const struct train_params *p, int index)
{
    const struct train_site *s = &p->sites[index];
    bool dora = s->magnitude >= 0;
    return (struct delta_part){.site = index,
                               .rank = s->rank,
                               .scale = s->scale,
                               .has = {[DELTA_A] = true, [DELTA_B] = true, [DELTA_MAGNITUDE] = dora},
                               .values = {[DELTA_A] = p->tensors[s->a].value,
                                          [DELTA_B] = p->tensors[s->b].value,
                                          [DELTA_MAGNITUDE] = dora ? p->tensors[s->magnitude].value : NULL}};
}

struct own_source {
    struct delta_part *parts;        /* owned */
    struct delta_replacement *whole; /* owned */
    struct delta_source source;
};

static int own_source_init(struct own_source *o, const struct train_params *p, struct err *e)
{
    o->parts = calloc((size_t)p->count + 1, sizeof *o->parts);
    o->whole = calloc((size_t)p->count + 1, sizeof *o->whole);
    if (!o->parts || !o->whole)
        return err_memory(e);
    o->source = (struct delta_source){.parts = o->parts, .replacements = o->whole};
    for (int i = 0; i < p->count; i++) {
        const struct train_tensor *t = &p->tensors[i];
        if (t->kind == TRAIN_A)
            o->parts[o->source.count++] = part_of(p, t->site);
        else if (t->kind == TRAIN_WHOLE)
            o->whole[o->source.replacement_count++] = (struct delta_replacement){t->parameter, t->value};
    }
    return 0;
}

static void own_source_fini(struct own_source *o)
{
    free(o->parts);
    free(o->whole);
}

int train_params_delta(const struct train_params *p, struct delta **out, struct err *e)
{
    struct own_source own = {0};
    int result = own_source_init(&own, p, e) == 0 ? delta_new(out, p->model, &own.source, e) : -1;
    own_source_fini(&own);
    return result;
}

int train_params_refill(const struct train_params *p, struct delta *d, struct err *e)
{
    struct own_source own = {0};
    int result = own_source_init(&own, p, e) == 0 ? delta_refill(d, p->model, &own.source, e) : -1;
    own_source_fini(&own);
    return result;
}

void train_params_clear(struct train_params *p)
{
    memset(p->memory + p->numbers, 0, p->numbers * sizeof *p->memory);
}

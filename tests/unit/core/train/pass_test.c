/* Gradients of every kind of layer against central differences of the loss, and the promise that what an
 * example adds to them depends on nothing but itself: not on threads, nor on how examples are put into
 * passes, nor on whose share them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/delta/delta_internal.h"
#include "core/train/train_pass.h"
#include "core/train/train_random.h"
#include "tests/golden/fixture.h"

/* ---- what is trained ---- */

enum what {
    SITES = 1,   /* low rank everywhere: linear layers, head, embeddings */
    DORA = 2,    /* the same with magnitudes */
    VECTORS = 4, /* norms and biases */
    MATRICES = 8 /* every weight of the base */
};

struct subject {
    const char *model;
    unsigned what;
    float dropout;
};

static struct train_params *new_params(const struct model *m, unsigned what, uint64_t seed)
{
    struct err e;
    struct train_params *p;
    size_t sites, parameters;
    const struct parameter *w = model_parameters(m, &parameters);
    model_sites(m, &sites);
    struct train_site_plan *site = calloc(sites, sizeof *site);
    int *whole = calloc(parameters, sizeof *whole);
    struct train_plan plan = {.sites = site, .whole = whole};
    for (size_t i = 0; i < sites && what & (SITES | DORA); i++)
        site[plan.site_count++] = (struct train_site_plan){
            .site = (int)i, .rank = 2 + (int)(i % 3), .scale = 1.5f, .dora = what & DORA};
    for (size_t i = 0; i < parameters; i++)
        if (what & (w[i].cols > 0 ? MATRICES : VECTORS))
            whole[plan.whole_count++] = (int)i;
    assert_int_equal(train_params_new(&p, m, &plan, seed, &e), 0);
    for (int i = 0; i < p->count;
         i++) { /* B, and an embedding's A, are not zero, and no two norms are the same */
        const struct train_tensor *t = &p->tensors[i];
        for (size_t k = 0; k < t->count; k++)
            t->value[k] += 0.1f * (float)train_random_normal(seed + 1 + (uint64_t)i, k);
    }
    free(site);
    free(whole);
    return p;
}

/* ---- what it is trained on ---- */

enum { SEQUENCES = 4, LONGEST = 41 };
static const int lengths[SEQUENCES] = {LONGEST, 1, 7, 33}; /* more than a page, and than a window */

struct data {
    int32_t tokens[SEQUENCES][LONGEST], labels[SEQUENCES][LONGEST];
    struct train_sequence sequence[SEQUENCES];
};

static void fill_data(struct data *d, const struct model *m, uint64_t seed)
{
    for (int i = 0; i < SEQUENCES; i++) {
        for (int t = 0; t < lengths[i]; t++) {
            d->tokens[i][t] = (int32_t)train_random_below(seed, (uint64_t)(100 * i + t),
                                                          (uint64_t)model_info(m)->vocab_size);
            d->labels[i][t] = t % 3 == 1 && t < 20 ? TRAIN_NO_LABEL : d->tokens[i][t];
        }
        d->sequence[i] =
            (struct train_sequence){.tokens = d->tokens[i], .labels = d->labels[i], .count = lengths[i]};
    }
}

/* One job: its numbers and its lines. */
struct job {
    struct train_params *params;
    struct delta *delta;
    struct data data;
    struct train_example examples[SEQUENCES];
};

static void put_delta(struct job *j)
{
    struct err e;
    delta_unref(j->delta);
    assert_int_equal(train_params_delta(j->params, &j->delta, &e), 0);
    for (int i = 0; i < SEQUENCES; i++)
        j->examples[i].delta = j->delta;
}

static void open_job(struct job *j, const struct model *m, const struct subject *s, uint64_t seed)
{
    memset(j, 0, sizeof *j);
    j->params = new_params(m, s->what, seed);
    fill_data(&j->data, m, seed);
    for (int i = 0; i < SEQUENCES; i++)
        j->examples[i] = (struct train_example){.sequence = &j->data.sequence[i],
                                                .params = j->params,
                                                .weight = 0.02f,
                                                .dropout = s->dropout,
                                                .dropout_seed = seed + (uint64_t)i};
    put_delta(j);
}

static void close_job(struct job *j)
{
    delta_unref(j->delta);
    train_params_free(j->params);
}

static struct model *open_model(const struct subject *s, enum precision precision)
{
    fixture_precision = precision;
    struct model *m = fixture_model(fixture_path("models/%s", s->model));
    fixture_precision = PRECISION_EXACT;
    return m;
}

struct machine {
    struct pool *pool;
    struct train_pass *pass;
};

static struct machine open_machine(const struct model *m, int threads, int tokens)
{
    struct err e;
    struct machine b;
    assert_int_equal(pool_new(&b.pool, threads, &e), 0);
    assert_int_equal(train_pass_new(&b.pass, m, b.pool, NULL, tokens, &e), 0);
    return b;
}

static void close_machine(struct machine *b)
{
    train_pass_free(b->pass);
    pool_free(b->pool);
}

/* ---- central differences ---- */

static double dot(const float *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * b[i];
    return sum;
}

static double loss_of(struct machine *b, struct job *j)
{
    double loss = 0;
    put_delta(j);
    for (int i = 0; i < SEQUENCES; i++) {
        struct train_example forward_alone = j->examples[i];
        forward_alone.params = NULL;
        train_pass_run(b->pass, &forward_alone, 1);
        loss += (double)forward_alone.weight * forward_alone.loss;
    }
    return loss;
}

/* DoRA's norm is a constant in the gradient: magnitudes follow it, so that their quotient does not move. */
static void row_norms(const struct job *j, const struct train_tensor *t, double *out)
{
    struct err e;
    const struct train_site *s = &j->params->sites[t->site];
    const struct delta_part part = {.site = t->site,
                                    .rank = s->rank,
                                    .scale = s->scale,
                                    .a = j->params->tensors[s->a].value,
                                    .b = j->params->tensors[s->b].value};
    assert_int_equal(delta_dora_norms(j->params->model, NULL, &part, out, &e), 0);
}

static void hold_factors(const struct job *j, const struct train_tensor *t, const double *before,
                         const float *magnitude)
{
    const struct train_tensor *own = &j->params->tensors[j->params->sites[t->site].magnitude];
    double *now = calloc(own->count, sizeof *now);
    row_norms(j, t, now);
    for (size_t i = 0; i < own->count; i++)
        own->value[i] = (float)((double)magnitude[i] * now[i] / before[i]);
    free(now);
}

static bool has_factors(const struct job *j, const struct train_tensor *t)
{
    return (t->kind == TRAIN_A || t->kind == TRAIN_B) && j->params->sites[t->site].magnitude >= 0;
}

/* The loss where the tensor is moved by `step` along `direction`. */
static double loss_at(struct machine *b, struct job *j, const struct train_tensor *t, const double *direction,
                      double step)
{
    const struct train_tensor *own =
        has_factors(j, t) ? &j->params->tensors[j->params->sites[t->site].magnitude] : NULL;
    double *norms = calloc(own ? own->count : 1, sizeof *norms);
    float *values = malloc(t->count * sizeof *values),
          *magnitude = malloc((own ? own->count : 1) * sizeof *magnitude);
    memcpy(values, t->value, t->count * sizeof *values);
    if (own) {
        row_norms(j, t, norms);
        memcpy(magnitude, own->value, own->count * sizeof *magnitude);
    }
    for (size_t i = 0; i < t->count; i++)
        t->value[i] += (float)(step * direction[i]);
    if (own)
        hold_factors(j, t, norms, magnitude);
    double loss = loss_of(b, j);
    memcpy(t->value, values, t->count * sizeof *values);
    if (own)
        memcpy(own->value, magnitude, own->count * sizeof *magnitude);
    free(values);
    free(magnitude);
    free(norms);
    return loss;
}

/* Along the gradient, where a wrong factor shows, and along signs by lot, where a number that is missing
 * does. */
static void check_direction(struct machine *b, struct job *j, const char *model, int index, int lot)
{
    const struct train_tensor *t = &j->params->tensors[index];
    double length = 0, *direction = calloc(t->count, sizeof *direction);
    for (size_t i = 0; i < t->count; i++)
        length += (double)t->gradient[i] * (double)t->gradient[i];
    length = sqrt(length);
    assert_true(length > 1e-9);
    for (size_t i = 0; i < t->count; i++)
        direction[i] = lot == 0 ? (double)t->gradient[i] / length
                                : (train_random_bits((uint64_t)lot, i) & 1 ? 1 : -1) / sqrt((double)t->count);
    double step = 0.01 / length;
    step = step > 0.05 ? 0.05 : step;
    double found = (loss_at(b, j, t, direction, step) - loss_at(b, j, t, direction, -step)) / (2 * step);
    double meant = dot(t->gradient, direction, t->count);
    if (!(fabs(found - meant) <= 0.01 * length))
        fail_msg(
            "%s: tensor %d (kind %d, site %d, parameter %d), direction %d: %g, by differences %g (of %g)",
            model, index, (int)t->kind, t->site, t->parameter, lot, meant, found, length);
    free(direction);
}

static void check_gradients(const struct subject *s)
{
    struct model *m = open_model(s, PRECISION_EXACT);
    struct machine b = open_machine(m, 1, 128);
    struct job j;
    open_job(&j, m, s, 11);
    train_params_clear(j.params);
    train_pass_run(b.pass, j.examples, SEQUENCES);
    for (int i = 0; i < j.params->count; i++)
        for (int lot = 0; lot < 3; lot++)
            check_direction(&b, &j, s->model, i, lot);
    close_job(&j);
    close_machine(&b);
    model_close(m);
}

static void gradients_are_slopes(void **state)
{
    (void)state;
    static const struct subject subjects[] = {
        {"llama", SITES | VECTORS, 0},
        {"llama", DORA, 0},
        {"llama", MATRICES | VECTORS, 0},
        {"llama", SITES, 0.3f},
        {"qwen2", SITES | VECTORS, 0},
        {"qwen2", DORA | VECTORS, 0.2f},
        {"qwen3", SITES | VECTORS, 0},
        {"qwen3", MATRICES, 0},
        {"gpt2", SITES | VECTORS, 0},
        {"gpt2", DORA | VECTORS, 0},
        {"gpt2", MATRICES | VECTORS, 0},
        {"llama3-rope", SITES, 0},
        {"mistral-window", SITES | VECTORS, 0},
        {"starcoder2", SITES | VECTORS, 0},
        {"starcoder2", DORA, 0.1f},
        {"granite", SITES | VECTORS, 0},
        {"granite", MATRICES, 0},
        {"smollm3", SITES, 0},
        {"stablelm", SITES | VECTORS, 0},
        {"llama-yarn", SITES, 0},
        {"llama-dynamic", SITES, 0},
        {"gemma2", SITES | VECTORS, 0},
        {"gemma2", MATRICES, 0},
        {"gemma3", SITES | VECTORS, 0},
        {"phi3", SITES | VECTORS, 0},
        {"phi3", DORA, 0},
        {"phi3", MATRICES, 0},
        {"phi3-longrope", SITES, 0},
        {"phi", SITES | VECTORS, 0},
        {"phi", MATRICES | VECTORS, 0},
        {"olmo2", SITES | VECTORS, 0},
        {"exaone4", SITES | VECTORS, 0},
        {"glm4", SITES | VECTORS, 0},
        {"ministral3", SITES, 0},
        {"qwen2-window", MATRICES | VECTORS, 0},
    };
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++)
        check_gradients(&subjects[i]);
}

/* ---- bits ---- */

/* What a job's examples add, the job alone, one example a pass, on one thread. */
static float *alone(const struct model *m, struct job *j)
{
    struct machine b = open_machine(m, 1, LONGEST);
    train_params_clear(j->params);
    for (int i = 0; i < SEQUENCES; i++)
        train_pass_run(b.pass, &j->examples[i], 1);
    close_machine(&b);
    float *gradients = malloc(j->params->numbers * sizeof *gradients);
    memcpy(gradients, j->params->memory + j->params->numbers, j->params->numbers * sizeof *gradients);
    return gradients;
}

static void assert_same(const struct job *j, const float *gradients, const struct train_example *found)
{
    assert_memory_equal(j->params->memory + j->params->numbers, gradients,
                        j->params->numbers * sizeof *gradients);
    for (int i = 0; i < SEQUENCES; i++) {
        assert_memory_equal(&found[i].loss, &j->examples[i].loss, sizeof(double));
        assert_int_equal(found[i].targets, j->examples[i].targets);
        assert_int_equal(found[i].correct, j->examples[i].correct);
    }
}

/* Three jobs of different kinds, and a sequence between them that is only looked at. */
static void check_together(const struct model *m, struct job jobs[3], float *const gradients[3], int threads,
                           int tokens)
{
    struct machine b = open_machine(m, threads, tokens);
    struct train_example all[3 * SEQUENCES + 1];
    for (int i = 0; i < 3; i++) {
        train_params_clear(jobs[i].params);
        memcpy(all + i * SEQUENCES + (i > 0), jobs[i].examples, sizeof jobs[i].examples);
    }
    all[SEQUENCES] = jobs[1].examples[3];
    all[SEQUENCES].delta = NULL;
    all[SEQUENCES].params = NULL;
    for (int i = 0, next; i < 3 * SEQUENCES + 1; i = next) {
        int room = tokens;
        for (next = i; next < 3 * SEQUENCES + 1 && all[next].sequence->count <= room; next++)
            room -= all[next].sequence->count;
        train_pass_run(b.pass, all + i, next - i);
    }
    for (int i = 0; i < 3; i++)
        assert_same(&jobs[i], gradients[i], all + i * SEQUENCES + (i > 0));
    close_machine(&b);
}

static void check_bits(const struct subject s[3], enum precision precision)
{
    struct model *m = open_model(s, precision);
    struct job jobs[3];
    float *gradients[3];
    for (int i = 0; i < 3; i++) {
        open_job(&jobs[i], m, &s[i], 20 + (uint64_t)i);
        gradients[i] = alone(m, &jobs[i]);
    }
    for (int threads = 1; threads <= 3; threads++)
        for (int tokens = LONGEST; tokens <= 400; tokens += 115)
            check_together(m, jobs, gradients, threads, tokens);
    for (int i = 0; i < 3; i++) {
        close_job(&jobs[i]);
        free(gradients[i]);
    }
    model_close(m);
}

static void nothing_around_an_example_changes_a_bit(void **state)
{
    (void)state;
    static const struct subject subjects[][3] = {
        {{"llama", SITES, 0}, {"llama", DORA | VECTORS, 0.5f}, {"llama", MATRICES, 0}},
        {{"qwen3", SITES | VECTORS, 0.1f}, {"qwen3", SITES, 0}, {"qwen3", DORA, 0}},
        {{"gpt2", DORA | VECTORS, 0}, {"gpt2", MATRICES | VECTORS, 0}, {"gpt2", SITES, 0.2f}},
        {{"starcoder2", VECTORS, 0}, {"starcoder2", SITES, 0}, {"starcoder2", MATRICES, 0}},
        {{"gemma2", VECTORS, 0}, {"gemma2", SITES, 0}, {"gemma2", MATRICES, 0}},
        {{"phi", SITES | VECTORS, 0}, {"phi", SITES, 0.1f}, {"phi", DORA, 0}},
        {{"olmo2", SITES | VECTORS, 0}, {"olmo2", SITES, 0}, {"olmo2", DORA, 0}},
        {{"glm4", SITES | VECTORS, 0}, {"glm4", MATRICES, 0}, {"glm4", DORA, 0}},
    };
    static const enum precision precisions[] = {PRECISION_EXACT, PRECISION_INT8, PRECISION_INT4};
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++)
        for (size_t k = 0; k < sizeof precisions / sizeof *precisions; k++)
            check_bits(subjects[i], precisions[k]);
}

/* ---- what is not trained ---- */

/* The head alone: no layer is computed twice, and the gradient is the same as beside others. */
static void a_pass_forward_leaves_gradients_alone(void **state)
{
    (void)state;
    const struct subject s = {"llama", SITES, 0};
    struct model *m = open_model(&s, PRECISION_EXACT);
    struct machine b = open_machine(m, 2, 128);
    struct job j;
    open_job(&j, m, &s, 5);
    train_params_clear(j.params);
    for (int i = 0; i < SEQUENCES; i++)
        j.examples[i].weight = 0;
    train_pass_run(b.pass, j.examples, SEQUENCES);
    for (size_t i = 0; i < j.params->numbers; i++)
        assert_true(j.params->memory[j.params->numbers + i] == 0);
    assert_int_equal(j.examples[1].targets, 0); /* one token has nothing before it */
    assert_true(j.examples[1].loss == 0);
    assert_true(j.examples[0].loss > 0 && j.examples[0].targets > 0);
    close_job(&j);
    close_machine(&b);
    model_close(m);
}

static void memory_is_what_it_says(void **state)
{
    (void)state;
    const struct subject s = {"qwen3", 0, 0};
    struct model *m = open_model(&s, PRECISION_INT8);
    assert_true(train_pass_bytes(m, 512, 2) > train_pass_bytes(m, 256, 2));
    assert_true(train_pass_bytes(m, 256, 4) > train_pass_bytes(m, 256, 2));
    model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_slopes),
        cmocka_unit_test(nothing_around_an_example_changes_a_bit),
        cmocka_unit_test(a_pass_forward_leaves_gradients_alone),
        cmocka_unit_test(memory_is_what_it_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

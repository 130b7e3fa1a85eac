/* Deltas: DoRA's norms are of the base as it is served; combinations are exact; what cannot be combined is
 * refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/delta/delta_internal.h"
#include "core/model/network.h"
#include "tests/golden/fixture.h"

enum { RANK = 3 };

struct part {
    struct delta_part part;
    float *a, *b, *magnitude;
};

static struct part new_part(const struct model *m, const char *path, int rank, unsigned seed)
{
    size_t count;
    int index = model_find_site(m, path);
    assert_true(index >= 0);
    const struct site *s = &model_sites(m, &count)[index];
    struct part p = {.a = calloc((size_t)rank * (size_t)s->in, sizeof *p.a),
                     .b = calloc((size_t)rank * (size_t)s->out, sizeof *p.b),
                     .magnitude = calloc((size_t)s->out, sizeof *p.magnitude)};
    for (int i = 0; i < rank * s->in; i++)
        p.a[i] = (float)((i * 37 + (int)seed) % 64 - 31) / 256;
    for (int i = 0; i < rank * s->out; i++)
        p.b[i] = (float)((i * 11 + (int)seed) % 64 - 31) / 256;
    for (int i = 0; i < s->out; i++)
        p.magnitude[i] = 1 + (float)i;
    p.part = (struct delta_part){.site = index, .rank = rank, .scale = 0.5f, .a = p.a, .b = p.b};
    return p;
}

static void free_part(struct part *p)
{
    free(p->a);
    free(p->b);
    free(p->magnitude);
}

static struct delta *new_delta(const struct model *m, const struct delta_part *p, struct err *e)
{
    struct delta *d = NULL;
    const struct delta_source source = {.parts = p, .count = 1};
    return delta_new(&d, m, &source, e) == 0 ? d : NULL;
}

static struct model *open_model(const char *name, enum precision precision)
{
    fixture_precision = precision;
    struct model *m = fixture_model(fixture_path("models/%s", name));
    fixture_precision = PRECISION_EXACT;
    return m;
}

/* The element of W + 0.5 B A that the forward pass multiplies x[k] with for output `row`. */
static double served(const struct model *m, const struct part *p, const struct site *s, int row, int k)
{
    const struct linear *l = m->site_linear[p->part.site];
    double sum = 0;
    float *w = malloc((size_t)(s->kind == SITE_EMBEDDING ? s->out : s->in) * sizeof *w);
    if (s->kind == SITE_EMBEDDING)
        matrix_row(&m->embed.weight, k, w);
    else if (l->packed.bits)
        qgemm_unpack_row(&l->packed, row, w);
    else
        matrix_row(&l->weight, row, w);
    double value = (double)w[s->kind == SITE_EMBEDDING ? row : k];
    for (int r = 0; r < p->part.rank; r++)
        sum += (double)p->b[row * p->part.rank + r] * (double)p->a[r * s->in + k];
    free(w);
    return value + 0.5 * sum;
}

static void check_norms(const char *model, const char *path, enum precision precision)
{
    struct err e;
    struct model *m = open_model(model, precision);
    struct part p = new_part(m, path, RANK, 1);
    const struct site *s = &m->sites[p.part.site];
    p.part.has[DELTA_MAGNITUDE] = true;
    p.part.magnitude = p.magnitude;
    struct delta *d = new_delta(m, &p.part, &e);
    assert_non_null(d);
    for (int row = 0; row < s->out; row += 7) {
        double squares = 0;
        for (int k = 0; k < s->in; k++)
            squares += pow(served(m, &p, s, row, k), 2);
        double wanted = (double)p.magnitude[row] / sqrt(squares),
               found = (double)delta_magnitude(d, p.part.site)[row];
        if (!(fabs(found - wanted) <= 1e-5 * wanted))
            fail_msg("%s %s, precision %d, row %d: %.9g, expected %.9g", model, path, precision, row, found,
                     wanted);
    }
    delta_unref(d);
    free_part(&p);
    model_close(m);
}

static void dora_norms_are_of_the_served_weights(void **state)
{
    (void)state;
    for (enum precision precision = PRECISION_EXACT; precision <= PRECISION_INT4; precision++) {
        check_norms("llama", "model.layers.1.mlp.down_proj", precision);
        check_norms("llama", "model.embed_tokens", precision);
        check_norms("qwen2", "lm_head", precision);
        check_norms("gpt2", "transformer.h.1.mlp.c_fc", precision);
    }
}

static void a_row_of_norm_zero_is_refused(void **state)
{
    (void)state;
    struct err e;
    struct model *m = open_model("mlp", PRECISION_EXACT);
    struct part p = new_part(m, "fc2", 1, 1);
    size_t count;
    const struct parameter *parameter =
        &model_parameters(m, &count)[model_find_parameter(m, "fc2", "weight")];
    float *zero = calloc((size_t)parameter->rows * (size_t)parameter->cols, sizeof *zero);
    struct delta_replacement replaced = {model_find_parameter(m, "fc2", "weight"), zero};
    struct delta *d = NULL;
    p.part.has[DELTA_MAGNITUDE] = true;
    p.part.magnitude = p.magnitude;
    p.b[0] = 0; /* row 0 of B A */
    assert_int_equal(
        delta_new(&d, m,
                  &(struct delta_source){
                      .parts = &p.part, .count = 1, .replacements = &replaced, .replacement_count = 1},
                  &e),
        -1);
    assert_string_equal(e.code, "adapter_not_finite");
    free(zero);
    free_part(&p);
    model_close(m);
}

/* Each tensor of the base, replaced by itself: nothing may change, to the last bit. */
static struct delta *own_tensors(const struct model *m)
{
    size_t count;
    struct err e;
    struct delta *d = NULL;
    const struct parameter *parameters = model_parameters(m, &count);
    struct delta_replacement *all = calloc(count, sizeof *all);
    for (size_t i = 0; i < count; i++) {
        size_t size = (size_t)parameters[i].rows * (size_t)(parameters[i].cols ? parameters[i].cols : 1);
        float *values = calloc(size, sizeof *values);
        assert_int_equal(model_parameter_values(m, (int)i, 0, size, values, &e), 0);
        all[i] = (struct delta_replacement){(int)i, values};
    }
    if (delta_new(&d, m, &(struct delta_source){.replacements = all, .replacement_count = count}, &e) != 0)
        fail_msg("%s", e.message);
    for (size_t i = 0; i < count; i++)
        free((void *)all[i].values);
    free(all);
    return d;
}

static void replacing_tensors_by_themselves_changes_nothing(void **state)
{
    (void)state;
    static const char *const models[] = {"llama", "llama3-rope", "mistral", "qwen2", "qwen3", "gpt2"};
    static const int32_t prompt[] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 35, 89, 79, 32, 38, 46, 26, 43, 38, 32, 79};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        struct model *m = open_model(models[i], PRECISION_EXACT);
        struct engine *g = fixture_engine(m, 2, 0, 4);
        struct delta *d = own_tensors(m);
        struct runs *all = runs_new();
        struct run base = {0}, own = {0};
        run_submit(all, &base, g, NULL, prompt, sizeof prompt / sizeof *prompt, 4, true, NULL, 1);
        run_submit(all, &own, g, d, prompt, sizeof prompt / sizeof *prompt, 4, true, NULL, 2);
        runs_free(all);
        if (memcmp(base.logits, own.logits, base.rows * base.vocab * sizeof(float)) != 0)
            fail_msg("%s: other logits", models[i]);
        run_fini(&base);
        run_fini(&own);
        delta_unref(d);
        engine_free(g);
        model_close(m);
    }
}

/* ---- single rows ---- */

enum { OWN = 3 };
static const int32_t own_index[OWN] = {7, 100, 319};

/* Rows of a matrix of the model, all of them `value`. */
static struct delta *rows_of(const struct model *m, const char *path, const char *other, float value)
{
    struct err e;
    struct delta *d = NULL;
    size_t count;
    int parameter = model_find_parameter(m, path, "weight"),
        cols = model_parameters(m, &count)[parameter].cols;
    float *values = calloc((size_t)OWN * (size_t)cols, sizeof *values);
    for (int i = 0; i < OWN * cols; i++)
        values[i] = value * (float)(1 + i % 5);
    struct delta_rows rows[2] = {{parameter, OWN, own_index, values}};
    if (other)
        rows[1] = (struct delta_rows){model_find_parameter(m, other, "weight"), OWN, own_index, values};
    if (delta_new(&d, m, &(struct delta_source){.rows = rows, .rows_count = other ? 2 : 1}, &e) != 0)
        fail_msg("%s", e.message);
    free(values);
    return d;
}

static bool is_own(int index)
{
    for (int i = 0; i < OWN; i++)
        if (own_index[i] == index)
            return true;
    return false;
}

static void run_pair(const struct model *m, struct delta *d, const int32_t *prompt, size_t count,
                     struct run *base, struct run *own)
{
    struct engine *g = fixture_engine((struct model *)(uintptr_t)m, 2, 0, 4);
    struct runs *all = runs_new();
    run_submit(all, base, g, NULL, prompt, count, 1, true, NULL, 1);
    run_submit(all, own, g, d, prompt, count, 1, true, NULL, 2);
    runs_free(all);
    engine_free(g);
}

/* Of the head: the logits of the other tokens stay what they were, to the last bit. */
static void rows_of_the_head_change_their_logits_alone(void **state)
{
    (void)state;
    static const int32_t prompt[] = {3, 1, 4, 1, 5, 9, 2, 6, 7, 100, 319};
    for (enum precision precision = PRECISION_EXACT; precision <= PRECISION_INT4; precision++) {
        struct model *m = open_model("llama", precision);
        struct delta *d = rows_of(m, "lm_head", NULL, 0.25f);
        struct run base = {0}, own = {0};
        run_pair(m, d, prompt, sizeof prompt / sizeof *prompt, &base, &own);
        for (size_t i = 0; i < base.rows * base.vocab; i++) {
            bool same = memcmp(&base.logits[i], &own.logits[i], sizeof *base.logits) == 0;
            if (same == is_own((int)(i % base.vocab)))
                fail_msg("precision %d, row %zu, token %zu", precision, i / base.vocab, i % base.vocab);
        }
        run_fini(&base);
        run_fini(&own);
        delta_unref(d);
        model_close(m);
    }
}

/* Of the embedding: what comes before the first such token stays what it was, to the last bit. */
static void rows_of_the_embedding_change_what_follows_their_token(void **state)
{
    (void)state;
    static const int32_t prompt[] = {3, 1, 4, 1, 5, 100, 9, 2};
    for (enum precision precision = PRECISION_EXACT; precision <= PRECISION_INT4; precision++) {
        struct model *m = open_model("llama", precision);
        struct delta *d = rows_of(m, "model.embed_tokens", NULL, 0.25f);
        struct run base = {0}, own = {0};
        run_pair(m, d, prompt, sizeof prompt / sizeof *prompt, &base, &own);
        for (size_t row = 0; row < base.rows; row++) {
            size_t at = row * base.vocab;
            bool same = memcmp(base.logits + at, own.logits + at, base.vocab * sizeof *base.logits) == 0;
            assert_int_equal(same, row < 5);
        }
        run_fini(&base);
        run_fini(&own);
        delta_unref(d);
        model_close(m);
    }
}

static void rows_of_two_sides_are_once_in_memory(void **state)
{
    (void)state;
    struct model *m = open_model("qwen2", PRECISION_EXACT);
    struct delta *one = rows_of(m, "model.embed_tokens", NULL, 1),
                 *two = rows_of(m, "model.embed_tokens", "lm_head", 1), *sum = NULL;
    int32_t tokens[4];
    struct err e;
    assert_int_equal(delta_bytes(one), delta_bytes(two));
    assert_true(delta_bytes(one) >= OWN * 64 * sizeof(float));
    assert_int_equal(delta_tokens(two, m, tokens, 4), OWN);
    assert_memory_equal(tokens, own_index, sizeof own_index);
    assert_int_equal(delta_tokens(two, m, tokens, 2), 2);
    assert_int_equal(tokens[1], 100);
    assert_int_equal(delta_combine(&sum, m, &one, (const float[]){1}, 1, &e), -1);
    assert_string_equal(e.code, "adapter_unsupported_feature");
    delta_unref(one);
    delta_unref(two);
    model_close(m);
}

/* B A of a site, by element, from what the delta keeps. */
static double product(const struct delta *d, const struct site *s, int site, int row, int k)
{
    const struct lowrank *l = delta_at(d, site);
    double sum = 0;
    for (int r = 0; l && r < l->rank; r++)
        sum += (double)delta_get(d, l->b, lowrank_b_at(l->rank, row, r)) *
               (double)delta_get(d, l->a, delta_a_at(s, l->rank, r, k));
    return sum;
}

static void check_sum(const char *path, enum precision precision)
{
    struct err e;
    struct model *m = open_model("llama", precision);
    struct part p = new_part(m, path, RANK, 1), q = new_part(m, path, 5, 2);
    const struct site *s = &m->sites[p.part.site];
    struct delta *one = new_delta(m, &p.part, &e), *two = new_delta(m, &q.part, &e), *sum;
    struct delta *const list[] = {one, two, one};
    assert_int_equal(delta_combine(&sum, m, list, (const float[]){0.5f, -2, 4}, 3, &e), 0);
    assert_int_equal(delta_at(sum, p.part.site)->rank, 2 * RANK + 5);
    assert_true(delta_bytes(sum) > delta_bytes(one));
    for (int row = 0; row < s->out; row += 5)
        for (int k = 0; k < s->in; k += 3) /* powers of two: nothing is rounded */
            assert_true(product(sum, s, p.part.site, row, k) == 4.5 * product(one, s, p.part.site, row, k) -
                                                                    2 * product(two, s, p.part.site, row, k));
    delta_unref(one);
    delta_unref(two);
    delta_unref(sum);
    free_part(&p);
    free_part(&q);
    model_close(m);
}

static void sums_are_exact(void **state)
{
    (void)state;
    check_sum("model.layers.0.mlp.up_proj", PRECISION_EXACT);
    check_sum("model.layers.0.mlp.up_proj", PRECISION_INT8);
    check_sum("model.embed_tokens", PRECISION_EXACT);
    check_sum("model.embed_tokens", PRECISION_INT8);
}

static void what_does_not_add_up_is_refused(void **state)
{
    (void)state;
    struct err e;
    struct model *m = open_model("llama", PRECISION_EXACT);
    struct part p = new_part(m, "lm_head", DELTA_RANK_MAX / 2 + 1, 1);
    struct delta *wide = new_delta(m, &p.part, &e), *sum = NULL;
    struct delta *const twice[] = {wide, wide};
    assert_int_equal(delta_combine(&sum, m, twice, (const float[]){1, 1}, 2, &e), -1);
    assert_string_equal(e.code, "adapter_rank_too_large");
    assert_int_equal(delta_combine(&sum, m, twice, (const float[]){INFINITY}, 1, &e), -1);
    assert_string_equal(e.code, "adapter_not_finite");
    p.part.has[DELTA_MAGNITUDE] = true;
    p.part.magnitude = p.magnitude;
    struct delta *dora = new_delta(m, &p.part, &e);
    assert_int_equal(delta_combine(&sum, m, &dora, (const float[]){1}, 1, &e), -1);
    assert_string_equal(e.code, "adapter_unsupported_feature");
    struct delta *saved = fixture_delta(m, fixture_path("adapters/llama/save-only-attn-norm"), &e);
    assert_int_equal(delta_combine(&sum, m, &saved, (const float[]){1}, 1, &e), -1);
    assert_string_equal(e.code, "adapter_unsupported_feature");
    assert_null(sum);
    delta_unref(wide);
    delta_unref(dora);
    delta_unref(saved);
    free_part(&p);
    model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dora_norms_are_of_the_served_weights),
        cmocka_unit_test(a_row_of_norm_zero_is_refused),
        cmocka_unit_test(replacing_tensors_by_themselves_changes_nothing),
        cmocka_unit_test(rows_of_the_head_change_their_logits_alone),
        cmocka_unit_test(rows_of_the_embedding_change_what_follows_their_token),
        cmocka_unit_test(rows_of_two_sides_are_once_in_memory),
        cmocka_unit_test(sums_are_exact),
        cmocka_unit_test(what_does_not_add_up_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What is trained: first values by seed, tensor and place; an adapter taken over to the bit; the delta that
 * is served of it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/delta/delta_internal.h"
#include "core/model/network.h"
#include "core/train/train_params.h"
#include "tests/golden/fixture.h"

static struct train_site_plan site_plan(const struct model *m, const char *path, int rank, bool dora)
{
    struct train_site_plan s = {.site = model_find_site(m, path), .rank = rank, .scale = 2, .dora = dora};
    assert_true(s.site >= 0);
    return s;
}

static struct train_params *new_params(const struct model *m, const struct train_plan *plan, uint64_t seed)
{
    struct err e;
    struct train_params *p = NULL;
    if (train_params_new(&p, m, plan, seed, &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
    return p;
}

static const struct train_tensor *tensor(const struct train_params *p, int index)
{
    assert_in_range(index, 0, p->count - 1);
    return &p->tensors[index];
}

static void first_values_are_those_of_peft(void **state)
{
    (void)state;
    struct model *m = fixture_model(fixture_path("models/llama"));
    const struct train_site_plan sites[] = {site_plan(m, "model.layers.0.self_attn.q_proj", 4, true),
                                            site_plan(m, "model.embed_tokens", 3, false)};
    int norm = model_find_parameter(m, "model.norm", "weight");
    struct train_params *p = new_params(m, &(struct train_plan){sites, 2, &norm, 1}, 7);
    const struct train_site *q = &p->sites[sites[0].site], *embed = &p->sites[sites[1].site];
    const struct train_tensor *a = tensor(p, q->a), *table_b = tensor(p, embed->b);
    float bound = 1 / sqrtf((float)a->cols), largest = 0;
    double mean = 0, square = 0;
    for (size_t i = 0; i < a->count; i++)
        largest = fmaxf(largest, fabsf(a->value[i]));
    assert_true(largest <= bound && largest > 0.9f * bound);
    for (size_t i = 0; i < tensor(p, q->b)->count; i++)
        assert_true(tensor(p, q->b)->value[i] == 0);
    for (size_t i = 0; i < tensor(p, embed->a)->count; i++)
        assert_true(tensor(p, embed->a)->value[i] == 0);
    for (size_t i = 0; i < table_b->count; i++) {
        mean += (double)table_b->value[i] / (double)table_b->count;
        square += (double)table_b->value[i] * (double)table_b->value[i] / (double)table_b->count;
    }
    assert_true(fabs(mean) < 0.25 && fabs(square - 1) < 0.35);
    float row[4096];
    matrix_row(&m->layers[0].qkv[0].weight, 5, row);
    double norms = 0;
    for (int k = 0; k < a->cols; k++)
        norms += (double)row[k] * (double)row[k];
    assert_true(fabs((double)tensor(p, q->magnitude)->value[5] - sqrt(norms)) < 1e-6);
    assert_memory_equal(tensor(p, p->whole[norm])->value, m->final_norm.weight,
                        (size_t)m->final_norm.size * sizeof(float));
    train_params_free(p);
    model_close(m);
}

/* A tensor's numbers are the same whatever else is trained. */
static void first_values_depend_on_seed_and_name_alone(void **state)
{
    (void)state;
    struct model *m = fixture_model(fixture_path("models/llama"));
    const struct train_site_plan sites[] = {site_plan(m, "model.layers.0.self_attn.q_proj", 4, false),
                                            site_plan(m, "model.layers.1.mlp.up_proj", 2, false)};
    struct train_params *both = new_params(m, &(struct train_plan){.sites = sites, .site_count = 2}, 7),
                        *one = new_params(m, &(struct train_plan){.sites = sites + 1, .site_count = 1}, 7),
                        *other = new_params(m, &(struct train_plan){.sites = sites + 1, .site_count = 1}, 8);
    int at = sites[1].site;
    const struct train_tensor *a = tensor(one, one->sites[at].a);
    size_t bytes = a->count * sizeof(float);
    assert_memory_equal(a->value, tensor(both, both->sites[at].a)->value, bytes);
    assert_memory_not_equal(a->value, tensor(other, other->sites[at].a)->value, bytes);
    train_params_free(both);
    train_params_free(one);
    train_params_free(other);
    model_close(m);
}

static void sizes_are_those_of_the_estimate(void **state)
{
    (void)state;
    struct model *m = fixture_model(fixture_path("models/llama"));
    const struct train_site_plan sites[] = {site_plan(m, "model.layers.0.self_attn.q_proj", 4, true)};
    int head = model_find_parameter(m, "lm_head", "weight");
    const struct train_plan plan = {sites, 1, &head, 1};
    struct train_params *p = new_params(m, &plan, 1);
    size_t numbers = 0;
    for (int i = 0; i < p->count; i++)
        numbers += p->tensors[i].count;
    assert_int_equal(numbers, p->numbers);
    size_t estimate = train_params_bytes(m, &plan), least = 4 * numbers * sizeof(float);
    assert_true(estimate > least && estimate < least + 65536);
    train_params_free(p);
    model_close(m);
}

/* Vectors are norms, biases and magnitudes, which do not decay. */
static void matrices_decay_and_vectors_do_not(void **state)
{
    (void)state;
    struct model *m = fixture_model(fixture_path("models/qwen2"));
    const struct train_site_plan sites[] = {site_plan(m, "model.layers.0.self_attn.q_proj", 4, true)};
    int whole[] = {model_find_parameter(m, "model.layers.0.self_attn.q_proj", "bias"),
                   model_find_parameter(m, "lm_head", "weight")};
    struct train_params *p = new_params(m, &(struct train_plan){sites, 1, whole, 2}, 1);
    for (int i = 0; i < p->count; i++)
        assert_int_equal(p->tensors[i].decays, p->tensors[i].cols > 0);
    assert_int_equal(p->count, 5);
    train_params_free(p);
    model_close(m);
}

/* What train_params_delta gives is, to the bit, the delta of the source that was taken. */
static void an_adapter_is_taken_and_given_back(void **state)
{
    (void)state;
    struct err e;
    struct model *m = fixture_model(fixture_path("models/llama"));
    const struct train_site_plan sites[] = {site_plan(m, "model.layers.0.self_attn.q_proj", 4, true)};
    int norm = model_find_parameter(m, "model.norm", "weight"),
        head = model_find_parameter(m, "lm_head", "weight"),
        whole[] = {norm < head ? norm : head, norm < head ? head : norm};
    const struct train_plan plan = {sites, 1, whole, 2};
    struct train_params *first = new_params(m, &plan, 3), *taken = NULL;
    const struct train_site *s = &first->sites[sites[0].site];
    for (size_t i = 0; i < tensor(first, s->b)->count; i++)
        first->tensors[s->b].value[i] = (float)i / 512;
    first->tensors[first->whole[norm]].value[0] = 3;
    const struct delta_part part = {.site = sites[0].site,
                                    .rank = 4,
                                    .scale = 2,
                                    .has = {true, true, true},
                                    .values = {tensor(first, s->a)->value, tensor(first, s->b)->value,
                                               tensor(first, s->magnitude)->value}};
    const struct delta_replacement replaced = {norm, tensor(first, first->whole[norm])->value};
    /* lm_head is as in the base, so the source has it not. */
    const struct delta_source source = {
        .parts = &part, .count = 1, .replacements = &replaced, .replacement_count = 1};
    assert_int_equal(train_params_from(&taken, m, &plan, &source, &e), 0);
    assert_int_equal(taken->numbers, first->numbers);
    assert_memory_equal(taken->memory, first->memory, first->numbers * sizeof(float));
    struct delta *a = NULL, *b = NULL;
    assert_int_equal(train_params_delta(taken, &a, &e), 0);
    assert_int_equal(train_params_delta(first, &b, &e), 0);
    assert_int_equal(a->memory_bytes, b->memory_bytes);
    assert_memory_equal(a->memory, b->memory, a->memory_bytes);
    assert_true(delta_vector(a, norm, m->final_norm.weight)[0] == 3);
    train_params_free(taken);
    assert_int_equal(train_params_from(&taken, m, NULL, &source, &e), 0);
    assert_int_equal(taken->whole[head], -1);
    train_params_free(taken);
    train_params_free(first);
    delta_unref(a);
    delta_unref(b);
    model_close(m);
}

static void what_cannot_be_trained_is_refused(void **state)
{
    (void)state;
    struct err e;
    struct model *m = fixture_model(fixture_path("models/qwen2"));
    struct train_params *p = NULL;
    float *values = calloc((size_t)m->config.vocab * (size_t)m->config.hidden, sizeof *values);
    const struct delta_replacement shared[] = {{m->embed.weight_parameter, values},
                                               {m->lm_head.weight_parameter, values}};
    const struct delta_rows rows = {
        .parameter = m->embed.weight_parameter, .count = 1, .index = &(int32_t){3}, .values = values};
    const struct delta_source refused[] = {{.replacements = shared, .replacement_count = 2},
                                           {.rows = &rows, .rows_count = 1}};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(train_params_from(&p, m, NULL, &refused[i], &e), -1);
        assert_string_equal(e.code, "adapter_unsupported_feature");
    }
    assert_null(p);
    free(values);
    model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_values_are_those_of_peft),
        cmocka_unit_test(first_values_depend_on_seed_and_name_alone),
        cmocka_unit_test(sizes_are_those_of_the_estimate),
        cmocka_unit_test(matrices_decay_and_vectors_do_not),
        cmocka_unit_test(an_adapter_is_taken_and_given_back),
        cmocka_unit_test(what_cannot_be_trained_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

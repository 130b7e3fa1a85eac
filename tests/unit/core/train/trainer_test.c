/* The trainer: rates, orders, the optimizer, preferences, evaluation and its patience, checkpoints; what is
 * given back in other portions, or after another life, ends in the same bits. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/buf.h"
#include "core/train/optimizer.h"
#include "core/train/train_steps.h"
#include "core/train/trainer.h"
#include "tests/golden/fixture.h"
#include "tests/unit/core/train/lines.h"

static void assert_near(double found, double wanted, double off)
{
    if (!(fabs(found - wanted) <= off))
        fail_msg("%.12g, expected %.12g", found, wanted);
}

/* ---- steps ---- */

static void a_step_ends_with_its_epoch(void **state)
{
    (void)state;
    struct train_options o = lines_options();
    o.batch_size = 2;
    o.accumulation = 2;
    o.epochs = 3;
    static const struct train_span wanted[] = {{0, 0, 4}, {0, 4, 4}, {0, 8, 2}, {1, 0, 4}};
    assert_int_equal(train_steps_all(&o, 10), 9);
    for (int i = 0; i < 4; i++) {
        struct train_span s = train_steps_span(&o, 10, i);
        assert_int_equal(s.epoch, wanted[i].epoch);
        assert_int_equal(s.first, wanted[i].first);
        assert_int_equal(s.count, wanted[i].count);
    }
    o.epochs = 0.5;
    assert_int_equal(train_steps_all(&o, 10), 2);
    o.max_steps = 5;
    assert_int_equal(train_steps_all(&o, 10), 5);
}

static void rates_are_those_of_transformers(void **state)
{
    (void)state;
    static const struct {
        enum train_schedule schedule;
        int64_t warmup, step;
        double rate;
    } cases[] = {
        {TRAIN_CONSTANT, 0, 0, 1},  {TRAIN_CONSTANT, 4, 0, 0},   {TRAIN_CONSTANT, 4, 1, 0.25},
        {TRAIN_CONSTANT, 4, 4, 1},  {TRAIN_CONSTANT, 4, 9, 1},   {TRAIN_LINEAR, 0, 0, 1},
        {TRAIN_LINEAR, 0, 5, 0.5},  {TRAIN_LINEAR, 2, 2, 1},     {TRAIN_LINEAR, 2, 6, 0.5},
        {TRAIN_COSINE, 0, 0, 1},    {TRAIN_COSINE, 0, 5, 0.5},   {TRAIN_COSINE, 2, 4, 0.853553390593},
        {TRAIN_COSINE, 10, 9, 0.9}, {TRAIN_LINEAR, 20, 9, 0.45},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct train_options o = {
            .schedule = cases[i].schedule, .warmup_steps = cases[i].warmup, .learning_rate = 1};
        assert_near(train_steps_rate(&o, cases[i].step, 10), cases[i].rate, 1e-12);
    }
}

static void an_epoch_has_each_line_once_in_an_order_of_its_own(void **state)
{
    (void)state;
    struct train_options o = {.shuffle = true, .seed = 5}, other = {.shuffle = true, .seed = 6};
    for (size_t lines = 1; lines < 300; lines++) {
        bool seen[300] = {false};
        for (size_t i = 0; i < lines; i++) {
            size_t line = train_steps_line(&o, lines, 0, i);
            assert_true(line < lines && !seen[line]);
            seen[line] = true;
        }
    }
    size_t at_home = 0, same_epoch = 0, same_seed = 0, neighbours = 0;
    for (size_t i = 0; i < 1000; i++) {
        size_t line = train_steps_line(&o, 1000, 0, i);
        at_home += line == i;
        same_epoch += line == train_steps_line(&o, 1000, 1, i);
        same_seed += line == train_steps_line(&other, 1000, 0, i);
        neighbours += i > 0 && line == train_steps_line(&o, 1000, 0, i - 1) + 1;
    }
    assert_true(at_home < 10 && same_epoch < 10 && same_seed < 10 && neighbours < 10);
    o.shuffle = false;
    assert_int_equal(train_steps_line(&o, 1000, 3, 77), 77);
}

/* ---- the optimizer ---- */

/* Against torch.optim.AdamW(lr=0.1, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.5) in float64 on one number:
 * 1, gradients 0.5, -2, 0, clipped times 1. */
static void adamw_is_that_of_torch(void **state)
{
    (void)state;
    struct train_options o = {
        .adam_beta1 = 0.8, .adam_beta2 = 0.95, .adam_epsilon = 1e-3, .weight_decay = 0.5};
    const double gradients[] = {0.5, -2, 0};
    double value = 1, first = 0, second = 0;
    float numbers[4] = {1, 0, 0, 0};
    struct train_tensor t = {.kind = TRAIN_A,
                             .count = 1,
                             .decays = true,
                             .value = numbers,
                             .gradient = numbers + 1,
                             .first = numbers + 2,
                             .second = numbers + 3};
    struct train_params p = {.tensors = &t, .count = 1, .numbers = 1};
    for (int s = 1; s <= 3; s++) {
        double g = gradients[s - 1] * 0.5;
        value *= 1 - 0.1 * 0.5;
        first = 0.8 * first + 0.2 * g;
        second = 0.95 * second + 0.05 * g * g;
        value -= 0.1 / (1 - pow(0.8, s)) * first / (sqrt(second) / sqrt(1 - pow(0.95, s)) + 1e-3);
        numbers[1] = (float)gradients[s - 1];
        optimizer_step(&p, &o, s, 0.1, 0.5);
        assert_near((double)numbers[0], value, 1e-6);
    }
    /* Vectors do not decay unless asked. */
    t.decays = false;
    numbers[1] = numbers[2] = 0;
    float before = numbers[0];
    optimizer_step(&p, &o, 4, 0.1, 1);
    assert_true(numbers[0] == before);
    o.decay_all = true;
    optimizer_step(&p, &o, 5, 0.1, 1);
    assert_near((double)numbers[0], (double)before * 0.95, 1e-6);
}

static void gradients_are_clipped_by_their_common_norm(void **state)
{
    (void)state;
    float gradients[20];
    struct train_tensor t[2] = {{.count = 11, .gradient = gradients},
                                {.count = 9, .gradient = gradients + 11}};
    struct train_params p = {.tensors = t, .count = 2};
    double squares = 0;
    for (int i = 0; i < 20; i++) {
        gradients[i] = (float)(i - 7);
        squares += (i - 7) * (i - 7);
    }
    assert_near(optimizer_norm(&p), sqrt(squares), 1e-12);
    struct train_options o = {.max_grad_norm = 1};
    assert_near(optimizer_clip(&o, 4), 1 / (4 + 1e-6), 1e-15);
    assert_near(optimizer_clip(&o, 0.5), 1, 0);
    o.max_grad_norm = 0;
    assert_near(optimizer_clip(&o, 1e9), 1, 0);
}

/* ---- a small job of numbers ---- */

enum { INPUTS = 16, OUTPUTS = 10, LINES = 24, VALID = 6 };

struct job {
    struct model *model;
    float input[LINES + VALID][INPUTS], target[LINES + VALID][OUTPUTS];
    struct train_line lines[LINES + VALID];
    struct lines train, valid;
    struct train_options options;
};

static int setup(void **state)
{
    struct job *j = calloc(1, sizeof *j);
    uint32_t n = 1;
    j->model = fixture_model(fixture_path("models/mlp"));
    for (int i = 0; i < LINES + VALID; i++) {
        for (int k = 0; k < INPUTS; k++)
            j->input[i][k] = (float)((n = n * 1664525 + 1013904223) >> 8) / 8388608 - 1;
        for (int k = 0; k < OUTPUTS; k++)
            j->target[i][k] = (float)((n = n * 1664525 + 1013904223) >> 8) / 8388608 - 1;
        j->lines[i] = (struct train_line){.input = j->input[i], .target = j->target[i]};
    }
    lines_init(&j->train, j->lines, LINES);
    lines_init(&j->valid, j->lines + LINES, VALID);
    j->options = lines_options();
    j->options.batch_size = 3;
    j->options.accumulation = 2;
    j->options.shuffle = true;
    j->options.epochs = 3;
    j->options.eval_steps = 2;
    j->options.max_grad_norm = 1;
    *state = j;
    return 0;
}

static int teardown(void **state)
{
    struct job *j = *state;
    model_close(j->model);
    free(j);
    return 0;
}

static struct trainer *start(struct job *j)
{
    static const char *const layers[] = {"fc1", "fc2", "fc3", NULL};
    struct trainer *t;
    struct err e;
    if (trainer_new(&t, j->model, &j->options,
                    lines_params(j->model, &(struct lines_plan){layers, 4, true, NULL}), &j->train.data,
                    &j->valid.data, &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
    return t;
}

static struct train_report run(struct trainer *t)
{
    struct train_report r;
    struct err e;
    if (trainer_run_numeric(t, &r, &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
    return r;
}

static void save(const struct trainer *t, struct buf *out)
{
    struct err e;
    buf_clear(out);
    assert_true(trainer_can_save(t));
    assert_int_equal(trainer_save(t, lines_write, out, &e), 0);
    assert_int_equal(out->length, trainer_save_bytes(t));
}

static void assert_same_result(const struct trainer *a, const struct trainer *b)
{
    const struct train_params *x = trainer_result(a), *y = trainer_result(b);
    assert_int_equal(x->numbers, y->numbers);
    assert_memory_equal(x->memory, y->memory, 4 * x->numbers * sizeof *x->memory);
}

static void steps_and_evaluations_follow_each_other(void **state)
{
    struct job *j = *state;
    j->options.eval_on_start = true;
    struct trainer *t = start(j);
    char story[64] = "";
    double first = 0, last = 0;
    assert_int_equal(trainer_steps(t), 12);
    while (!trainer_is_done(t)) {
        struct train_report r = run(t);
        strcat(story, r.kind == TRAIN_REPORT_STEP ? "s" : "e");
        assert_int_equal(r.step, trainer_step(t));
        assert_int_equal(r.targets, r.kind == TRAIN_REPORT_STEP ? 6 : VALID);
        if (r.kind == TRAIN_REPORT_STEP)
            last = r.loss;
        first = first > 0 ? first : r.kind == TRAIN_REPORT_STEP ? r.loss : 0;
    }
    assert_string_equal(story, "essessessessessesse");
    assert_true(last < first);
    assert_int_equal(run(t).kind, TRAIN_REPORT_NOTHING);
    trainer_free(t);
}

/* Left at every point, each time in a life of its own. */
static void a_restored_job_ends_in_the_same_bits(void **state)
{
    struct job *j = *state;
    j->options.patience = 3;
    struct trainer *whole = start(j), *parts = start(j);
    struct buf saved = {0};
    struct err e;
    while (!trainer_is_done(whole))
        run(whole);
    while (!trainer_is_done(parts)) {
        save(parts, &saved);
        run(parts); /* lost */
        trainer_free(parts);
        parts = start(j);
        assert_int_equal(trainer_restore(parts, saved.data, saved.length, &e), 0);
        run(parts);
    }
    assert_same_result(whole, parts);
    assert_int_equal(trainer_step(whole), trainer_step(parts));
    assert_int_equal(trainer_trained_tokens(whole), trainer_trained_tokens(parts));
    buf_fini(&saved);
    trainer_free(whole);
    trainer_free(parts);
}

static void expect_refused(struct trainer *t, const struct buf *saved, size_t length)
{
    struct err e = {0};
    assert_int_equal(trainer_restore(t, saved->data, length, &e), -1);
    assert_string_equal(e.code, "checkpoint_malformed");
}

static void damaged_checkpoints_and_those_of_others_are_refused(void **state)
{
    struct job *j = *state;
    struct trainer *t = start(j), *fresh = start(j), *untouched = start(j);
    struct buf saved = {0};
    run(t);
    save(t, &saved);
    for (size_t at = 0; at < saved.length; at += at < 200 ? 1 : 997) {
        saved.data[at] ^= 1;
        expect_refused(fresh, &saved, saved.length);
        saved.data[at] ^= 1;
    }
    expect_refused(fresh, &saved, 0);
    expect_refused(fresh, &saved, 16);
    expect_refused(fresh, &saved, saved.length - 1);
    assert_same_result(fresh, untouched);
    trainer_free(fresh);
    j->options.learning_rate *= 2;
    fresh = start(j);
    expect_refused(fresh, &saved, saved.length);
    trainer_free(fresh);
    j->options.learning_rate /= 2;
    j->options.seed++;
    fresh = start(j);
    expect_refused(fresh, &saved, saved.length);
    buf_fini(&saved);
    trainer_free(t);
    trainer_free(fresh);
    trainer_free(untouched);
}

/* The rate is so high that it gets worse at once: the values of the best evaluation are the result. */
static void without_patience_left_it_stops_with_the_best(void **state)
{
    struct job *j = *state;
    j->options.eval_on_start = true;
    j->options.eval_steps = 1;
    j->options.patience = 2;
    j->options.learning_rate = 1;
    j->options.max_steps = 50;
    struct trainer *t = start(j), *first = start(j);
    size_t bytes = trainer_result(t)->numbers * sizeof(float);
    assert_true(run(t).best);
    assert_false((run(t), run(t)).best);
    assert_memory_not_equal(trainer_result(t)->memory, trainer_result(first)->memory, bytes);
    assert_false((run(t), run(t)).best);
    assert_true(trainer_is_done(t));
    assert_int_equal(trainer_step(t), 2);
    assert_memory_equal(trainer_result(t)->memory, trainer_result(first)->memory, bytes);
    trainer_free(t);
    trainer_free(first);
}

static void what_diverges_is_an_error(void **state)
{
    struct job *j = *state;
    struct err e;
    struct train_report r;
    j->input[0][0] = 1e30f;
    j->options.shuffle = false;
    struct trainer *t = start(j);
    assert_int_equal(trainer_run_numeric(t, &r, &e), -1);
    assert_string_equal(e.code, "training_diverged");
    trainer_free(t);
}

/* ---- examples of language models, computed by nobody ---- */

enum { SEQUENCES = 9 };

struct talk {
    struct model *model;
    int32_t tokens[SEQUENCES + 20];
    struct train_line lines[SEQUENCES];
    struct lines data;
};

static void talk_init(struct talk *k)
{
    *k = (struct talk){.model = fixture_model(fixture_path("models/llama"))};
    for (int i = 0; i < SEQUENCES; i++) {
        struct train_sequence s = {k->tokens, k->tokens, 2 + i, 1 + i},
                              other = {k->tokens, k->tokens, 3 + i, 2};
        k->lines[i] = (struct train_line){.sequence = s, .rejected = other};
    }
    lines_init(&k->data, k->lines, SEQUENCES);
}

static struct trainer *talk_start(struct talk *k, const struct train_options *o,
                                  const struct train_data *valid)
{
    static const char *const layers[] = {"model.layers.0.self_attn.q_proj", NULL};
    struct trainer *t;
    struct err e;
    struct train_params *p = lines_params(k->model, &(struct lines_plan){layers, 2, false, NULL});
    assert_int_equal(trainer_new(&t, k->model, o, p, &k->data.data, valid, &e), 0);
    return t;
}

/* A loss that the weights decide, and gradients that go with it. */
static void compute(struct train_example *x, int count)
{
    for (int i = 0; i < count; i++) {
        int n = x[i].sequence->count;
        x[i].targets = x[i].sequence->targets;
        x[i].correct = n % 2;
        x[i].loss = x[i].delta ? 0.5 * n : 0.7 * n;
        for (int k = 0; x[i].params && k < 5; k++)
            x[i].params->tensors[1].gradient[k] += x[i].weight * (float)(n - 2 * k);
    }
}

static void examples_fit_the_room_and_weigh_by_all_targets_of_the_step(void **state)
{
    (void)state;
    struct talk k;
    struct train_options o = lines_options();
    struct train_example x[8];
    struct train_report r;
    struct err e;
    talk_init(&k);
    o.batch_size = 4;
    struct trainer *t = talk_start(&k, &o, NULL); /* of 2, 3, 4, 5 tokens, then 6.. */
    assert_int_equal(trainer_next(t, 1, x, 8, &e), 0);
    assert_int_equal(trainer_next(t, 8, x, 8, &e), 2);
    assert_int_equal(trainer_next(t, 8, x, 8, &e), 0); /* those are out */
    assert_false(trainer_can_save(t));
    assert_near((double)x[0].weight, 0.1, 1e-7);
    assert_ptr_equal(x[1].sequence->tokens, k.tokens);
    assert_int_equal(x[1].sequence->count, 3);
    compute(x, 2);
    assert_int_equal(trainer_give(t, x, 2, &r, &e), 0);
    assert_int_equal(r.kind, TRAIN_REPORT_NOTHING);
    assert_true(trainer_can_save(t));
    assert_int_equal(trainer_next(t, 100, x, 1, &e), 1);
    compute(x, 1);
    assert_int_equal(trainer_give(t, x, 1, &r, &e), 0);
    assert_int_equal(trainer_next(t, 100, x, 8, &e), 1); /* the step ends here */
    compute(x, 1);
    assert_int_equal(trainer_give(t, x, 1, &r, &e), 0);
    assert_int_equal(r.kind, TRAIN_REPORT_STEP);
    assert_int_equal(r.tokens, 14);
    assert_int_equal(r.targets, 10);
    assert_near(r.loss, 0.5 * 14 / 10, 1e-12);
    assert_near(r.accuracy, 0.2, 1e-12);
    assert_near(r.epoch, 1.0 / 3, 1e-12);
    assert_int_equal(trainer_trained_tokens(t), 14);
    trainer_free(t);
    model_close(k.model);
}

static void finish(struct trainer *t, int room, int max)
{
    struct train_example x[64];
    struct train_report r;
    struct err e;
    while (!trainer_is_done(t)) {
        int count = trainer_next(t, room, x, max, &e);
        assert_true(count > 0);
        compute(x, count);
        assert_int_equal(trainer_give(t, x, count, &r, &e), 0);
    }
}

static void portions_do_not_matter(void **state)
{
    (void)state;
    struct talk k;
    talk_init(&k);
    for (enum train_method method = TRAIN_SUPERVISED; method <= TRAIN_DPO; method++) {
        struct train_options o = lines_options();
        o.method = method;
        o.batch_size = 4;
        o.epochs = 2;
        o.shuffle = true;
        struct trainer *one = talk_start(&k, &o, &k.data.data), *all = talk_start(&k, &o, &k.data.data);
        finish(one, 11, 1);
        finish(all, 1000, 64);
        assert_same_result(one, all);
        assert_int_equal(trainer_step(one), 6);
        trainer_free(one);
        trainer_free(all);
    }
    model_close(k.model);
}

/* Two pairs: first what is preferred, by adapter and base, then gradients by how sure it is of it. */
static void preferences_weigh_by_what_was_computed_first(void **state)
{
    (void)state;
    struct talk k;
    struct train_options o = lines_options();
    struct train_example x[16];
    struct train_report r;
    struct err e;
    talk_init(&k);
    o.method = TRAIN_DPO;
    o.batch_size = 2;
    struct trainer *t = talk_start(&k, &o, NULL);
    assert_int_equal(trainer_next(t, 100, x, 16, &e), 8); /* two pairs, two sides, with and without */
    for (int i = 0; i < 8; i++) {
        assert_null(x[i].params);
        assert_int_equal(x[i].delta == NULL, i >= 4);
    }
    const double losses[] = {3, 5, 2, 1, 4, 5, 2, 2.5}; /* chosen, rejected; twice; then of the base */
    for (int i = 0; i < 8; i++)
        x[i].loss = losses[i];
    assert_int_equal(trainer_give(t, x, 8, &r, &e), 0);
    assert_int_equal(r.kind, TRAIN_REPORT_NOTHING);
    assert_int_equal(trainer_next(t, 100, x, 16, &e), 4);
    /* beta ((c - c0) - (r - r0)): 0.1 ((4 - 3) - (5 - 5)) and 0.1 ((2 - 2) - (2.5 - 1)) */
    const double z[] = {0.1, -0.15};
    for (int i = 0; i < 4; i++) {
        assert_non_null(x[i].params);
        assert_near((double)x[i].weight, (i % 2 ? -1 : 1) * 0.1 / (1 + exp(z[i / 2])) / 2, 1e-8);
    }
    compute(x, 4);
    assert_int_equal(trainer_give(t, x, 4, &r, &e), 0);
    assert_int_equal(r.kind, TRAIN_REPORT_STEP);
    assert_near(r.loss, (log1p(exp(-z[0])) + log1p(exp(-z[1]))) / 2, 1e-12);
    assert_near(r.accuracy, 0.5, 1e-12);
    assert_int_equal(r.tokens, 2 + 3 + 3 + 4);
    trainer_free(t);
    model_close(k.model);
}

int main(void)
{
#define ON_A_JOB(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_ends_with_its_epoch),
        cmocka_unit_test(rates_are_those_of_transformers),
        cmocka_unit_test(an_epoch_has_each_line_once_in_an_order_of_its_own),
        cmocka_unit_test(adamw_is_that_of_torch),
        cmocka_unit_test(gradients_are_clipped_by_their_common_norm),
        ON_A_JOB(steps_and_evaluations_follow_each_other),
        ON_A_JOB(a_restored_job_ends_in_the_same_bits),
        ON_A_JOB(damaged_checkpoints_and_those_of_others_are_refused),
        ON_A_JOB(without_patience_left_it_stops_with_the_best),
        ON_A_JOB(what_diverges_is_an_error),
        cmocka_unit_test(examples_fit_the_room_and_weigh_by_all_targets_of_the_step),
        cmocka_unit_test(portions_do_not_matter),
        cmocka_unit_test(preferences_weigh_by_what_was_computed_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

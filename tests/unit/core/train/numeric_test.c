/* Numeric bases: the textbook's example of gradient descent by hand; gradients of every kind of tensor
 * against differences of the loss; the forward pass is that of serving, to the bit. */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/buf.h"
#include "core/forward/forward.h"
#include "core/format/safetensors_write.h"
#include "core/model/network.h"
#include "core/system/file.h"
#include "core/train/train_numeric.h"
#include "tests/golden/fixture.h"
#include "tests/unit/core/train/lines.h"
#include "tests/unit/support/scratch.h"

/* ---- the textbook ---- */

static const float first_layer[] = {0.11f, 0.21f, 0.12f, 0.08f}, second_layer[] = {0.14f, 0.15f},
                   zeros[2] = {0, 0};

/* Two inputs, two hidden numbers, one output; no bias that counts, and everything is above zero. */
static struct model *textbook(char **directory)
{
    static const char config[] = "{\"model_type\": \"mlp\", \"layer_sizes\": [2, 2, 1]}";
    const struct safetensors_out tensors[] = {{"fc1.bias", 2, 0, zeros},
                                              {"fc1.weight", 2, 2, first_layer},
                                              {"fc2.bias", 1, 0, zeros},
                                              {"fc2.weight", 1, 2, second_layer}};
    struct buf bytes = {0};
    struct err e;
    *directory = scratch_new();
    assert_int_equal(safetensors_write(tensors, 4, lines_write, &bytes, &e), 0);
    scratch_write(*directory, "model.safetensors", bytes.data, bytes.length);
    scratch_write(*directory, "config.json", config, strlen(config));
    buf_fini(&bytes);
    return fixture_model(*directory);
}

static void assert_near(double found, double wanted, double off)
{
    if (!(fabs(found - wanted) <= off))
        fail_msg("%.9g, expected %.9g", found, wanted);
}

/* h = (0.85, 0.48), y = 0.191, error (y - 1)^2 / 2 = 0.327; dy = -0.809; every weight changes by 0.05 * 0.809
 * * what came in * what stands behind. */
static void a_step_of_gradient_descent_is_that_of_the_textbook(void **state)
{
    (void)state;
    char *directory;
    struct err e;
    struct model *m = textbook(&directory);
    const struct train_line line = {.input = (const float[]){2, 3}, .target = (const float[]){1}};
    struct lines data;
    struct train_options o = lines_options();
    o.optimizer = TRAIN_SGD;
    o.loss = TRAIN_HALF_MSE;
    o.learning_rate = 0.05;
    struct train_params *p = lines_params(
        m, &(struct lines_plan){.whole = (const char *const[]){"fc1.weight", "fc2.weight", NULL}});
    struct trainer *t;
    struct train_report r;
    assert_int_equal(trainer_new(&t, m, &o, p, lines_init(&data, &line, 1), NULL, &e), 0);
    assert_int_equal(trainer_run_numeric(t, &r, &e), 0);
    assert_int_equal(r.kind, TRAIN_REPORT_STEP);
    assert_near(r.loss, 0.5 * 0.809 * 0.809, 1e-6); /* 0.327 */
    const float *w1 = p->tensors[0].value, *w2 = p->tensors[1].value;
    double push = 0.05 * 0.809;
    const double wanted1[] = {0.11 + push * 0.14 * 2, 0.21 + push * 0.14 * 3, 0.12 + push * 0.15 * 2,
                              0.08 + push * 0.15 * 3};
    for (int i = 0; i < 4; i++)
        assert_near((double)w1[i], wanted1[i], 1e-7);
    assert_near((double)w2[0], 0.14 + push * 0.85, 1e-7);
    assert_near((double)w2[1], 0.15 + push * 0.48, 1e-7);
    assert_true(trainer_is_done(t));
    trainer_free(t);
    model_close(m);
    scratch_remove(directory);
}

/* ---- gradients ---- */

enum { INPUTS = 16, OUTPUTS = 10, EXAMPLES = 70 }; /* more than are computed together */

struct case_of {
    const char *name;
    struct lines_plan plan;
    enum train_loss loss;
    double dropout;
};

struct examples {
    float input[EXAMPLES][INPUTS], target[EXAMPLES][OUTPUTS];
    struct train_line lines[EXAMPLES];
};

static void make_examples(struct examples *x)
{
    uint32_t n = 1;
    for (int i = 0; i < EXAMPLES; i++) {
        for (int k = 0; k < INPUTS; k++)
            x->input[i][k] = (float)((n = n * 1664525 + 1013904223) >> 8) / 8388608 - 1;
        for (int k = 0; k < OUTPUTS; k++)
            x->target[i][k] = (float)((n = n * 1664525 + 1013904223) >> 8) / 8388608 - 1;
        x->lines[i] = (struct train_line){
            .input = x->input[i], .target = x->target[i], .class = (int32_t)(n >> 8) % OUTPUTS};
    }
}

/* The sum of losses as the params are; with the gradient where `weight` is not 0. */
static double loss_of(struct train_numeric *n, const struct model *m, const struct train_options *o,
                      struct train_params *p, const struct examples *x, float weight)
{
    double loss = 0;
    struct err e;
    struct delta *d;
    assert_int_equal(train_params_delta(p, &d, &e), 0);
    (void)m;
    for (int at = 0; at < EXAMPLES; at += TRAIN_NUMERIC_ROWS) {
        struct train_numeric_row rows[TRAIN_NUMERIC_ROWS];
        int count = EXAMPLES - at < TRAIN_NUMERIC_ROWS ? EXAMPLES - at : TRAIN_NUMERIC_ROWS;
        for (int i = 0; i < count; i++)
            rows[i] = (struct train_numeric_row){x->lines[at + i].input, x->lines[at + i].target,
                                                 x->lines[at + i].class, (uint64_t)(at + i)};
        struct train_numeric_job j = {
            .options = o, .delta = d, .params = p, .rows = rows, .count = count, .weight = weight};
        assert_int_equal(train_numeric_run(n, &j, &e), 0);
        loss += j.loss;
    }
    delta_unref(d);
    return loss;
}

/* Of DoRA the norm is a constant in the gradient, but the loss has it: B and A are then left to the
 * comparison with PyTorch. */
static bool is_compared(const struct case_of *c, const struct train_tensor *t)
{
    return !c->plan.dora || t->kind == TRAIN_MAGNITUDE;
}

static void check_tensor(const struct case_of *c, struct train_numeric *n, const struct model *m,
                         const struct train_options *o, struct train_params *p, const struct examples *x,
                         int index)
{
    const struct train_tensor *t = &p->tensors[index];
    double far = 0, norm = 0;
    size_t step = t->count > 60 ? t->count / 60 : 1;
    for (size_t i = 0; i < t->count; i += step) {
        float own = t->value[i], h = 5e-4f;
        t->value[i] = own + h;
        double above = loss_of(n, m, o, p, x, 0);
        t->value[i] = own - h;
        double below = loss_of(n, m, o, p, x, 0), wanted = (above - below) / (2 * (double)h);
        t->value[i] = own;
        far += pow((double)t->gradient[i] - wanted, 2);
        norm += wanted * wanted;
    }
    if (!(sqrt(far) <= 0.04 * sqrt(norm) + 1e-4) || !(norm > 0))
        fail_msg("%s, tensor %d: off by %g of %g", c->name, index, sqrt(far), sqrt(norm));
}

static void check_gradients(const struct case_of *c, const struct model *m, const struct examples *x)
{
    struct train_options o = lines_options();
    struct train_numeric *n;
    struct err e;
    struct train_params *p = lines_params(m, &c->plan), *copy;
    o.loss = c->loss;
    o.dropout = c->dropout;
    for (int i = 0; i < p->count; i++) /* B is zero at first */
        for (size_t k = 0; p->tensors[i].kind == TRAIN_B && k < p->tensors[i].count; k++)
            p->tensors[i].value[k] = (float)((int)(k * 37 % 64) - 31) / 256;
    assert_int_equal(train_numeric_new(&n, m, &e), 0);
    loss_of(n, m, &o, p, x, 1);
    copy = lines_params(m, &c->plan); /* differences add to gradients, too: of zero weight, so nothing */
    memcpy(copy->memory, p->memory, p->numbers * sizeof(float));
    for (int i = 0; i < p->count; i++) {
        memcpy(copy->tensors[i].gradient, p->tensors[i].gradient, p->tensors[i].count * sizeof(float));
        if (is_compared(c, &p->tensors[i]))
            check_tensor(c, n, m, &o, copy, x, i);
    }
    train_params_free(p);
    train_params_free(copy);
    train_numeric_free(n);
}

static void gradients_are_those_of_the_loss(void **state)
{
    (void)state;
    static const char *const layers[] = {"fc1", "fc2", "fc3", "fc4", NULL}, *const whole[] = {
                                                                                "fc1.weight", "fc1.bias",
                                                                                "fc3.weight", "fc4.bias",
                                                                                NULL};
    const struct case_of cases[] = {
        {"lora, mse", {layers, 4, false, NULL}, TRAIN_MSE, 0},
        {"lora, half of it", {layers, 4, false, NULL}, TRAIN_HALF_MSE, 0},
        {"lora, classes", {layers, 3, false, NULL}, TRAIN_CROSS_ENTROPY, 0},
        {"lora, dropout", {layers, 3, false, NULL}, TRAIN_MSE, 0.3},
        {"dora", {layers, 4, true, NULL}, TRAIN_CROSS_ENTROPY, 0},
        {"whole", {NULL, 0, false, whole}, TRAIN_MSE, 0},
    };
    struct model *m = fixture_model(fixture_path("models/mlp"));
    struct examples *x = calloc(1, sizeof *x);
    make_examples(x);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_gradients(&cases[i], m, x);
    free(x);
    model_close(m);
}

/* ---- forward ---- */

/* The loss of each row is that of the row as it is served. */
static void forward_is_that_of_serving(void **state)
{
    (void)state;
    struct model *m = fixture_model(fixture_path("models/mlp"));
    struct examples *x = calloc(1, sizeof *x);
    struct train_options o = lines_options();
    struct train_params *p =
        lines_params(m, &(struct lines_plan){(const char *const[]){"fc1", "fc2", NULL}, 4, true,
                                             (const char *const[]){"fc4.bias", NULL}});
    struct pool *pool;
    struct forward *f;
    struct train_numeric *n;
    struct delta *d;
    struct err e;
    make_examples(x);
    for (int i = 0; i < p->count; i++)
        for (size_t k = 0; p->tensors[i].kind == TRAIN_B && k < p->tensors[i].count; k++)
            p->tensors[i].value[k] = (float)((int)(k * 37 % 64) - 31) / 256;
    assert_int_equal(train_params_delta(p, &d, &e), 0);
    assert_int_equal(pool_new(&pool, 1, &e), 0);
    assert_int_equal(forward_new(&f, m, pool, NULL, 1, 1, &e), 0);
    assert_int_equal(train_numeric_new(&n, m, &e), 0);
    for (int i = 0; i < EXAMPLES; i++) {
        const struct delta *delta = d;
        const struct batch b = {
            .count = 1, .input = x->input[i], .delta = &delta, .want_logits = (const uint8_t[]){1}};
        const float *served = forward_step(f, &b);
        /* With the served outputs as the target there is no loss at all. */
        const struct train_numeric_row row = {.input = x->input[i], .target = served};
        struct train_numeric_job j = {.options = &o, .delta = d, .rows = &row, .count = 1};
        assert_int_equal(train_numeric_run(n, &j, &e), 0);
        assert_true(j.loss == 0);
    }
    delta_unref(d);
    train_numeric_free(n);
    forward_free(f);
    pool_free(pool);
    train_params_free(p);
    free(x);
    model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_of_gradient_descent_is_that_of_the_textbook),
        cmocka_unit_test(gradients_are_those_of_the_loss),
        cmocka_unit_test(forward_is_that_of_serving),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Training against PyTorch and PEFT: every job of the folder, loss of each step, norm of its gradients, rate,
 * gradients of the first step, the adapter at the end. The same bits whatever threads, passes and lives.
 *
 * ADAPTERD_TRAINING_JOBS names another folder of jobs; ADAPTERD_TRAINING_OUT one for what they produced. */
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/format/safetensors.h"
#include "tests/golden/fixture.h"
#include "tests/golden/train_job.h"
#include "tests/unit/support/scratch.h"

/* What float32 of another order stays within, relative. */
static const double LOSS = 2e-5, NORM = 2e-4, RATE = 1e-6, GRADIENT = 2e-4, FINAL = 2e-3;

enum { JOBS_MAX = 256, HEADER_MAX = 1 << 20 };

static int is_job(const struct dirent *d)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s/job.json", train_job_root(), d->d_name);
    return fixture_exists(path);
}

static void each_job(void (*run)(const char *name))
{
    struct dirent **names;
    int count = scandir(train_job_root(), &names, is_job, alphasort);
    assert_in_range(count, 1, JOBS_MAX);
    for (int i = 0; i < count; i++) {
        run(names[i]->d_name);
        free(names[i]);
    }
    free(names);
}

/* ---- files of tensors ---- */

struct tensors {
    int fd;
    struct safetensors *file;
};

static void tensors_of_fd(struct tensors *t, int fd)
{
    struct err e;
    t->fd = fd;
    assert_true(fd >= 0);
    if (safetensors_open(&t->file, fd, HEADER_MAX, &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
}

static void tensors_of_file(struct tensors *t, const struct train_job *j, const char *file)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", j->directory, file);
    tensors_of_fd(t, open(path, O_RDONLY | O_CLOEXEC));
}

static void tensors_of_bytes(struct tensors *t, const struct train_job *j, const struct buf *bytes)
{
    char path[600];
    scratch_write(j->scratch, "tensors", bytes->data, bytes->length);
    snprintf(path, sizeof path, "%s/tensors", j->scratch);
    tensors_of_fd(t, open(path, O_RDONLY | O_CLOEXEC));
}

static void tensors_close(struct tensors *t)
{
    safetensors_close(t->file);
    close(t->fd);
}

/* NULL: there is none. */
static float *values_of(const struct tensors *t, const char *name, size_t count)
{
    struct err e;
    const struct tensor *found = safetensors_find(t->file, name);
    if (!found)
        return NULL;
    assert_int_equal(tensor_elements(found), count);
    float *out = malloc(count * sizeof *out);
    assert_int_equal(safetensors_read(t->fd, found, out, 0, &e), 0);
    return out;
}

static double squares(const float *a, const float *b, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += pow((double)a[i] - (b ? (double)b[i] : 0), 2);
    return sum;
}

/* ---- comparison ---- */

static void check_number(const char *job, int64_t step, const char *what, double found, double wanted,
                         double off)
{
    if (!(fabs(found - wanted) <= off * fabs(wanted) + 1e-12))
        fail_msg("%s, step %lld: %s %.9g, expected %.9g", job, (long long)step, what, found, wanted);
}

static void check_steps(const char *name, const json_t *expected, const struct train_job_result *r)
{
    const json_t *steps = json_object_get(expected, "steps");
    assert_int_equal(json_array_size(steps), r->count);
    for (int i = 0; i < r->count; i++) {
        const struct train_report *s = &r->steps[i];
        const json_t *w = json_array_get(steps, (size_t)i), *accuracy = json_object_get(w, "accuracy");
        check_number(name, s->step, "loss", s->loss, json_number_value(json_object_get(w, "loss")), LOSS);
        check_number(name, s->step, "gradient norm", s->gradient_norm,
                     json_number_value(json_object_get(w, "grad_norm")), NORM);
        check_number(name, s->step, "rate", s->learning_rate,
                     json_number_value(json_object_get(w, "learning_rate")), RATE);
        if (!accuracy)
            continue;
        check_number(name, s->step, "accuracy", s->accuracy, json_number_value(accuracy), 1e-9);
        assert_int_equal(s->targets, json_integer_value(json_object_get(w, "targets")));
        assert_int_equal(s->tokens, json_integer_value(json_object_get(w, "tokens")));
    }
    check_number(name, 0, "loss of evaluation before", r->before,
                 json_number_value(json_object_get(expected, "eval_loss_before")), LOSS);
    check_number(name, 0, "loss of evaluation after", r->after,
                 json_number_value(json_object_get(expected, "eval_loss_after")), LOSS);
}

static void check_gradients(const char *name, const struct train_job *j, const struct train_job_result *r)
{
    struct tensors wanted, found;
    double total = 0;
    if (r->gradients.length == 0)
        return;
    tensors_of_file(&wanted, j, "grads.safetensors");
    tensors_of_bytes(&found, j, &r->gradients);
    assert_int_equal(safetensors_count(wanted.file), safetensors_count(found.file));
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < safetensors_count(wanted.file); i++) {
            const struct tensor *t = safetensors_at(wanted.file, i);
            size_t count = (size_t)tensor_elements(t);
            float *w = values_of(&wanted, t->name, count), *f = values_of(&found, t->name, count);
            if (!f)
                fail_msg("%s: no gradient of %s", name, t->name);
            double norm = sqrt(squares(w, NULL, count)), off = sqrt(squares(f, w, count));
            total += pass == 0 ? norm * norm : 0;
            if (pass == 1 && !(off <= GRADIENT * fmax(norm, 1e-6 * sqrt(total))))
                fail_msg("%s: gradient of %s is off by %.3g of %.3g", name, t->name, off, norm);
            free(w);
            free(f);
        }
    tensors_close(&wanted);
    tensors_close(&found);
}

/* All that was trained is there. */
static void check_names(const char *name, const struct train_job *j, const struct tensors *found)
{
    struct tensors trained;
    tensors_of_file(&trained, j, "grads.safetensors");
    for (size_t i = 0; i < safetensors_count(trained.file); i++)
        if (!safetensors_find(found->file, safetensors_at(trained.file, i)->name))
            fail_msg("%s: %s is missing", name, safetensors_at(trained.file, i)->name);
    tensors_close(&trained);
}

static double check_final(const char *name, const struct train_job *j, const struct train_job_result *r)
{
    struct tensors first, wanted, found;
    double moved = 0, off = 0;
    tensors_of_file(&first, j, "init/adapter_model.safetensors");
    tensors_of_file(&wanted, j, "final/adapter_model.safetensors");
    tensors_of_bytes(&found, j, &r->weights);
    check_names(name, j, &found);
    for (size_t i = 0; i < safetensors_count(found.file); i++) {
        const struct tensor *t = safetensors_at(found.file, i);
        size_t count = (size_t)tensor_elements(t);
        float *w = values_of(&wanted, t->name, count), *f = values_of(&found, t->name, count),
              *x = values_of(&first, t->name, count);
        if (!w || !x)
            fail_msg("%s: PEFT has no %s", name, t->name);
        moved += squares(w, x, count);
        off += squares(f, w, count);
        if (!(squares(f, w, count) <= pow(25 * FINAL, 2) * squares(w, x, count)))
            fail_msg("%s: %s is %.2g of its way off", name, t->name,
                     sqrt(squares(f, w, count) / squares(w, x, count)));
        free(w);
        free(f);
        free(x);
    }
    tensors_close(&first);
    tensors_close(&wanted);
    tensors_close(&found);
    if (!(sqrt(off / moved) <= FINAL))
        fail_msg("%s: the adapter is %.2g of its way off", name, sqrt(off / moved));
    return sqrt(off / moved);
}

/* ---- what was produced, for others to look at ---- */

static void keep(const char *name, const struct train_job_result *r)
{
    const char *out = getenv("ADAPTERD_TRAINING_OUT");
    char directory[600];
    struct buf lines = {0};
    if (!out)
        return;
    snprintf(directory, sizeof directory, "%s/%s", out, name);
    mkdir(directory, 0700);
    for (int i = 0; i < r->count; i++)
        buf_printf(&lines, "{\"step\": %lld, \"loss\": %.17g, \"grad_norm\": %.17g, \"lr\": %.17g}\n",
                   (long long)r->steps[i].step, r->steps[i].loss, r->steps[i].gradient_norm,
                   r->steps[i].learning_rate);
    buf_printf(&lines, "{\"eval_loss_before\": %.17g, \"eval_loss_after\": %.17g}\n", r->before, r->after);
    scratch_write(directory, "metrics.jsonl", lines.data, lines.length);
    scratch_write(directory, "adapter_model.safetensors", r->weights.data, r->weights.length);
    if (r->gradients.length)
        scratch_write(directory, "grads.safetensors", r->gradients.data, r->gradients.length);
    buf_fini(&lines);
}

/* ---- jobs ---- */

static void run_and_check(const char *name, const json_t *variant)
{
    struct train_job j;
    struct train_job_result r;
    train_job_open(&j, name);
    if (variant)
        train_job_vary(&j, variant);
    train_job_run(&j, &(struct train_job_way){.threads = 2, .tokens = 512}, &r);
    if (!variant)
        keep(name, &r);
    check_steps(name, j.expected, &r);
    check_gradients(name, &j, &r);
    double off = check_final(name, &j, &r);
    print_message("%-28s %d steps, adapter %.1e of its way off, %.2f s\n", name, r.count, off, r.seconds);
    train_job_result_fini(&r);
    train_job_close(&j);
}

/* The job, and with batches of other sizes that make the same steps. */
static void run_with_variants(const char *name)
{
    char path[600];
    size_t i;
    const json_t *variant;
    run_and_check(name, NULL);
    snprintf(path, sizeof path, "%s/%s/job.json", train_job_root(), name);
    json_t *job = fixture_json(path);
    json_array_foreach(json_object_get(job, "variants"), i, variant) run_and_check(name, variant);
    json_decref(job);
}

static void jobs_are_those_of_pytorch_and_peft(void **state)
{
    (void)state;
    each_job(run_with_variants);
}

/* `lora` of the request says the same as the adapter that PEFT saved. */
static void check_plan(const char *name)
{
    struct train_job j;
    struct lora_plan *p;
    struct err e;
    train_job_open(&j, name);
    if (lora_plan_new(&p, j.model, json_object_get(j.job, "lora"), NULL, &e) != 0)
        fail_msg("%s: %s: %s", name, e.code, e.message);
    const struct train_plan *a = &p->peft.train, *b = &j.plan->peft.train;
    assert_int_equal(a->site_count, b->site_count);
    assert_int_equal(a->whole_count, b->whole_count);
    for (size_t i = 0; i < a->site_count; i++)
        assert_true(a->sites[i].site == b->sites[i].site && a->sites[i].rank == b->sites[i].rank &&
                    a->sites[i].scale == b->sites[i].scale && a->sites[i].dora == b->sites[i].dora);
    for (size_t i = 0; i < a->whole_count; i++)
        assert_int_equal(a->whole[i], b->whole[i]);
    lora_plan_free(p);
    train_job_close(&j);
}

static void requests_train_what_peft_does(void **state)
{
    (void)state;
    each_job(check_plan);
}

static void check_ways(const char *name)
{
    static const struct train_job_way ways[] = {{.threads = 1, .tokens = 512},
                                                {.threads = 2},
                                                {.threads = 2, .tokens = 512, .examples = 1},
                                                {.threads = 2, .lives = true}};
    struct train_job j;
    struct train_job_result first, other;
    train_job_open(&j, name);
    train_job_run(&j, &ways[0], &first);
    for (size_t i = 1; i < sizeof ways / sizeof *ways; i++) {
        train_job_run(&j, &ways[i], &other);
        if (other.weights.length != first.weights.length ||
            memcmp(other.weights.data, first.weights.data, first.weights.length) != 0)
            fail_msg("%s: other bits in way %zu", name, i);
        for (int k = 0; k < first.count; k++)
            assert_true(first.steps[k].loss == other.steps[k].loss &&
                        first.steps[k].gradient_norm == other.steps[k].gradient_norm);
        train_job_result_fini(&other);
    }
    train_job_result_fini(&first);
    train_job_close(&j);
}

static void the_way_does_not_change_a_bit(void **state)
{
    (void)state;
    each_job(check_ways);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_are_those_of_pytorch_and_peft),
        cmocka_unit_test(requests_train_what_peft_does),
        cmocka_unit_test(the_way_does_not_change_a_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Measures training on one model: steps of an adapter at every linear layer but the head, all tokens of
 * random sequences being targets.
 *
 *   training --model DIR [--packed-cache DIR] [--precision int8] [--threads N] [--tokens 2048] [--length 512]
 *            [--rank 16] [--steps 3] [--brief]
 *
 * --brief: tokens a second alone, for scripts. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/peaks.h"
#include "core/kernels/cpu.h"
#include "core/model/model.h"
#include "core/system/clock.h"
#include "core/train/trainer.h"

enum { STEPS_MAX = 64 };

struct options {
    const char *model, *packed_cache;
    enum precision precision;
    int threads, tokens, length, rank, steps;
    bool brief;
};

/* Lines of equal length. */
struct lines {
    struct train_data data; /* first, so that it is the whole */
    int32_t *tokens;        /* [count, length] */
};

struct bench_training {
    const struct options *o;
    struct model *model;
    struct pool *pool;
    struct train_pass *pass;
    struct lines lines;
    struct trainer *trainer;
    double products;         /* of one token, forward: linear layers and the head */
    double memory_mib;       /* anonymous, before there was training */
    double pass_ms, rest_ms; /* of the steps that were measured */
    double int8, bf16;       /* peaks, GOP/s */
};

/* ---- what is trained, and on what ---- */

static int line(const struct train_data *d, size_t index, struct train_line *out, struct err *e)
{
    const struct lines *l = (const struct lines *)(const void *)d;
    const int32_t *tokens = l->tokens + index * (size_t)d->longest;
    (void)e;
    *out = (struct train_line){
        .sequence = {.tokens = tokens, .labels = tokens, .count = d->longest, .targets = d->longest - 1}};
    return 0;
}

static void make_lines(struct lines *l, const struct options *o, int vocab)
{
    size_t count = (size_t)(o->tokens / o->length) * (size_t)(o->steps + 1),
           tokens = count * (size_t)o->length;
    struct bench_random r = bench_seeded(11, 0);
    l->data =
        (struct train_data){.count = count, .tokens = (int64_t)tokens, .longest = o->length, .line = line};
    l->tokens = malloc(tokens * sizeof *l->tokens);
    if (!l->tokens)
        bench_fail("out of memory");
    for (size_t i = 0; i < tokens; i++)
        l->tokens[i] = (int32_t)(bench_random(&r) % (uint64_t)vocab);
}

static struct train_params *make_params(const struct model *m, int rank)
{
    size_t count;
    const struct site *sites = model_sites(m, &count);
    struct train_site_plan *plans = calloc(count, sizeof *plans);
    struct train_plan plan = {.sites = plans};
    struct train_params *p;
    struct err e;
    for (size_t i = 0; plans && i < count; i++)
        if (sites[i].layer >= 0)
            plans[plan.site_count++] = (struct train_site_plan){.site = (int)i, .rank = rank, .scale = 2};
    if (!plans)
        bench_fail("out of memory");
    bench_check(train_params_new(&p, m, &plan, 7, &e), &e);
    free(plans);
    return p;
}

static void start(struct bench_training *b, const struct options *o)
{
    struct err e;
    struct model_options options = {
        .precision = o->precision, .threads = o->threads, .packed_cache = o->packed_cache};
    struct train_options how = {.learning_rate = 2e-4,
                                .adam_beta1 = 0.9,
                                .adam_beta2 = 0.999,
                                .adam_epsilon = 1e-8,
                                .max_grad_norm = 1,
                                .max_steps = o->steps + 1,
                                .batch_size = o->tokens / o->length,
                                .accumulation = 1};
    *b = (struct bench_training){.o = o};
    bench_check(model_open(&b->model, o->model, &options, &e), &e);
    bench_check(pool_new(&b->pool, o->threads, &e), &e);
    size_t sites;
    const struct site *all = model_sites(b->model, &sites);
    for (size_t i = 0; i < sites; i++)
        b->products += all[i].layer >= 0 ? (double)all[i].in * all[i].out : 0;
    b->products += (double)model_info(b->model)->vocab_size * all[0].in;
    b->memory_mib = bench_memory_mib("RssAnon");
    make_lines(&b->lines, o, model_info(b->model)->vocab_size);
    bench_check(train_pass_new(&b->pass, b->model, b->pool, NULL, o->tokens, &e), &e);
    bench_check(
        trainer_new(&b->trainer, b->model, &how, make_params(b->model, o->rank), &b->lines.data, NULL, &e),
        &e);
}

static void stop(struct bench_training *b)
{
    trainer_free(b->trainer);
    train_pass_free(b->pass);
    pool_free(b->pool);
    model_close(b->model);
    free(b->lines.tokens);
}

/* ---- steps ---- */

static void run_step(struct bench_training *b, double *pass_ms, double *rest_ms)
{
    struct train_example examples[TRAIN_PASS_EXAMPLES];
    struct train_report report;
    struct err e;
    double begin = clock_ms();
    int count = trainer_next(b->trainer, b->o->tokens, examples, TRAIN_PASS_EXAMPLES, &e);
    if (count <= 0)
        bench_fail("no examples");
    double computed = clock_ms();
    train_pass_run(b->pass, examples, count);
    double given = clock_ms();
    bench_check(trainer_give(b->trainer, examples, count, &report, &e), &e);
    if (report.kind != TRAIN_REPORT_STEP)
        bench_fail("a pass is not a step");
    *pass_ms = given - computed;
    *rest_ms = clock_ms() - begin - *pass_ms;
}

static void measure(struct bench_training *b)
{
    double pass[STEPS_MAX], rest[STEPS_MAX], first[2];
    run_step(b, &first[0], &first[1]); /* touches all memory */
    for (int i = 0; i < b->o->steps; i++)
        run_step(b, &pass[i], &rest[i]);
    b->pass_ms = bench_median(pass, b->o->steps);
    b->rest_ms = bench_median(rest, b->o->steps);
}

static void report(struct bench_training *b)
{
    const struct options *o = b->o;
    const char *kernels = cpu_kernels()->name;
    int tokens = o->tokens / o->length * o->length;
    double ms = b->pass_ms + b->rest_ms, rate = tokens / ms * 1000;
    if (o->brief) {
        printf("%.2f %.0f\n", rate, bench_memory_mib("VmHWM"));
        return;
    }
    bench_table("Training an adapter at all linear layers", "what|value|unit");
    bench_row("pass|%d|tokens", tokens);
    bench_row("sequences of|%d|tokens", o->length);
    bench_row("rank|%d|", o->rank);
    bench_row("forward and backward|%.0f|ms", b->pass_ms);
    bench_row("optimizer, new adapter|%.0f|ms", b->rest_ms);
    bench_row("training|%.1f|tokens/s", rate);
    bench_row("linear layers, forward and backward|%.0f|GOP/s", 4 * b->products * tokens / ms / 1e6);
    double peak = peaks_int8(b->pool, kernels);
    bench_row("int8 peak (%s)|%.0f|GOP/s", peaks_int8_mix(kernels), peak);
    bench_row("of it|%.0f|%%", peak > 0 ? 400 * b->products * tokens / ms / 1e6 / peak : 0);
    bench_row("memory beside the model, as computed|%.0f|MiB",
              (double)train_pass_bytes(b->model, o->tokens, pool_threads(b->pool)) / (1 << 20));
    bench_row("memory beside the model, resident|%.0f|MiB", bench_memory_mib("RssAnon") - b->memory_mib);
    bench_note(
        "All tokens of random sequences are targets, the head is computed for each. Every product of the "
        "linear layers and the head counts twice forward and twice backward; what is computed again in the "
        "backward pass, low-rank parts and attention do not count.");
}

/* ---- the whole ---- */

static enum precision precision_of(const char *name)
{
    static const struct {
        const char *name;
        enum precision precision;
    } all[] = {{"int8", PRECISION_INT8}, {"int4", PRECISION_INT4}, {"exact", PRECISION_EXACT}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(all[i].name, name) == 0)
            return all[i].precision;
    bench_fail("--precision %s: int8, int4 or exact", name);
}

static struct options read_options(int argc, char **argv)
{
    static const struct option known[] = {
        {"model", required_argument, NULL, 'm'},     {"packed-cache", required_argument, NULL, 'c'},
        {"precision", required_argument, NULL, 'p'}, {"threads", required_argument, NULL, 'n'},
        {"tokens", required_argument, NULL, 't'},    {"length", required_argument, NULL, 'l'},
        {"rank", required_argument, NULL, 'r'},      {"steps", required_argument, NULL, 's'},
        {"brief", no_argument, NULL, 'b'},           {0}};
    struct options o = {.precision = PRECISION_INT8, .tokens = 2048, .length = 512, .rank = 16, .steps = 3};
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;)
        switch (c) {
        case 'm':
            o.model = optarg;
            break;
        case 'c':
            o.packed_cache = optarg;
            break;
        case 'p':
            o.precision = precision_of(optarg);
            break;
        case 'n':
            o.threads = bench_number("threads", optarg, 1, 1024);
            break;
        case 't':
            o.tokens = bench_number("tokens", optarg, 2, 1 << 20);
            break;
        case 'l':
            o.length = bench_number("length", optarg, 2, 1 << 20);
            break;
        case 'r':
            o.rank = bench_number("rank", optarg, 1, 256);
            break;
        case 's':
            o.steps = bench_number("steps", optarg, 1, STEPS_MAX);
            break;
        case 'b':
            o.brief = true;
            break;
        default:
            bench_fail(
                "training --model DIR [--packed-cache DIR] [--precision int8] [--threads N] [--tokens N] "
                "[--length N] [--rank N] [--steps N] [--brief]");
        }
    if (!o.model || o.length > o.tokens || o.tokens / o.length > TRAIN_PASS_EXAMPLES)
        bench_fail("--model is missing, or --length is not between --tokens and a %dth of it",
                   TRAIN_PASS_EXAMPLES);
    return o;
}

int main(int argc, char **argv)
{
    struct options o = read_options(argc, argv);
    struct bench_training b;
    struct err e;
    bench_check(cpu_check(&e), &e);
    linear_init();
    start(&b, &o);
    measure(&b);
    report(&b);
    stop(&b);
    return 0;
}

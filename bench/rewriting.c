/* Measures what guessing tokens from the text gives: answers that copy a share of their prompt, beside the
 * same answers one token a step.
 *
 *   rewriting --model DIR [--packed-cache DIR] [--precision int8|int4|exact] [--threads N] [--tokens 256]
 *             [--clients 1,4,8] [--copied 100,80,0] [--repeats 3]
 *
 * A random model copies nothing, so each answer is dictated: a constraint allows the one token that is in the
 * script. Guesses are made and checked as for any answer. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "bench/clients.h"
#include "core/engine/constraint.h"
#include "core/kernels/cpu.h"
#include "core/model/model.h"

enum {
    CLIENTS_MAX = 64,
    SIZES_MAX = 8,
    REPEATS_MAX = 16,
    STRETCH = 20, /* tokens, of which some are changed */
    MASKS = 4     /* words that stand in the place of others, as [NAME] does */
};

struct options {
    const char *model, *packed_cache;
    enum precision precision;
    int threads, tokens, repeats, sizes;
    int clients[SIZES_MAX], copied[SIZES_MAX], shares;
};

struct bench_rewriting {
    const struct options *o;
    struct model *model;
    struct engine *plain, *drafting;
    struct bench_random random;
    int vocab;
};

/* ---- an answer that is known before ---- */

struct script {
    struct constraint as_constraint; /* first, so that it is the whole */
    uint64_t *bits;                  /* owned, [vocab_size] */
    const int32_t *tokens;           /* borrowed */
    int at;
};

static int script_mask(struct constraint *c, struct constraint_mask *out, struct err *e)
{
    struct script *s = (struct script *)(void *)c;
    (void)e;
    s->bits[s->tokens[s->at] / 64] |= UINT64_C(1) << s->tokens[s->at] % 64;
    /* Were it said to be the only one, it would not have to be guessed. */
    *out = (struct constraint_mask){.bits = s->bits, .count = 2, .first = s->tokens[s->at]};
    return 0;
}

static int script_accept(struct constraint *c, int32_t token, struct err *e)
{
    struct script *s = (struct script *)(void *)c;
    (void)e;
    s->bits[token / 64] = 0;
    s->at++;
    return 0;
}

static void script_free(struct constraint *c)
{
    struct script *s = (struct script *)(void *)c;
    free(s->bits);
    free(s);
}

static struct constraint *script_new(const int32_t *tokens, int vocab)
{
    struct script *s = calloc(1, sizeof *s);
    if (!s || !(s->bits = calloc((size_t)vocab / 64 + 1, sizeof *s->bits)))
        bench_fail("out of memory");
    s->as_constraint = (struct constraint){.mask = script_mask, .accept = script_accept, .free = script_free};
    s->tokens = tokens;
    return &s->as_constraint;
}

/* ---- one crowd ---- */

static int32_t any_token(struct bench_rewriting *b)
{
    return (int32_t)((bench_random(&b->random) >> 32) % (uint64_t)b->vocab);
}

/* Prompt and answer; of each stretch of the prompt the first so many tokens are masked in the answer. Where
 * nothing is copied all tokens of the answer are new. */
static void make_text(struct bench_rewriting *b, int copied_percent, int32_t *prompt, int32_t *answer)
{
    int32_t masks[MASKS][STRETCH];
    int changed = STRETCH * (100 - copied_percent) / 100, mask = 0;
    for (int i = 0; i < MASKS * STRETCH; i++)
        masks[i / STRETCH][i % STRETCH] = any_token(b);
    for (int i = 0; i < b->o->tokens; i++) {
        int place = i % STRETCH;
        mask = place == 0 ? (int)(bench_random(&b->random) >> 32) & (MASKS - 1) : mask;
        prompt[i] = any_token(b);
        answer[i] = place >= changed ? prompt[i] : copied_percent > 0 ? masks[mask][place] : any_token(b);
    }
}

static double rate(struct bench_rewriting *b, struct engine *g, int32_t *texts, int clients)
{
    struct client c[CLIENTS_MAX] = {0};
    for (int i = 0; i < clients; i++) {
        const int32_t *prompt = texts + (size_t)(2 * i) * (size_t)b->o->tokens;
        c[i] = (struct client){.prompt = b->o->tokens,
                               .new_tokens = b->o->tokens,
                               .tokens = prompt,
                               .constraint = script_new(prompt + b->o->tokens, b->vocab)};
    }
    clients_run(g, c, clients, &b->random);
    double result = clients_decode_rate(c, clients);
    clients_fini(c, clients);
    return result;
}

static void measure(struct bench_rewriting *b, int copied_percent, int clients)
{
    double plain[REPEATS_MAX], drafting[REPEATS_MAX], ratio[REPEATS_MAX];
    int32_t *texts = malloc((size_t)(2 * clients * b->o->tokens) * sizeof *texts);
    struct engine_stats before, after;
    if (!texts)
        bench_fail("out of memory");
    engine_stats(b->drafting, &before);
    for (int r = 0; r < b->o->repeats; r++) {
        for (int i = 0; i < clients; i++)
            make_text(b, copied_percent, texts + (size_t)(2 * i) * (size_t)b->o->tokens,
                      texts + (size_t)(2 * i + 1) * (size_t)b->o->tokens);
        plain[r] = rate(b, b->plain, texts, clients);
        drafting[r] = rate(b, b->drafting, texts, clients);
        ratio[r] = drafting[r] / plain[r];
    }
    engine_stats(b->drafting, &after);
    free(texts);
    uint64_t drafted = after.tokens_drafted - before.tokens_drafted,
             accepted = after.tokens_draft_accepted - before.tokens_draft_accepted;
    bench_row("%d %%|%d|%.1f|%.1f|%.2f|%.0f %%", copied_percent, clients, bench_median(plain, b->o->repeats),
              bench_median(drafting, b->o->repeats), bench_median(ratio, b->o->repeats),
              drafted ? 100.0 * (double)accepted / (double)drafted : 0);
}

/* ---- the whole ---- */

static struct engine *open_engine(const struct bench_rewriting *b, bool drafts)
{
    struct engine *g;
    struct err e;
    struct engine_options o = {.threads = b->o->threads,
                               .kv_bytes = (size_t)256 << 20,
                               .sequences_max = CLIENTS_MAX,
                               .queue_max = CLIENTS_MAX,
                               .queue_tenant_max = CLIENTS_MAX,
                               .drafts = drafts};
    bench_check(engine_new(&g, b->model, &o, &e), &e);
    return g;
}

static void read_options(struct options *o, int argc, char **argv)
{
    static const struct option known[] = {{"model", required_argument, NULL, 'm'},
                                          {"packed-cache", required_argument, NULL, 'c'},
                                          {"precision", required_argument, NULL, 'p'},
                                          {"threads", required_argument, NULL, 't'},
                                          {"tokens", required_argument, NULL, 'n'},
                                          {"clients", required_argument, NULL, 'C'},
                                          {"copied", required_argument, NULL, 's'},
                                          {"repeats", required_argument, NULL, 'r'},
                                          {0}};
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (c == 'm')
            o->model = optarg;
        else if (c == 'c')
            o->packed_cache = optarg;
        else if (c == 'p')
            o->precision = strcmp(optarg, "int4") == 0    ? PRECISION_INT4
                           : strcmp(optarg, "exact") == 0 ? PRECISION_EXACT
                                                          : PRECISION_INT8;
        else if (c == 't')
            o->threads = bench_number("threads", optarg, 1, 256);
        else if (c == 'n')
            o->tokens = bench_number("tokens", optarg, STRETCH, 1 << 16);
        else if (c == 'C')
            o->sizes = bench_numbers("clients", optarg, o->clients, SIZES_MAX);
        else if (c == 's')
            o->shares = bench_numbers("copied", optarg, o->copied, SIZES_MAX);
        else if (c == 'r')
            o->repeats = bench_number("repeats", optarg, 1, REPEATS_MAX);
        else
            bench_fail("usage: see the head of bench/rewriting.c");
    }
    if (!o->model || optind != argc)
        bench_fail("--model DIR is wanted, a Hugging Face directory of a language model");
    for (int i = 0; i < o->sizes; i++)
        if (o->clients[i] < 1 || o->clients[i] > CLIENTS_MAX)
            bench_fail("--clients: 1 to %d", CLIENTS_MAX);
    for (int i = 0; i < o->shares; i++)
        if (o->copied[i] < 0 || o->copied[i] > 100)
            bench_fail("--copied: 0 to 100 percent");
}

int main(int argc, char **argv)
{
    struct options o = {.precision = PRECISION_INT8,
                        .tokens = 256,
                        .repeats = 3,
                        .sizes = 3,
                        .clients = {1, 4, 8},
                        .shares = 3,
                        .copied = {100, 80, 0}};
    struct bench_rewriting b = {.o = &o, .random = bench_seeded(1, 3)};
    struct err e;
    read_options(&o, argc, argv);
    bench_check(cpu_check(&e), &e);
    struct model_options how = {
        .precision = o.precision, .threads = o.threads, .packed_cache = o.packed_cache};
    bench_check(model_open(&b.model, o.model, &how, &e), &e);
    b.vocab = model_info(b.model)->vocab_size;
    b.plain = open_engine(&b, false);
    b.drafting = open_engine(&b, true);
    bench_table("Answers that copy their prompt",
                "copied|clients|one token a step, tokens/s|guessing, tokens/s|times|guesses right");
    for (int i = 0; i < o.shares; i++)
        for (int k = 0; k < o.sizes; k++)
            measure(&b, o.copied[i], o.clients[k]);
    engine_free(b.plain);
    engine_free(b.drafting);
    model_close(b.model);
    return 0;
}

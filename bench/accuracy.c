/* What int8 and int4 cost: the same texts and tasks in every precision, against `exact`.
 *
 *   accuracy --model DIR [--adapter NAME=DIR]... [--texts FILE] [--sample N] [--messages FILE]
 *
 * --texts: JSON list of {"adapter": NAME or null, "tokens": [...]}; --sample: N texts that the exact model
 * itself writes with temperature 1. Of both: perplexity, and the share of positions whose likeliest token is
 * the exact one's. --messages: JSON list of {"adapter", "message", "wanted"}: greedy answers to chat
 * messages, and how many are exactly what is wanted. */
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "adapters/peft/peft.h"
#include "bench/bench.h"
#include "core/engine/engine.h"
#include "core/engine/logprobs.h"
#include "core/template/chat.h"
#include "core/tokenizer/tokenizer.h"

enum { ADAPTERS_MAX = 16, SAMPLE_TOKENS = 200, ANSWER_TOKENS = 240, SEQUENCES = 16, PRECISIONS = 3 };
static const enum precision precisions[PRECISIONS] = {PRECISION_EXACT, PRECISION_INT8, PRECISION_INT4};

struct options {
    const char *model, *texts, *messages;
    int sample;
    char names[ADAPTERS_MAX][64];
    const char *directories[ADAPTERS_MAX];
    int adapter_count;
};

struct text {
    int adapter; /* index, or -1: the bare base */
    int32_t *tokens;
    int count;
    double loss[PRECISIONS]; /* sum of -log p over tokens 1.. */
    int32_t *likeliest;      /* [count] the exact model's */
    int equal[PRECISIONS];   /* positions whose likeliest token is the exact one's */
};

struct task {
    int adapter;
    int32_t *prompt;
    int count;
    char *wanted;
    int32_t answer[ANSWER_TOKENS];
    int answered;
    bool right[PRECISIONS];
};

struct bench_accuracy {
    const struct options *o;
    struct tokenizer *tokenizer;
    struct chat *chat;
    struct text *texts;
    struct task *tasks;
    int text_count, task_count;
    /* of the precision at hand */
    int at;
    struct model *model;
    struct engine *engine;
    struct delta *deltas[ADAPTERS_MAX];
    pthread_mutex_t lock;
    pthread_cond_t done;
    int open;
};

static struct bench_accuracy all = {.lock = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};

/* ---- what to do ---- */

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count + 1, size);
    if (!memory)
        bench_fail("out of memory");
    return memory;
}

static int adapter_named(const char *name)
{
    for (int i = 0; i < all.o->adapter_count; i++)
        if (name && strcmp(all.o->names[i], name) == 0)
            return i;
    if (name)
        bench_fail("no --adapter %s=DIR", name);
    return -1;
}

static json_t *load_list(const char *path)
{
    json_error_t error;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_array(root))
        bench_fail("%s: %s", path, root ? "not a list" : error.text);
    return root;
}

static void load_texts(void)
{
    json_t *root = load_list(all.o->texts), *entry, *id;
    size_t index, k;
    all.texts = allocate(json_array_size(root), sizeof *all.texts);
    json_array_foreach(root, index, entry)
    {
        struct text *t = &all.texts[all.text_count++];
        json_t *tokens = json_object_get(entry, "tokens");
        t->adapter = adapter_named(json_string_value(json_object_get(entry, "adapter")));
        t->tokens = allocate(json_array_size(tokens), sizeof *t->tokens);
        json_array_foreach(tokens, k, id) t->tokens[t->count++] = (int32_t)json_integer_value(id);
    }
    json_decref(root);
}

static void load_messages(void)
{
    json_t *root = load_list(all.o->messages), *entry;
    size_t index;
    struct err e;
    bench_check(chat_open(&all.chat, all.o->model, &e), &e);
    all.tasks = allocate(json_array_size(root), sizeof *all.tasks);
    json_array_foreach(root, index, entry)
    {
        struct task *t = &all.tasks[all.task_count++];
        const char *message = json_string_value(json_object_get(entry, "message")),
                   *wanted = json_string_value(json_object_get(entry, "wanted"));
        if (!message || !wanted)
            bench_fail("%s: an entry needs message and wanted", all.o->messages);
        json_t *messages = json_pack("[{s:s, s:s}]", "role", "user", "content", message);
        if (!messages)
            bench_fail("out of memory");
        struct buf prompt = {0};
        struct token_list ids = {0};
        t->adapter = adapter_named(json_string_value(json_object_get(entry, "adapter")));
        t->wanted = strdup(wanted);
        bench_check(chat_render(all.chat, messages, &prompt, &e), &e);
        bench_check(tokenizer_encode(all.tokenizer, prompt.data, prompt.length, false, &ids, &e), &e);
        t->prompt = ids.ids;
        t->count = (int)ids.count;
        json_decref(messages);
        buf_fini(&prompt);
    }
    json_decref(root);
}

/* ---- the engine ---- */

static void on_done(void *arg, const struct engine_done *d)
{
    (void)arg;
    if (d->finish == ENGINE_FAILED)
        bench_fail("a run failed");
    pthread_mutex_lock(&all.lock);
    all.open--;
    pthread_cond_signal(&all.done);
    pthread_mutex_unlock(&all.lock);
}

/* Waits while as many as the engine computes together are open. */
static void submit(struct engine_request *r, int adapter)
{
    struct err e;
    uint64_t id;
    pthread_mutex_lock(&all.lock);
    while (all.open >= 2 * SEQUENCES)
        pthread_cond_wait(&all.done, &all.lock);
    all.open++;
    pthread_mutex_unlock(&all.lock);
    r->delta = adapter < 0 ? NULL : all.deltas[adapter];
    r->on_done = on_done;
    bench_check(engine_submit(all.engine, r, &id, &e), &e);
}

static void wait_for_all(void)
{
    pthread_mutex_lock(&all.lock);
    while (all.open > 0)
        pthread_cond_wait(&all.done, &all.lock);
    pthread_mutex_unlock(&all.lock);
}

static struct delta *load_delta(const char *directory)
{
    struct err e;
    struct peft *p = NULL;
    struct delta *d = NULL;
    char path[4200];
    snprintf(path, sizeof path, "%s/adapter_config.json", directory);
    int config = open(path, O_RDONLY | O_CLOEXEC);
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", directory);
    int weights = open(path, O_RDONLY | O_CLOEXEC);
    if (config < 0 || weights < 0)
        bench_fail("%s: no adapter there", directory);
    bench_check(peft_load(&p, all.model, config, weights, 0, &e), &e);
    bench_check(delta_new(&d, all.model, peft_source(p), &e), &e);
    peft_free(p);
    close(config);
    close(weights);
    return d;
}

static void start(int at)
{
    struct err e;
    struct model_options model = {.precision = precisions[at]};
    struct engine_options engine = {.kv_bytes = (size_t)64 << 20,
                                    .sequences_max = SEQUENCES,
                                    .queue_max = 4 * SEQUENCES,
                                    .queue_tenant_max = 4 * SEQUENCES};
    all.at = at;
    bench_check(model_open(&all.model, all.o->model, &model, &e), &e);
    bench_check(engine_new(&all.engine, all.model, &engine, &e), &e);
    for (int i = 0; i < all.o->adapter_count; i++)
        all.deltas[i] = load_delta(all.o->directories[i]);
}

static void stop(void)
{
    engine_free(all.engine);
    for (int i = 0; i < all.o->adapter_count; i++)
        delta_unref(all.deltas[i]);
    model_close(all.model);
}

/* ---- perplexity ---- */

static void on_logits(void *arg, size_t row, const float *logits)
{
    struct text *t = arg;
    int vocab = model_info(all.model)->vocab_size, best = 0;
    for (int i = 1; i < vocab; i++)
        best = logits[i] > logits[best] ? i : best;
    if (precisions[all.at] == PRECISION_EXACT)
        t->likeliest[row] = best;
    t->equal[all.at] += t->likeliest[row] == best;
    if ((int)row + 1 < t->count)
        t->loss[all.at] -= (double)logprobs_of(logits, vocab, t->tokens[row + 1]);
}

static void score_texts(void)
{
    for (int i = 0; i < all.text_count; i++) {
        struct text *t = &all.texts[i];
        if (!t->likeliest)
            t->likeliest = allocate((size_t)t->count, sizeof *t->likeliest);
        struct engine_request r = {.tokens = t->tokens,
                                   .token_count = (size_t)t->count,
                                   .sampling = {.top_p = 1, .logprobs = -1},
                                   .on_logits = on_logits,
                                   .arg = t};
        submit(&r, t->adapter);
    }
    wait_for_all();
}

static bool take_sample(void *arg, const struct engine_token *token)
{
    struct text *t = arg;
    t->tokens[t->count++] = token->token;
    return true;
}

/* Texts by the exact model; its engine runs. */
static void sample_texts(void)
{
    static const char opening[] = "Once upon a time";
    struct token_list ids = {0};
    struct err e;
    bench_check(tokenizer_encode(all.tokenizer, opening, strlen(opening), true, &ids, &e), &e);
    all.texts = allocate((size_t)all.o->sample, sizeof *all.texts);
    all.text_count = all.o->sample;
    for (int i = 0; i < all.o->sample; i++) {
        struct text *t = &all.texts[i];
        t->adapter = -1;
        t->tokens = allocate(ids.count + SAMPLE_TOKENS, sizeof *t->tokens);
        memcpy(t->tokens, ids.ids, ids.count * sizeof *ids.ids);
        t->count = (int)ids.count;
        struct engine_request r = {.tokens = ids.ids,
                                   .token_count = ids.count,
                                   .sampling = {.temperature = 1,
                                                .top_p = 1,
                                                .seed = (uint64_t)i + 1,
                                                .max_tokens = SAMPLE_TOKENS,
                                                .logprobs = -1},
                                   .on_token = take_sample,
                                   .arg = t};
        submit(&r, -1);
    }
    wait_for_all();
    token_list_fini(&ids);
}

/* ---- tasks ---- */

static bool take_answer(void *arg, const struct engine_token *token)
{
    struct task *t = arg;
    t->answer[t->answered++] = token->token;
    return t->answered < ANSWER_TOKENS;
}

static void run_tasks(void)
{
    struct err e;
    for (int i = 0; i < all.task_count; i++) {
        struct task *t = &all.tasks[i];
        t->answered = 0;
        struct engine_request r = {.tokens = t->prompt,
                                   .token_count = (size_t)t->count,
                                   .sampling = {.top_p = 1, .max_tokens = ANSWER_TOKENS, .logprobs = -1},
                                   .on_token = take_answer,
                                   .arg = t};
        submit(&r, t->adapter);
    }
    wait_for_all();
    for (int i = 0; i < all.task_count; i++) {
        struct task *t = &all.tasks[i];
        struct buf text = {0};
        bench_check(tokenizer_decode(all.tokenizer, t->answer, (size_t)t->answered, true, &text, &e), &e);
        t->right[all.at] = strcmp(text.data ? text.data : "", t->wanted) == 0;
        buf_fini(&text);
    }
}

/* ---- tables ---- */

static const char *adapter_name(int adapter)
{
    return adapter < 0 ? "none" : all.o->names[adapter];
}

static void print_texts(void)
{
    bench_table("Perplexity, and equal greedy tokens",
                "adapter|precision|texts|tokens|perplexity|against exact|equal greedy tokens");
    for (int a = -1; a < all.o->adapter_count; a++)
        for (int p = 0; p < PRECISIONS; p++) {
            double loss = 0, exact = 0;
            long texts = 0, tokens = 0, positions = 0, equal = 0;
            for (int i = 0; i < all.text_count; i++) {
                const struct text *t = &all.texts[i];
                if (t->adapter != a)
                    continue;
                texts++;
                tokens += t->count - 1;
                positions += t->count;
                loss += t->loss[p];
                exact += t->loss[0];
                equal += t->equal[p];
            }
            if (texts)
                bench_row("%s|%s|%ld|%ld|%.4f|%+.3f %%|%.2f %%", adapter_name(a),
                          precision_name(precisions[p]), texts, tokens, exp(loss / (double)tokens),
                          100 * (exp((loss - exact) / (double)tokens) - 1),
                          100 * (double)equal / (double)positions);
        }
}

static void print_tasks(void)
{
    bench_table("Answers that are exactly what is wanted", "adapter|messages|exact|int8|int4");
    for (int a = -1; a < all.o->adapter_count; a++) {
        int count = 0, right[PRECISIONS] = {0};
        for (int i = 0; i < all.task_count; i++) {
            count += all.tasks[i].adapter == a;
            for (int p = 0; p < PRECISIONS; p++)
                right[p] += all.tasks[i].adapter == a && all.tasks[i].right[p];
        }
        if (count)
            bench_row("%s|%d|%d|%d|%d", adapter_name(a), count, right[0], right[1], right[2]);
    }
}

static void release(void)
{
    for (int i = 0; i < all.text_count; i++) {
        free(all.texts[i].tokens);
        free(all.texts[i].likeliest);
    }
    for (int i = 0; i < all.task_count; i++) {
        free(all.tasks[i].prompt);
        free(all.tasks[i].wanted);
    }
    free(all.texts);
    free(all.tasks);
    chat_close(all.chat);
    tokenizer_close(all.tokenizer);
}

static void add_adapter(struct options *o, const char *text)
{
    const char *equals = strchr(text, '=');
    if (!equals || o->adapter_count == ADAPTERS_MAX)
        bench_fail("--adapter NAME=DIR is wanted, at most %d times", ADAPTERS_MAX);
    snprintf(o->names[o->adapter_count], sizeof o->names[0], "%.*s", (int)(equals - text), text);
    o->directories[o->adapter_count++] = equals + 1;
}

static void read_options(struct options *o, int argc, char **argv)
{
    static const struct option known[] = {
        {"model", required_argument, NULL, 'm'},  {"adapter", required_argument, NULL, 'a'},
        {"texts", required_argument, NULL, 't'},  {"messages", required_argument, NULL, 'q'},
        {"sample", required_argument, NULL, 's'}, {0}};
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (c == 'm')
            o->model = optarg;
        else if (c == 'a')
            add_adapter(o, optarg);
        else if (c == 't')
            o->texts = optarg;
        else if (c == 'q')
            o->messages = optarg;
        else if (c == 's')
            o->sample = bench_number("sample", optarg, 1, 10000);
        else
            bench_fail("usage: see the head of bench/accuracy.c");
    }
    if (!o->model || (o->texts && o->sample) || (!o->texts && !o->sample && !o->messages))
        bench_fail("--model DIR and one of --texts FILE, --sample N, --messages FILE are wanted");
}

int main(int argc, char **argv)
{
    struct options o = {0};
    struct err e;
    read_options(&o, argc, argv);
    all.o = &o;
    bench_check(tokenizer_open(&all.tokenizer, o.model, TOKENIZER_OF_FILE, &e), &e);
    if (o.texts)
        load_texts();
    if (o.messages)
        load_messages();
    for (int p = 0; p < PRECISIONS; p++) {
        start(p);
        if (p == 0 && o.sample)
            sample_texts();
        score_texts();
        run_tasks();
        stop();
    }
    if (all.text_count)
        print_texts();
    if (all.task_count)
        print_tasks();
    release();
    return 0;
}

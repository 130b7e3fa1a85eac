#include "tests/golden/fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "adapters/peft/peft.h"
#include "core/system/file.h"

enum precision fixture_precision = PRECISION_EXACT;
bool fixture_kv_int8;

const char *fixture_path(const char *format, ...)
{
    static char paths[4][1024];
    static int next;
    char *out = paths[next++ % 4], rest[512];
    const char *root = getenv("ADAPTERD_FIXTURES");
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(rest, sizeof rest, format, arguments);
    va_end(arguments);
    snprintf(out, sizeof paths[0], "%s/%s", root ? root : "tests/fixtures", rest);
    return out;
}

bool fixture_exists(const char *path)
{
    return file_exists(path);
}

json_t *fixture_json(const char *path)
{
    json_error_t error;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!root)
        fail_msg("%s: %s", path, error.text);
    return root;
}

struct model *fixture_model(const char *directory)
{
    struct model *m = NULL;
    struct err e;
    if (model_open(&m, directory,
                   &(struct model_options){.precision = fixture_precision, .kv_int8 = fixture_kv_int8},
                   &e) != 0)
        fail_msg("%s: %s: %s", directory, e.code, e.message);
    return m;
}

struct delta *fixture_delta(const struct model *m, const char *directory, struct err *e)
{
    char path[1100];
    snprintf(path, sizeof path, "%s/adapter_config.json", directory);
    int config = open(path, O_RDONLY);
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", directory);
    int weights = open(path, O_RDONLY);
    if (config < 0 || weights < 0)
        fail_msg("%s: no adapter there", directory);
    struct peft *p = NULL;
    struct delta *d = NULL;
    int result = peft_load(&p, m, config, weights, 0, e);
    if (result == 0)
        result = delta_new(&d, m, peft_source(p), e);
    peft_free(p);
    close(config);
    close(weights);
    return d;
}

struct delta *fixture_named_delta(const struct model *m, const char *model, const json_t *adapter,
                                  struct err *e)
{
    enum { PARTS_MAX = 8 };
    struct delta *parts[PARTS_MAX], *d = NULL;
    float scales[PARTS_MAX];
    if (json_is_string(adapter))
        return fixture_delta(m, fixture_path("adapters/%s/%s", model, json_string_value(adapter)), e);
    size_t count = json_array_size(adapter);
    assert_in_range(count, 1, PARTS_MAX);
    for (size_t i = 0; i < count; i++) {
        const json_t *part = json_array_get(adapter, i), *scale = json_object_get(part, "scale");
        scales[i] = scale ? (float)json_number_value(scale) : 1.0f;
        parts[i] = fixture_named_delta(m, model, json_object_get(part, "adapter"), e);
        assert_non_null(parts[i]);
    }
    if (delta_combine(&d, m, parts, scales, count, e) != 0)
        d = NULL;
    for (size_t i = 0; i < count; i++)
        delta_unref(parts[i]);
    return d;
}

struct engine *fixture_engine(const struct model *m, int threads, int chunk_tokens, int sequences_max)
{
    struct engine_options o = {.threads = threads,
                               .kv_bytes = (size_t)64 << 20,
                               .sequences_max = sequences_max,
                               .queue_max = 4096,
                               .queue_tenant_max = 4096,
                               .chunk_tokens = chunk_tokens,
                               .drafts = true,
                               .share_all = true}; /* the models are so small that one thread would do */
    struct engine *g = NULL;
    struct err e;
    if (engine_new(&g, m, &o, &e) != 0)
        fail_msg("engine: %s: %s", e.code, e.message);
    return g;
}

struct runs {
    pthread_mutex_t lock;
    pthread_cond_t done;
    int open;
};

struct runs *runs_new(void)
{
    struct runs *r = calloc(1, sizeof *r);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->done, NULL);
    return r;
}

void runs_wait(struct runs *r)
{
    pthread_mutex_lock(&r->lock);
    while (r->open > 0)
        pthread_cond_wait(&r->done, &r->lock);
    pthread_mutex_unlock(&r->lock);
}

void runs_free(struct runs *r)
{
    runs_wait(r);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->done);
    free(r);
}

static void keep_logits(void *arg, size_t row, const float *logits)
{
    struct run *run = arg;
    memcpy(run->logits + row * run->vocab, logits, run->vocab * sizeof *logits);
}

static bool keep_token(void *arg, const struct engine_token *t)
{
    struct run *run = arg;
    run->tokens[run->token_count++] = t->token;
    return run->token_count != run->stop_after;
}

static void keep_done(void *arg, const struct engine_done *d)
{
    struct run *run = arg;
    struct runs *all = run->all;
    pthread_mutex_lock(&all->lock);
    run->done = *d;
    run->finished = true;
    all->open--;
    pthread_cond_broadcast(&all->done);
    pthread_mutex_unlock(&all->lock);
}

static void submit(struct runs *all, struct run *run, struct engine *g, struct engine_request *r)
{
    struct err e;
    uint64_t id;
    run->all = all;
    const struct model_info *info = model_info(engine_model(g));
    run->vocab = (size_t)(r->on_state ? info->hidden_size : info->vocab_size);
    if (r->on_logits || r->on_state)
        run->logits = calloc(run->rows * run->vocab, sizeof *run->logits);
    pthread_mutex_lock(&all->lock);
    all->open++;
    pthread_mutex_unlock(&all->lock);
    r->on_token = keep_token;
    r->on_done = keep_done;
    r->arg = run;
    if (engine_submit(g, r, &id, &e) != 0)
        fail_msg("submit: %s: %s", e.code, e.message);
}

void run_submit(struct runs *all, struct run *run, struct engine *g, struct delta *d, const int32_t *tokens,
                size_t count, int max_tokens, bool logits, const struct sampling *how, uint32_t tenant)
{
    struct sampling greedy = {.top_p = 1, .ignore_eos = true, .logprobs = -1};
    struct engine_request r = {.tenant = tenant,
                               .delta = d,
                               .tokens = tokens,
                               .token_count = count,
                               .sampling = how ? *how : greedy,
                               .on_logits = logits ? keep_logits : NULL};
    r.sampling.max_tokens = max_tokens;
    run->rows = count;
    submit(all, run, g, &r);
}

void run_submit_shared(struct runs *all, struct run *run, struct engine *g, struct delta *d,
                       const int32_t *tokens, size_t count, int max_tokens, const uint8_t *cache_root)
{
    struct engine_request r = {
        .tenant = 1,
        .delta = d,
        .tokens = tokens,
        .token_count = count,
        .cache_root = cache_root,
        .sampling = {.top_p = 1, .ignore_eos = true, .logprobs = -1, .max_tokens = max_tokens}};
    run->rows = count;
    submit(all, run, g, &r);
}

void run_submit_rows(struct runs *all, struct run *run, struct engine *g, struct delta *d, const float *input,
                     size_t rows)
{
    struct engine_request r = {.delta = d, .input = input, .input_rows = rows, .on_logits = keep_logits};
    run->rows = rows;
    submit(all, run, g, &r);
}

void run_submit_states(struct runs *all, struct run *run, struct engine *g, struct delta *d,
                       const int32_t *tokens, size_t count, enum engine_states states, uint32_t tenant,
                       const uint8_t *cache_root)
{
    struct engine_request r = {.tenant = tenant,
                               .delta = d,
                               .tokens = tokens,
                               .token_count = count,
                               .cache_root = cache_root,
                               .states = states,
                               .on_state = keep_logits,
                               .sampling = {.logprobs = -1}};
    run->rows = count;
    submit(all, run, g, &r);
}

void run_submit_scores(struct runs *all, struct run *run, struct engine *g, struct delta *d,
                       const int32_t *tokens, size_t count, enum engine_states states, float *scores)
{
    struct engine_request r = {.tenant = 1,
                               .delta = d,
                               .tokens = tokens,
                               .token_count = count,
                               .states = states,
                               .scores = scores,
                               .sampling = {.logprobs = -1}};
    submit(all, run, g, &r);
}

void run_fini(struct run *run)
{
    free(run->logits);
}

int32_t *json_ids(const json_t *list, size_t *count)
{
    *count = json_array_size(list);
    int32_t *ids = calloc(*count + 1, sizeof *ids);
    for (size_t i = 0; i < *count; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
    return ids;
}

/* The proof that an adapter does something: the same fixed prompt with and without it. */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/delta/delta.h"
#include "core/engine/engine.h"

/* Several tokens: an adapter of q alone changes nothing where there is one position only. */
enum { PROOF_ROWS = 8 };

struct proof_run {
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool finished;
    enum engine_finish finish;
    float *logits; /* [rows, vocab] */
    size_t vocab;
    struct engine_sample *sample;
};

static void keep_logits(void *arg, size_t row, const float *logits)
{
    struct proof_run *r = arg;
    memcpy(r->logits + row * r->vocab, logits, r->vocab * sizeof *logits);
}

static bool keep_token(void *arg, const struct engine_token *t)
{
    struct engine_sample *s = ((struct proof_run *)arg)->sample;
    s->tokens[s->count++] = t->token;
    return s->count < ENGINE_SAMPLE_TOKENS;
}

static void run_done(void *arg, const struct engine_done *d)
{
    struct proof_run *r = arg;
    pthread_mutex_lock(&r->lock);
    r->finish = d->finish;
    r->finished = true;
    pthread_cond_signal(&r->done);
    pthread_mutex_unlock(&r->lock);
}

/* Spread over the vocabulary, or over [-1, 1] for a numeric model; the same every time. Every second one may
 * be a token that the adapter knows better than the base. */
static void fill_prompt(const struct model *m, const struct delta *d, int32_t *tokens, float *input)
{
    const struct model_info *info = model_info(m);
    int32_t own[PROOF_ROWS / 2];
    for (uint32_t i = 0; i < PROOF_ROWS; i++)
        tokens[i] = (int32_t)((i + 1) * 2654435761u % (uint32_t)info->vocab_size);
    for (uint32_t i = 0; i < PROOF_ROWS * (uint32_t)info->input_size; i++)
        input[i] = (float)((i + 1) * 2654435761u >> 8) / 8388608.0f - 1.0f;
    for (int i = info->numeric ? 0 : delta_tokens(d, m, own, PROOF_ROWS / 2); i > 0; i--)
        tokens[2 * (i - 1)] = own[i - 1];
}

static int compare(const float *base, const float *adapted, size_t count, struct engine_proof *out,
                   struct err *e)
{
    double largest = 0, sum = 0;
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(adapted[i]))
            return err_set(e, "adapter_not_finite",
                           "the adapter makes the model's output infinite or not a number");
        double change = fabs((double)adapted[i] - (double)base[i]);
        largest = change > largest ? change : largest;
        sum += change;
    }
    *out = (struct engine_proof){.max_change = largest, .mean_change = sum / (double)count};
    return 0;
}

/* Submit the request and wait for its end. */
static int wait_for(struct engine *g, struct engine_request *request, struct proof_run *r, struct err *e)
{
    uint64_t id;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->done, NULL);
    request->arg = r;
    request->on_done = run_done;
    if (engine_submit(g, request, &id, e) != 0)
        return -1;
    pthread_mutex_lock(&r->lock);
    while (!r->finished)
        pthread_cond_wait(&r->done, &r->lock);
    pthread_mutex_unlock(&r->lock);
    if (r->finish == ENGINE_FAILED)
        return err_memory(e);
    if (r->finish == ENGINE_CANCELLED)
        return err_set(e, "engine_stopped", "the engine stopped before the adapter was proved");
    return 0;
}

static int run(struct engine *g, struct engine_request request, struct delta *d, float *logits, size_t vocab,
               struct err *e)
{
    struct proof_run r = {.logits = logits, .vocab = vocab};
    request.delta = d;
    return wait_for(g, &request, &r, e);
}

int engine_probe(struct engine *g, uint32_t tenant, struct delta *d, struct engine_proof *out, struct err *e)
{
    const struct model_info *info = model_info(engine_model(g));
    struct engine_stats stats;
    engine_stats(g, &stats);
    bool shorter = !info->numeric && stats.context_length < PROOF_ROWS;
    size_t rows = shorter ? (size_t)stats.context_length : PROOF_ROWS, vocab = (size_t)info->vocab_size;
    int32_t tokens[PROOF_ROWS];
    float *input = calloc(PROOF_ROWS * (size_t)info->input_size + 1, sizeof *input);
    float *base = calloc(rows * vocab, sizeof *base), *adapted = calloc(rows * vocab, sizeof *adapted);
    int result = input && base && adapted ? 0 : err_memory(e);
    if (result == 0) {
        fill_prompt(engine_model(g), d, tokens, input);
        struct engine_request request = {.tenant = tenant,
                                         .tokens = tokens,
                                         .token_count = info->numeric ? 0 : rows,
                                         .input = input,
                                         .input_rows = info->numeric ? rows : 0,
                                         .sampling = {.logprobs = -1},
                                         .on_logits = keep_logits};
        result = run(g, request, NULL, base, vocab, e);
        if (result == 0)
            result = run(g, request, d, adapted, vocab, e);
    }
    if (result == 0)
        result = compare(base, adapted, rows * vocab, out, e);
    free(input);
    free(base);
    free(adapted);
    return result;
}

int engine_sample(struct engine *g, uint32_t tenant, struct delta *d, const int32_t *tokens, size_t count,
                  struct engine_sample *out, struct err *e)
{
    struct engine_sample sample = {.count = 0};
    struct proof_run r = {.sample = &sample};
    struct engine_request request = {
        .tenant = tenant,
        .delta = d,
        .tokens = tokens,
        .token_count = count,
        .sampling = {.top_p = 1, .max_tokens = ENGINE_SAMPLE_TOKENS, .logprobs = -1},
        .on_token = keep_token};
    if (wait_for(g, &request, &r, e) != 0)
        return -1;
    *out = sample;
    return 0;
}

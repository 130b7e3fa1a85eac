/* The proof that an adapter does something: the same fixed prompt with and without it. */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine/engine.h"

/* Several tokens: an adapter of q alone changes nothing where there is one position only. */
enum { PROOF_ROWS = 8 };

struct proof {
    pthread_mutex_t lock;
    pthread_cond_t done;
    int open; /* runs not done yet */
};

struct proof_run {
    struct proof *proof;
    float *logits; /* [PROOF_ROWS, vocab] */
    size_t vocab;
    enum engine_finish finish;
};

static void keep_logits(void *arg, size_t row, const float *logits)
{
    struct proof_run *r = arg;
    memcpy(r->logits + row * r->vocab, logits, r->vocab * sizeof *logits);
}

static void run_done(void *arg, const struct engine_done *d)
{
    struct proof_run *r = arg;
    pthread_mutex_lock(&r->proof->lock);
    r->finish = d->finish;
    r->proof->open--;
    pthread_cond_signal(&r->proof->done);
    pthread_mutex_unlock(&r->proof->lock);
}

/* Spread over the vocabulary, or over [-1, 1] for a numeric model; the same every time. */
static void fill_prompt(const struct model_info *info, int32_t *tokens, float *input)
{
    for (uint32_t i = 0; i < PROOF_ROWS; i++)
        tokens[i] = (int32_t)((i + 1) * 2654435761u % (uint32_t)info->vocab_size);
    for (uint32_t i = 0; i < PROOF_ROWS * (uint32_t)info->input_size; i++)
        input[i] = (float)((i + 1) * 2654435761u >> 8) / 8388608.0f - 1.0f;
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

static int run_both(struct engine *g, const struct engine_request *request, struct proof_run runs[2],
                    struct delta *d, struct err *e)
{
    struct proof *p = runs[0].proof;
    uint64_t id;
    int result = 0;
    for (int i = 0; i < 2 && result == 0; i++) {
        struct engine_request r = *request;
        r.delta = i == 0 ? NULL : d;
        r.arg = &runs[i];
        pthread_mutex_lock(&p->lock);
        p->open++;
        pthread_mutex_unlock(&p->lock);
        result = engine_submit(g, &r, &id, e);
        if (result != 0) {
            pthread_mutex_lock(&p->lock);
            p->open--;
            pthread_mutex_unlock(&p->lock);
        }
    }
    pthread_mutex_lock(&p->lock);
    while (p->open > 0)
        pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
    if (result == 0 && (runs[0].finish >= ENGINE_CANCELLED || runs[1].finish >= ENGINE_CANCELLED))
        result = err_set(e, "engine_stopped", "the engine stopped before the adapter was proved");
    return result;
}

int engine_prove(struct engine *g, uint32_t tenant, struct delta *d, struct engine_proof *out, struct err *e)
{
    const struct model_info *info = model_info(engine_model(g));
    size_t count = PROOF_ROWS * (size_t)info->vocab_size;
    struct proof p = {.open = 0};
    int32_t tokens[PROOF_ROWS];
    float *input = calloc(PROOF_ROWS * (size_t)info->input_size + 1, sizeof *input);
    float *logits = calloc(2 * count, sizeof *logits);
    int result = input && logits ? 0 : err_memory(e);
    if (result == 0) {
        pthread_mutex_init(&p.lock, NULL);
        pthread_cond_init(&p.done, NULL);
        fill_prompt(info, tokens, input);
        struct proof_run runs[2] = {
            {.proof = &p, .logits = logits, .vocab = (size_t)info->vocab_size},
            {.proof = &p, .logits = logits + count, .vocab = (size_t)info->vocab_size}};
        struct engine_request request = {.tenant = tenant,
                                         .tokens = tokens,
                                         .token_count = info->numeric ? 0 : PROOF_ROWS,
                                         .input = input,
                                         .input_rows = info->numeric ? PROOF_ROWS : 0,
                                         .sampling = {.logprobs = -1},
                                         .on_logits = keep_logits,
                                         .on_done = run_done};
        result = run_both(g, &request, runs, d, e);
        if (result == 0)
            result = compare(logits, logits + count, count, out, e);
        pthread_cond_destroy(&p.done);
        pthread_mutex_destroy(&p.lock);
    }
    free(input);
    free(logits);
    return result;
}

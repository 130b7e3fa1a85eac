/* The proof that an adapter does something: the same fixed prompt with and without it. */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/delta/delta.h"
#include "core/engine/engine.h"
#include "core/head/head.h"

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
    int with = delta_vocab(d, m), vocab = with < info->vocab_size ? with : info->vocab_size;
    for (uint32_t i = 0; i < PROOF_ROWS; i++)
        tokens[i] = (int32_t)((i + 1) * 2654435761u % (uint32_t)vocab);
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

/* What is compared, and where it goes. */
struct probe {
    struct engine *g;
    struct engine_request request;
    size_t rows, width;
    float *base, *adapted; /* owned, [rows, width] */
    float *scores;         /* owned, [score_count] of the adapted one; NULL: it gives no labels */
    size_t score_count;
};

static int run(struct probe *p, struct delta *d, float *out, float *scores, struct err *e)
{
    struct proof_run r = {.logits = out, .vocab = p->width};
    struct engine_request request = p->request;
    request.delta = d;
    request.scores = scores;
    return wait_for(p->g, &request, &r, e);
}

static int allocate(struct probe *p, const struct delta *d, struct err *e)
{
    const struct model *m = engine_model(p->g);
    const struct head *head = delta_head(d, m);
    bool states = head || !model_info(m)->generates;
    p->width = (size_t)(states ? model_info(m)->hidden_size : model_info(m)->vocab_size);
    p->request.states = states ? ENGINE_STATES_ALL : ENGINE_STATES_NONE;
    p->request.on_state = states ? keep_logits : NULL;
    p->request.on_logits = states ? NULL : keep_logits;
    p->base = calloc(p->rows * p->width, sizeof *p->base);
    p->adapted = calloc(p->rows * p->width, sizeof *p->adapted);
    p->score_count = head ? p->rows * (size_t)head->labels : 0;
    p->scores = head ? calloc(p->score_count, sizeof *p->scores) : NULL;
    return p->base && p->adapted && (p->scores || !head) ? 0 : err_memory(e);
}

static int check_scores(const struct probe *p, struct err *e)
{
    for (size_t i = 0; i < p->score_count; i++)
        if (!isfinite(p->scores[i]))
            return err_set(e, "adapter_not_finite",
                           "the adapter's head makes an output that is infinite or not a number");
    return 0;
}

static int probe(struct probe *p, struct delta *d, struct engine_proof *out, struct err *e)
{
    if (allocate(p, d, e) != 0 || run(p, NULL, p->base, NULL, e) != 0 ||
        run(p, d, p->adapted, p->scores, e) != 0 || check_scores(p, e) != 0)
        return -1;
    return compare(p->base, p->adapted, p->rows * p->width, out, e);
}

int engine_probe(struct engine *g, uint32_t tenant, struct delta *d, struct engine_proof *out, struct err *e)
{
    const struct model_info *info = model_info(engine_model(g));
    struct engine_stats stats;
    engine_stats(g, &stats);
    bool shorter = !info->numeric && stats.context_length < PROOF_ROWS;
    struct probe p = {.g = g, .rows = shorter ? (size_t)stats.context_length : PROOF_ROWS};
    int32_t tokens[PROOF_ROWS];
    float *input = calloc(PROOF_ROWS * (size_t)info->input_size + 1, sizeof *input);
    if (!input)
        return err_memory(e);
    fill_prompt(engine_model(g), d, tokens, input);
    p.request = (struct engine_request){.tenant = tenant,
                                        .tokens = tokens,
                                        .token_count = info->numeric ? 0 : p.rows,
                                        .input = input,
                                        .input_rows = info->numeric ? p.rows : 0,
                                        .sampling = {.logprobs = -1}};
    int result = probe(&p, d, out, e);
    free(input);
    free(p.base);
    free(p.adapted);
    free(p.scores);
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

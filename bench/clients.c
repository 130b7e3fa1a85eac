#include "bench/clients.h"

#include <pthread.h>
#include <stdlib.h>

#include "core/system/clock.h"

struct clients {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int open;
    bool submitted; /* all of them */
};

/* Hold the engine until the last client has submitted: else a fast model finishes the first before. */
static void await_all(struct clients *all)
{
    pthread_mutex_lock(&all->lock);
    while (!all->submitted)
        pthread_cond_wait(&all->changed, &all->lock);
    pthread_mutex_unlock(&all->lock);
}

static bool on_token(void *arg, const struct engine_token *t)
{
    struct client *c = arg;
    (void)t;
    if (c->count == 0)
        await_all(c->all);
    c->at_ms[c->count++] = clock_ms();
    return true;
}

static void on_done(void *arg, const struct engine_done *d)
{
    struct client *c = arg;
    struct clients *all = c->all;
    pthread_mutex_lock(&all->lock);
    c->done = *d;
    c->finished_ms = clock_ms();
    all->open--;
    pthread_cond_broadcast(&all->changed);
    pthread_mutex_unlock(&all->lock);
}

static void submit(struct engine *g, struct client *c, uint32_t tenant, const int32_t *tokens)
{
    struct engine_request r = {.tenant = tenant,
                               .delta = c->delta,
                               .tokens = tokens,
                               .token_count = (size_t)c->prompt,
                               .sampling = {.top_p = 1,
                                            .max_tokens = c->new_tokens,
                                            .ignore_eos = true,
                                            .logprobs = -1,
                                            .constraint = c->constraint},
                               .on_token = on_token,
                               .on_done = on_done,
                               .arg = c};
    struct err e;
    uint64_t id;
    c->submitted_ms = clock_ms();
    bench_check(engine_submit(g, &r, &id, &e), &e);
}

void clients_run(struct engine *g, struct client *c, int count, struct bench_random *random)
{
    struct clients all = {
        .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .open = count};
    uint32_t vocab = (uint32_t)model_info(engine_model(g))->vocab_size;
    for (int i = 0; i < count; i++) {
        int32_t *tokens = malloc((size_t)c[i].prompt * sizeof *tokens);
        c[i].at_ms = calloc((size_t)c[i].new_tokens + 1, sizeof *c[i].at_ms);
        if (!tokens || !c[i].at_ms)
            bench_fail("out of memory");
        c[i].count = 0;
        c[i].all = &all;
        for (int k = 0; k < c[i].prompt; k++)
            tokens[k] = c[i].tokens ? c[i].tokens[k] : (int32_t)((bench_random(random) >> 32) % vocab);
        submit(g, &c[i], (uint32_t)i, tokens);
        free(tokens);
    }
    pthread_mutex_lock(&all.lock);
    all.submitted = true;
    pthread_cond_broadcast(&all.changed);
    while (all.open > 0)
        pthread_cond_wait(&all.changed, &all.lock);
    pthread_mutex_unlock(&all.lock);
}

void clients_fini(struct client *c, int count)
{
    for (int i = 0; i < count; i++) {
        free(c[i].at_ms);
        c[i].at_ms = NULL;
    }
}

double clients_decode_rate(const struct client *c, int count)
{
    double begin = 0, end = c[0].at_ms[c[0].count - 1];
    int tokens = 0;
    for (int i = 0; i < count; i++) {
        begin = c[i].at_ms[0] > begin ? c[i].at_ms[0] : begin;
        end = c[i].at_ms[c[i].count - 1] < end ? c[i].at_ms[c[i].count - 1] : end;
    }
    for (int i = 0; i < count; i++)
        for (int k = 0; k < c[i].count; k++)
            tokens += c[i].at_ms[k] > begin && c[i].at_ms[k] <= end;
    if (end <= begin)
        bench_fail("the first of %d clients was done before the last began: nothing to measure", count);
    return tokens / (end - begin) * 1000;
}

double clients_rate(const struct client *c, int count)
{
    double begin = c[0].submitted_ms, end = 0;
    int tokens = 0;
    for (int i = 0; i < count; i++) {
        end = c[i].finished_ms > end ? c[i].finished_ms : end;
        tokens += c[i].count;
    }
    return tokens / (end - begin) * 1000;
}

int clients_gaps(const struct client *c, int count, double *out, int room)
{
    int gaps = 0;
    for (int i = 0; i < count; i++)
        for (int k = 1; k < c[i].count && gaps < room; k++)
            out[gaps++] = c[i].at_ms[k] - c[i].at_ms[k - 1];
    return gaps;
}

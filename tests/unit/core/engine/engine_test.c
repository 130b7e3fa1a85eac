/* The life of requests in the engine: how each ends, what it may not do to others, and what is counted. */
#include <assert.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/golden/fixture.h"
#include "tests/unit/support/scratch.h"

enum { CONTEXT = 256, VOCAB = 320, PAGE = KV_PAGE_TOKENS, EOS = 2, TOKENS_MAX = 300 };

static struct model *llama;
static const size_t page_bytes = (size_t)3 * 2 * PAGE * 16 * sizeof(float); /* 3 layers, 2 heads of 8 */

/* ---- a client of the engine ---- */

struct client {
    int32_t prompt[CONTEXT + 1];
    struct engine_request request;
    uint64_t id;

    int32_t tokens[TOKENS_MAX];
    int token_count, stop_after;  /* 0: never */
    float row_logit[CONTEXT + 1]; /* a logit of each row */
    int row_count;
    struct engine_token last;
    sem_t *gate, *arrived; /* on_token announces itself and waits, where they are set */
    atomic_int done_calls;
    struct engine_done done;
};

static bool on_token(void *arg, const struct engine_token *t)
{
    struct client *c = arg;
    assert(atomic_load(&c->done_calls) == 0);
    c->tokens[c->token_count++] = t->token;
    c->last = *t;
    if (c->gate) {
        sem_post(c->arrived);
        sem_wait(c->gate);
    }
    return c->token_count != c->stop_after;
}

static void on_done(void *arg, const struct engine_done *d)
{
    struct client *c = arg;
    c->done = *d;
    atomic_fetch_add(&c->done_calls, 1);
}

static void client_prepare(struct client *c, int which, size_t prompt, int max_tokens)
{
    *c = (struct client){0};
    for (size_t i = 0; i < prompt; i++)
        c->prompt[i] = (int32_t)((i * 37 + (size_t)which * 101 + 5) % VOCAB);
    c->request = (struct engine_request){
        .tenant = (uint32_t)which,
        .tokens = c->prompt,
        .token_count = prompt,
        .sampling = {.top_p = 1, .max_tokens = max_tokens, .ignore_eos = true, .logprobs = -1},
        .on_token = on_token,
        .on_done = on_done,
        .arg = c};
}

static void submit(struct engine *g, struct client *c)
{
    struct err e;
    if (engine_submit(g, &c->request, &c->id, &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
}

static void wait_done(struct client *c)
{
    for (int i = 0; atomic_load(&c->done_calls) == 0; i++) {
        if (i > 60000)
            fail_msg("request %llu does not end", (unsigned long long)c->id);
        usleep(1000);
    }
}

static void assert_ends(struct client *c, enum engine_finish how, int tokens)
{
    wait_done(c);
    assert_int_equal(c->done.finish, how);
    assert_int_equal(c->token_count, tokens);
}

static const struct engine_options ordinary = {.threads = 2,
                                               .kv_bytes = (size_t)64 << 20,
                                               .sequences_max = 8,
                                               .queue_max = 1000,
                                               .queue_tenant_max = 1000};

static struct engine *open_engine(const struct model *m, const struct engine_options *o)
{
    struct engine *g = NULL;
    struct err e;
    if (engine_new(&g, m, o, &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
    return g;
}

/* Nothing runs, nothing waits, every page is back. */
static void assert_idle(struct engine *g)
{
    struct engine_stats s;
    engine_stats(g, &s);
    assert_int_equal(s.running, 0);
    assert_int_equal(s.waiting, 0);
    assert_int_equal(s.kv_pages_free, s.kv_pages);
}

/* What a request gives when it has the engine for itself. */
static void run_alone(struct client *c)
{
    struct engine *g = open_engine(llama, &ordinary);
    submit(g, c);
    wait_done(c);
    engine_free(g);
}

/* ---- what is refused ---- */

static void bad_requests_are_refused(void **state)
{
    (void)state;
    static const struct {
        size_t count;
        int32_t first, last;
        const char *code; /* NULL: accepted */
    } cases[] = {
        {0, 1, 1, "prompt_empty"},
        {CONTEXT + 1, 1, 1, "prompt_too_long"},
        {1, -1, -1, "token_out_of_range"},
        {1, VOCAB, VOCAB, "token_out_of_range"},
        {1, INT32_MIN, INT32_MIN, "token_out_of_range"},
        {5, 0, INT32_MAX, "token_out_of_range"},
        {1, VOCAB - 1, VOCAB - 1, NULL},
        {CONTEXT, 0, 0, NULL},
    };
    struct engine *g = open_engine(llama, &ordinary);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client c;
        struct err e = {.code = ""};
        client_prepare(&c, 1, cases[i].count, 1);
        c.prompt[0] = cases[i].first;
        if (cases[i].count)
            c.prompt[cases[i].count - 1] = cases[i].last;
        int result = engine_submit(g, &c.request, &c.id, &e);
        assert_string_equal(e.code, cases[i].code ? cases[i].code : "");
        assert_int_equal(result, cases[i].code ? -1 : 0);
        if (result == 0)
            wait_done(&c);
        else
            assert_int_equal(c.done_calls, 0);
    }
    struct model *mlp = fixture_model(fixture_path("models/mlp"));
    struct engine *numeric = open_engine(mlp, &ordinary);
    float input[16] = {0};
    static const size_t rows[] = {0, SIZE_MAX, (size_t)INT_MAX + 2, SIZE_MAX / 16 / 4 + 2};
    static const char *const codes[] = {"prompt_empty", "prompt_too_long", "prompt_too_long",
                                        "prompt_too_long"};
    for (size_t i = 0; i < 4; i++) {
        struct client c;
        struct err e = {.code = ""};
        client_prepare(&c, 1, 0, 0);
        c.request.input = input;
        c.request.input_rows = rows[i];
        assert_int_equal(engine_submit(numeric, &c.request, &c.id, &e), -1);
        assert_string_equal(e.code, codes[i]);
    }
    assert_idle(g);
    engine_free(numeric);
    model_close(mlp);
    engine_free(g);
}

/* One request holds the engine; the queues fill up behind it. */
static void queues_are_bounded(void **state)
{
    (void)state;
    struct engine_options o = ordinary;
    o.sequences_max = 1;
    o.queue_max = 5;
    o.queue_tenant_max = 3;
    struct engine *g = open_engine(llama, &o);
    static struct client c[8];
    sem_t gate, arrived;
    sem_init(&gate, 0, 0);
    sem_init(&arrived, 0, 0);
    client_prepare(&c[0], 1, 3, 1);
    c[0].gate = &gate;
    c[0].arrived = &arrived;
    submit(g, &c[0]);
    sem_wait(&arrived);
    static const struct {
        uint32_t tenant;
        const char *code;
    } cases[7] = {{1, ""}, {1, ""}, {1, ""}, {1, "tenant_queue_full"}, {2, ""}, {3, ""}, {4, "queue_full"}};
    for (int i = 0; i < 7; i++) {
        struct err e = {.code = ""};
        client_prepare(&c[i + 1], (int)cases[i].tenant, 3, 2);
        int result = engine_submit(g, &c[i + 1].request, &c[i + 1].id, &e);
        assert_int_equal(result, *cases[i].code ? -1 : 0);
        assert_string_equal(e.code, cases[i].code);
    }
    struct engine_stats s;
    engine_stats(g, &s);
    assert_int_equal(s.waiting, 5);
    assert_int_equal(s.running, 1);
    sem_post(&gate);
    for (int i = 0; i < 7; i++)
        if (!*cases[i].code)
            assert_ends(&c[i + 1], ENGINE_LENGTH, 2);
        else
            assert_int_equal(c[i + 1].done_calls, 0);
    assert_idle(g);
    engine_free(g);
    sem_destroy(&gate);
    sem_destroy(&arrived);
}

/* ---- how requests end ---- */

static void lengths_are_kept(void **state)
{
    (void)state;
    static const struct {
        size_t prompt;
        int max_tokens, tokens;
    } cases[] = {
        {5, 0, 0},
        {5, 1, 1},
        {5, 7, 7},
        {5, -3, 0},
        {CONTEXT, 0, 0},
        {CONTEXT, 10, 1}, /* the last token needs no place of its own */
        {CONTEXT - 1, 5, 2},
        {CONTEXT - 4, 5, 5},
        {200, INT_MAX, CONTEXT - 200 + 1},
    };
    struct engine *g = open_engine(llama, &ordinary);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client c;
        client_prepare(&c, 1, cases[i].prompt, cases[i].max_tokens);
        if (cases[i].tokens == 0)
            c.request.on_token = NULL;
        submit(g, &c);
        assert_ends(&c, ENGINE_LENGTH, cases[i].tokens);
        assert_idle(g);
    }
    engine_free(g);
}

static void a_small_budget_shortens_the_context(void **state)
{
    (void)state;
    static const struct {
        size_t pages;
        int context;
    } cases[] = {{0, 32}, {1, 32}, {3, 96}, {8, 256}, {1000, 256}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct engine_options o = ordinary;
        o.kv_bytes = cases[i].pages * page_bytes;
        struct engine *g = open_engine(llama, &o);
        struct engine_stats s;
        struct client c;
        struct err e;
        engine_stats(g, &s);
        assert_int_equal(s.context_length, cases[i].context);
        assert_in_range(s.kv_pages, 1, 8 * 8); /* never more than all sequences can use */
        client_prepare(&c, 1, (size_t)cases[i].context - 2, INT_MAX);
        submit(g, &c);
        assert_ends(&c, ENGINE_LENGTH, 3);
        client_prepare(&c, 1, (size_t)cases[i].context + 1, 1);
        assert_int_equal(engine_submit(g, &c.request, &c.id, &e), -1);
        assert_string_equal(e.code, "prompt_too_long");
        engine_free(g);
    }
}

static void on_token_can_stop(void **state)
{
    (void)state;
    struct engine *g = open_engine(llama, &ordinary);
    for (int stop = 1; stop <= 4; stop++) {
        struct client c;
        client_prepare(&c, 1, 9, 4);
        c.stop_after = stop;
        submit(g, &c);
        assert_ends(&c, ENGINE_STOP, stop);
    }
    assert_idle(g);
    engine_free(g);
}

/* A seed whose run meets the end token, found by ignoring it. */
static void the_end_token_stops_unseen(void **state)
{
    (void)state;
    struct engine *g = open_engine(llama, &ordinary);
    struct client c, again;
    int at = -1;
    for (uint64_t seed = 0; seed < 500 && at <= 0; seed++) {
        client_prepare(&c, 1, 9, 40);
        c.request.sampling.temperature = 1.5f;
        c.request.sampling.seed = seed;
        submit(g, &c);
        assert_ends(&c, ENGINE_LENGTH, 40);
        for (at = 39; at >= 0 && c.tokens[at] != EOS; at--)
            ;
    }
    assert_in_range(at, 1, 39);
    for (int first = 0; first <= at; first++)
        if (c.tokens[first] == EOS)
            at = first;
    client_prepare(&again, 1, 9, 40);
    again.request.sampling = c.request.sampling;
    again.request.sampling.ignore_eos = false;
    submit(g, &again);
    assert_ends(&again, ENGINE_STOP, at);
    assert_memory_equal(again.tokens, c.tokens, (size_t)at * sizeof *c.tokens);
    assert_idle(g);
    engine_free(g);
}

static void logprobs_come_when_asked_for(void **state)
{
    (void)state;
    struct engine *g = open_engine(llama, &ordinary);
    struct client c;
    client_prepare(&c, 1, 9, 3);
    c.request.sampling.logprobs = SAMPLING_LOGPROBS_MAX;
    submit(g, &c);
    assert_ends(&c, ENGINE_LENGTH, 3);
    assert_int_equal(c.last.top_count, SAMPLING_LOGPROBS_MAX);
    assert_int_equal(c.last.top[0].token, c.last.token); /* greedy takes the likeliest */
    assert_true(c.last.logprob < 0 && c.last.top[0].logprob == c.last.logprob);
    for (int i = 1; i < SAMPLING_LOGPROBS_MAX; i++)
        assert_true(c.last.top[i].logprob <= c.last.top[i - 1].logprob);
    client_prepare(&c, 1, 9, 3);
    submit(g, &c);
    assert_ends(&c, ENGINE_LENGTH, 3);
    assert_int_equal(c.last.top_count, 0);
    engine_free(g);
}

/* ---- cancelling ---- */

static void cancel_hits_only_its_own(void **state)
{
    (void)state;
    enum { CROWD = 6 };
    static struct client alone[CROWD], c[CROWD];
    for (int i = 0; i < CROWD; i++) {
        client_prepare(&alone[i], i, (size_t)(10 + 13 * i), 40);
        run_alone(&alone[i]);
    }
    struct engine_options o = ordinary;
    o.sequences_max = CROWD - 2; /* the last two wait */
    struct engine *g = open_engine(llama, &o);
    sem_t gate, arrived;
    sem_init(&gate, 0, 0);
    sem_init(&arrived, 0, 0);
    for (int i = 0; i < CROWD; i++)
        client_prepare(&c[i], i, (size_t)(10 + 13 * i), 40);
    c[0].gate = &gate;
    c[0].arrived = &arrived;
    for (int i = 0; i < CROWD; i++)
        submit(g, &c[i]);
    for (int i = 0; i < 10; i++) { /* all that run are well under way */
        sem_wait(&arrived);
        sem_post(&gate);
    }
    sem_wait(&arrived);                /* the engine stands still in the eleventh token */
    engine_cancel(g, c[1].id);         /* running */
    engine_cancel(g, c[CROWD - 1].id); /* waiting */
    engine_cancel(g, c[1].id);         /* again: nothing more */
    engine_cancel(g, 0);
    engine_cancel(g, UINT64_MAX);
    int before = c[1].token_count;
    for (int i = 0; i < 40; i++)
        sem_post(&gate);
    for (int i = 0; i < CROWD; i++) {
        bool cancelled = i == 1 || i == CROWD - 1;
        wait_done(&c[i]);
        assert_int_equal(c[i].done.finish, cancelled ? ENGINE_CANCELLED : ENGINE_LENGTH);
        assert_memory_equal(c[i].tokens, alone[i].tokens, (size_t)c[i].token_count * sizeof *c[i].tokens);
        if (!cancelled)
            assert_int_equal(c[i].token_count, 40);
    }
    assert_in_range(c[1].token_count, before, before + 1); /* within a step */
    assert_int_equal(c[CROWD - 1].token_count, 0);
    engine_cancel(g, c[0].id); /* finished */
    assert_idle(g);
    engine_free(g);
    for (int i = 0; i < CROWD; i++)
        assert_int_equal(c[i].done_calls, 1);
    sem_destroy(&gate);
    sem_destroy(&arrived);
}

static void free_cancels_all(void **state)
{
    (void)state;
    enum { CROWD = 20 };
    static struct client c[CROWD];
    struct engine_options o = ordinary;
    o.sequences_max = 3;
    for (int round = 0; round < 10; round++) {
        struct engine *g = open_engine(llama, &o);
        for (int i = 0; i < CROWD; i++) {
            client_prepare(&c[i], i % 4, (size_t)(1 + 11 * i), INT_MAX);
            submit(g, &c[i]);
        }
        usleep((useconds_t)(round * 700));
        engine_free(g);
        int cancelled = 0;
        for (int i = 0; i < CROWD; i++) {
            assert_int_equal(c[i].done_calls, 1);
            assert_true(c[i].done.finish == ENGINE_CANCELLED || c[i].done.finish == ENGINE_LENGTH);
            cancelled += c[i].done.finish == ENGINE_CANCELLED;
        }
        assert_in_range(cancelled, 1, CROWD);
    }
    engine_free(NULL);
}

/* ---- load ---- */

/* More wanted at the same time than the KV budget holds: those that do not fit wait, and all end well. */
static void a_small_budget_is_back_pressure(void **state)
{
    (void)state;
    enum { CROWD = 40 };
    static struct client alone[CROWD], c[CROWD];
    struct engine_options o = ordinary;
    o.kv_bytes = 5 * page_bytes;
    struct engine *g = open_engine(llama, &o);
    uint64_t prefill = 0, decode = 0;
    for (int i = 0; i < CROWD; i++) {
        size_t prompt = (size_t)(1 + (i * 29) % 120);
        int tokens = 1 + (i * 17) % 30;
        client_prepare(&alone[i], i % 5, prompt, tokens);
        run_alone(&alone[i]);
        client_prepare(&c[i], i % 5, prompt, tokens);
        prefill += prompt;
        decode += (uint64_t)tokens - 1; /* the first comes with the prompt */
    }
    for (int i = 0; i < CROWD; i++)
        submit(g, &c[i]);
    for (int i = 0; i < CROWD; i++) {
        assert_ends(&c[i], ENGINE_LENGTH, alone[i].token_count);
        assert_memory_equal(c[i].tokens, alone[i].tokens, (size_t)c[i].token_count * sizeof *c[i].tokens);
        assert_true(c[i].done.queue_ms >= 0 && c[i].done.prefill_ms >= 0 && c[i].done.decode_ms >= 0);
        assert_int_equal(c[i].done.cached_tokens, 0);
    }
    struct engine_stats s;
    engine_stats(g, &s);
    if (s.preemptions == 0)
        assert_int_equal(s.tokens_prefill, prefill);
    assert_true(s.tokens_prefill >= prefill); /* more where some began again */
    assert_in_range(s.tokens_decode, decode - s.preemptions, decode);
    assert_in_range(s.steps, 30, s.tokens_prefill + decode);
    assert_int_equal(s.kv_pages, 5);
    assert_idle(g);
    engine_free(g);
}

static void keep_row(void *arg, size_t row, const float *logits)
{
    struct client *c = arg;
    assert((int)row == c->row_count && row <= CONTEXT);
    c->row_logit[c->row_count++] = logits[row % VOCAB];
}

/* Two places, both of tenant 1; the second is taken away for tenant 2 in the middle of its prompt, or of its
 * answer. It gives what it gives alone, each row of its prompt's logits once, from the prefix cache or
 * not. */
static void who_gives_up_a_place_gives_the_same(void **state)
{
    (void)state;
    static const struct {
        size_t prompt;
        int steps; /* of the first, before tenant 2 comes */
        bool rows, cached;
    } cases[] = {{200, 5, false, false}, {200, 5, true, false}, {200, 5, false, true}, {40, 50, false, false},
                 {40, 50, true, false},  {40, 50, false, true}, {1, 1, false, false}};
    struct engine_options o = ordinary;
    o.sequences_max = 2;
    o.chunk_tokens = 8;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static struct client alone, c[3];
        static const uint8_t root[SHA256_BYTES] = {1};
        struct engine *g = open_engine(llama, &o);
        sem_t gate, arrived;
        sem_init(&gate, 0, 0);
        sem_init(&arrived, 0, 0);
        client_prepare(&c[0], 1, 3, 100);
        client_prepare(&c[1], 1, cases[i].prompt, 57);
        client_prepare(&c[2], 2, 30, 10);
        c[1].request.sampling.temperature = 1;
        c[1].request.sampling.seed = 7;
        c[1].request.on_logits = cases[i].rows ? keep_row : NULL;
        c[1].request.cache_root = cases[i].cached ? root : NULL;
        alone = c[1];
        alone.request.arg = &alone;
        alone.request.tokens = alone.prompt;
        run_alone(&alone);
        c[0].gate = &gate;
        c[0].arrived = &arrived;
        submit(g, &c[0]);
        sem_wait(&arrived); /* it runs, and the engine waits for us */
        submit(g, &c[1]);
        for (int k = 0; k < cases[i].steps; k++) {
            sem_post(&gate);
            sem_wait(&arrived);
        }
        submit(g, &c[2]);
        for (int k = 0; k < 100; k++)
            sem_post(&gate);
        assert_ends(&c[2], ENGINE_LENGTH, 10);
        assert_ends(&c[1], ENGINE_LENGTH, 57);
        assert_ends(&c[0], ENGINE_LENGTH, 100);
        assert_memory_equal(c[1].tokens, alone.tokens, 57 * sizeof *alone.tokens);
        assert_int_equal(c[1].row_count, cases[i].rows ? cases[i].prompt : 0);
        assert_memory_equal(c[1].row_logit, alone.row_logit,
                            (size_t)alone.row_count * sizeof *alone.row_logit);
        assert_int_equal(c[1].done.cached_tokens, 0);
        struct engine_stats s;
        engine_stats(g, &s);
        assert_in_range(s.preemptions, 1, 2);
        engine_free(g);
        sem_destroy(&gate);
        sem_destroy(&arrived);
    }
}

enum { SUBMITTERS = 4, EACH = 50 };

struct submitter {
    struct engine *g;
    struct delta *delta;
    unsigned random;
    struct client clients[EACH];
    pthread_t thread;
    int accepted;
};

static unsigned draw(struct submitter *s, unsigned below)
{
    s->random = s->random * 1664525u + 1013904223u;
    return (s->random >> 8) % below;
}

/* Submit, cancel at once, later, or never. */
static void *submit_and_cancel(void *arg)
{
    struct submitter *s = arg;
    for (int i = 0; i < EACH; i++) {
        struct client *c = &s->clients[i];
        struct err e;
        struct engine_stats stats;
        client_prepare(c, (int)draw(s, 3), 1 + draw(s, 60), (int)draw(s, 20));
        c->request.delta = draw(s, 2) ? s->delta : NULL;
        c->stop_after = draw(s, 4) == 0 ? 3 : 0;
        if (engine_submit(s->g, &c->request, &c->id, &e) != 0) {
            c->id = 0;
            continue;
        }
        s->accepted++;
        if (draw(s, 2) == 0)
            engine_cancel(s->g, c->id);
        if (i > 3 && draw(s, 3) == 0)
            engine_cancel(s->g, s->clients[i - 1 - (int)draw(s, 3)].id);
        if (draw(s, 8) == 0)
            engine_stats(s->g, &stats);
        if (draw(s, 10) == 0)
            usleep(500);
    }
    return NULL;
}

static void threads_may_do_as_they_like(void **state)
{
    (void)state;
    static struct submitter s[SUBMITTERS];
    struct engine_options o = ordinary;
    struct err e;
    o.sequences_max = 4;
    o.queue_max = 40;
    o.queue_tenant_max = 30;
    o.kv_bytes = 7 * page_bytes;
    struct engine *g = open_engine(llama, &o);
    struct delta *d = fixture_delta(llama, fixture_path("adapters/llama/r8-all"), &e);
    assert_non_null(d);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < SUBMITTERS; i++) {
            s[i] = (struct submitter){.g = g, .delta = d, .random = (unsigned)(i * 977 + round)};
            pthread_create(&s[i].thread, NULL, submit_and_cancel, &s[i]);
        }
        int accepted = 0;
        for (int i = 0; i < SUBMITTERS; i++) {
            pthread_join(s[i].thread, NULL);
            accepted += s[i].accepted;
        }
        assert_in_range(accepted, SUBMITTERS, SUBMITTERS * EACH);
        for (int i = 0; i < SUBMITTERS * EACH; i++) {
            struct client *c = &s[i / EACH].clients[i % EACH];
            if (c->id)
                wait_done(c);
            assert_int_equal(c->done_calls, c->id ? 1 : 0);
        }
        assert_idle(g);
    }
    delta_unref(d);
    engine_free(g);
}

/* The engine holds a reference of its own for as long as it needs the delta. */
static void the_engine_keeps_the_delta(void **state)
{
    (void)state;
    struct err e;
    struct client c, bare;
    struct engine *g = open_engine(llama, &ordinary);
    struct delta *d = fixture_delta(llama, fixture_path("adapters/llama/r8-all"), &e);
    client_prepare(&c, 1, 30, 100);
    client_prepare(&bare, 1, 30, 100);
    c.request.delta = d;
    submit(g, &c);
    delta_unref(d);
    submit(g, &bare);
    assert_ends(&c, ENGINE_LENGTH, 100);
    assert_ends(&bare, ENGINE_LENGTH, 100);
    assert_memory_not_equal(c.tokens, bare.tokens, sizeof c.tokens);
    engine_free(g);
}

/* ---- the proof ---- */

/* A delta on one site, B filled with `b`. */
static struct delta *one_site(const struct model *m, const char *path, float b)
{
    size_t count;
    int site = model_find_site(m, path);
    assert_in_range(site, 0, 1000);
    const struct site *s = &model_sites(m, &count)[site];
    float *numbers = malloc((size_t)(s->in + s->out) * sizeof *numbers);
    for (int i = 0; i < s->in + s->out; i++)
        numbers[i] = i < s->in ? 1.0f : b;
    struct delta_part part = {.site = site, .rank = 1, .scale = 1, .a = numbers, .b = numbers + s->in};
    struct delta_source source = {.parts = &part, .count = 1};
    struct delta *d = NULL;
    struct err e;
    assert_int_equal(delta_new(&d, m, &source, &e), 0);
    free(numbers);
    return d;
}

static void check_proof(struct engine *g, const char *path, float b, bool effect, const char *code)
{
    struct delta *d = one_site(engine_model(g), path, b);
    struct engine_proof p = {.max_change = -1};
    struct err e = {.code = ""};
    int result = engine_probe(g, 1, d, &p, &e);
    assert_string_equal(e.code, code);
    assert_int_equal(result, *code ? -1 : 0);
    if (*code) {
        assert_true(p.max_change == -1);
    } else if (effect) {
        assert_true(p.max_change > 0 && p.mean_change > 0 && p.mean_change <= p.max_change);
    } else {
        assert_true(p.max_change == 0 && p.mean_change == 0);
    }
    delta_unref(d);
    assert_idle(g);
}

static void the_proof_sees_an_effect(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        float b;
        bool effect;
        const char *code;
    } cases[] = {
        {"model.layers.0.self_attn.q_proj", 0.1f, true, ""},
        {"model.layers.2.self_attn.q_proj", 0.1f, true, ""},
        {"model.layers.1.mlp.down_proj", 0.001f, true, ""},
        {"lm_head", 1e-3f, true, ""},
        {"model.layers.0.self_attn.q_proj", 0, false, ""},
        {"lm_head", 0, false, ""},
        {"lm_head", -0.0f, false, ""},
        {"lm_head", 3e38f, false, "adapter_not_finite"},
        {"model.layers.0.mlp.up_proj", 3e38f, false, "adapter_not_finite"},
    };
    struct engine_options o = ordinary;
    o.queue_max = o.queue_tenant_max = 1; /* enough for a proof */
    o.kv_bytes = 0;
    struct engine *g = open_engine(llama, &o);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_proof(g, cases[i].path, cases[i].b, cases[i].effect, cases[i].code);
    engine_free(g);
    struct model *mlp = fixture_model(fixture_path("models/mlp"));
    g = open_engine(mlp, &o);
    check_proof(g, "fc1", 0.1f, true, "");
    check_proof(g, "fc4", 0.1f, true, "");
    check_proof(g, "fc4", 0, false, "");
    check_proof(g, "fc4", 3e38f, false, "adapter_not_finite");
    engine_free(g);
    model_close(mlp);
}

/* The llama of the fixtures, with another context length. */
static struct model *open_context(const char *directory, int context)
{
    json_t *config = fixture_json(fixture_path("models/llama/config.json"));
    json_object_set_new(config, "max_position_embeddings", json_integer(context));
    char *text = json_dumps(config, 0),
         *target = realpath(fixture_path("models/llama/model.safetensors"), NULL);
    char link[600];
    snprintf(link, sizeof link, "%s/model.safetensors", directory);
    unlink(link);
    assert_int_equal(symlink(target, link), 0);
    scratch_write(directory, "config.json", text, strlen(text));
    free(text);
    free(target);
    json_decref(config);
    return fixture_model(directory);
}

static void a_context_of_a_few_tokens_works(void **state)
{
    (void)state;
    char *directory = scratch_new();
    for (int context = 1; context <= 9; context += 4) {
        struct model *m = open_context(directory, context);
        struct engine *g = open_engine(m, &ordinary);
        struct client c;
        client_prepare(&c, 1, (size_t)context, 5);
        submit(g, &c);
        assert_ends(&c, ENGINE_LENGTH, 1);
        check_proof(g, "lm_head", 1e-3f, true, "");
        check_proof(g, "lm_head", 0, false, "");
        engine_free(g);
        model_close(m);
    }
    scratch_remove(directory);
}

static int open_llama(void **state)
{
    (void)state;
    llama = fixture_model(fixture_path("models/llama"));
    return 0;
}

static int close_llama(void **state)
{
    (void)state;
    model_close(llama);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_requests_are_refused),
        cmocka_unit_test(queues_are_bounded),
        cmocka_unit_test(lengths_are_kept),
        cmocka_unit_test(a_small_budget_shortens_the_context),
        cmocka_unit_test(on_token_can_stop),
        cmocka_unit_test(the_end_token_stops_unseen),
        cmocka_unit_test(logprobs_come_when_asked_for),
        cmocka_unit_test(cancel_hits_only_its_own),
        cmocka_unit_test(free_cancels_all),
        cmocka_unit_test(a_small_budget_is_back_pressure),
        cmocka_unit_test(who_gives_up_a_place_gives_the_same),
        cmocka_unit_test(threads_may_do_as_they_like),
        cmocka_unit_test(the_engine_keeps_the_delta),
        cmocka_unit_test(the_proof_sees_an_effect),
        cmocka_unit_test(a_context_of_a_few_tokens_works),
    };
    return cmocka_run_group_tests(tests, open_llama, close_llama);
}

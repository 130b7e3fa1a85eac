/* What tenants get of the engine, in a simulation: the scheduler with a clock of its own, where a step takes
 * as long as it would on a small server. The same every time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/engine/scheduler.h"

enum {
    PLACES = 16,
    STEP_US = 10000, /* of any step: all weights are read once */
    TOKEN_US = 1000,
    BUDGET = 100, /* prompt tokens beside decodes */
    SECOND = 1000000,
    MINUTE = 60 * SECOND,
    TENANTS_MAX = 3000
};

static const struct scheduler_limits limits = {
    .sequences_max = PLACES, .step_tokens = 256, .chunk_tokens = 128, .logit_rows = PLACES + 32};

struct client { /* sends a request, waits for its answer, sends the next */
    struct schedulable q;
    uint32_t tenant;
    int weight, prompt, reply, cost; /* of each request, in tokens */
    long pause_us;                   /* before the next one */
    int pages;

    long due_us, sent_us;
    bool active, first_seen;
    int given, computed_at_first;
    long *first_us; /* time to first token of each request, if wanted */
    int requests, first_count;
};

struct world {
    struct scheduler s;
    struct client *clients;
    int count;
    long now_us, longest_step_us;
    long tokens[TENANTS_MAX]; /* by tenant: of prompts, of answers */
    long decoded[TENANTS_MAX];
    int put_back;
};

static void send(struct world *w, struct client *c)
{
    c->q = (struct schedulable){.tenant = c->tenant,
                                .weight = c->weight,
                                .extra_cost = c->cost,
                                .prompt_tokens = c->prompt,
                                .reserve_tokens = c->pages ? c->prompt + c->reply : 0};
    c->active = true;
    c->given = 0;
    c->sent_us = w->now_us;
    assert_int_equal(scheduler_add(&w->s, &c->q), 0);
}

static struct client *client_of(struct schedulable *q)
{
    return (struct client *)q;
}

static void admit(struct world *w)
{
    for (struct schedulable *q; w->s.waiting > 0;) {
        if (scheduler_admit(&w->s))
            continue;
        if (!(q = scheduler_overserved(&w->s)))
            return;
        q->prompt_tokens = client_of(q)->prompt + client_of(q)->given;
        scheduler_put_back(&w->s, q);
        w->put_back++;
    }
}

/* One token more of its answer. */
static void give(struct world *w, struct client *c)
{
    w->tokens[c->tenant]++;
    w->decoded[c->tenant]++;
    if (++c->given == 1 && c->first_us)
        c->first_us[c->first_count++] = w->now_us - c->sent_us;
    if (c->given < c->reply)
        return;
    scheduler_remove(&w->s, &c->q);
    c->active = false;
    c->requests++;
    c->due_us = w->now_us + c->pause_us;
}

static void advance(struct world *w, struct schedulable *q)
{
    struct client *c = client_of(q);
    int before = q->computed;
    q->computed += q->planned;
    if (before < c->prompt && c->given == 0)
        w->tokens[c->tenant] += q->planned;
    if (q->planned > 0 && q->computed >= q->prompt_tokens)
        give(w, c);
}

static void step(struct world *w)
{
    for (int i = 0; i < w->count; i++)
        if (!w->clients[i].active && w->clients[i].due_us <= w->now_us)
            send(w, &w->clients[i]);
    admit(w);
    int planned = scheduler_plan(&w->s, BUDGET);
    long us = planned > 0 ? STEP_US + (long)planned * TOKEN_US : 1000;
    assert_true(planned > 0 || w->s.running == 0);
    w->now_us += us;
    w->longest_step_us = us > w->longest_step_us ? us : w->longest_step_us;
    for (struct schedulable *q = TAILQ_FIRST(&w->s.admitted), *next; q; q = next) {
        next = TAILQ_NEXT(q, link);
        advance(w, q);
    }
}

static void run_until(struct world *w, long until_us)
{
    while (w->now_us < until_us)
        step(w);
}

static struct world *world_new(int clients)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->clients = calloc((size_t)clients, sizeof *w->clients);
    assert_non_null(w->clients);
    scheduler_init(&w->s, &limits, NULL, NULL);
    return w;
}

static void world_free(struct world *w)
{
    for (int i = 0; i < w->count; i++)
        if (w->clients[i].active)
            scheduler_remove(&w->s, &w->clients[i].q);
    assert_int_equal(w->s.running, 0);
    assert_int_equal(w->s.waiting, 0);
    scheduler_fini(&w->s);
    free(w->clients);
    free(w);
}

/* `count` clients of one tenant, all with requests like this one's. */
static void join(struct world *w, int count, struct client like)
{
    for (int i = 0; i < count; i++) {
        struct client *c = &w->clients[w->count++];
        *c = like;
        c->reply += i % 3; /* not in step with each other */
    }
}

static double ratio(const struct world *w, int a, int b)
{
    return (double)w->tokens[a] / (double)w->tokens[b];
}

static void assert_metadata(double found, double wanted)
{
    if (!(found > 0.9 * wanted && found < 1.1 * wanted))
        fail_msg("the ratio is %.3f, wanted is %.3f", found, wanted);
}

/* ---- shares ---- */

/* Fifty adapters with two clients each, against one adapter with enough clients to be always waiting. Who is
 * there first, and how long the requests are, is all the same. */
static void adapters_do_not_enter(void **state)
{
    (void)state;
    static const struct {
        int prompt_a, reply_a, prompt_b, reply_b;
        long late_us;
    } cases[] = {
        {40, 40, 40, 40, 0},       {40, 40, 40, 40, 10 * SECOND}, {20, 400, 20, 400, 5 * SECOND},
        {10, 200, 200, 10, 0},     {200, 10, 10, 200, SECOND},    {1000, 20, 20, 60, 0},
        {5, 2000, 30, 30, SECOND},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world *w = world_new(200);
        join(w, 100,
             (struct client){
                 .tenant = 1, .weight = 100, .prompt = cases[i].prompt_a, .reply = cases[i].reply_a});
        run_until(w, cases[i].late_us);
        join(w, 40,
             (struct client){
                 .tenant = 2, .weight = 100, .prompt = cases[i].prompt_b, .reply = cases[i].reply_b});
        long cost[3] = {0}, before[3][2];
        for (int t = 1; t < 3; t++) {
            before[t][0] = w->tokens[t];
            before[t][1] = w->decoded[t];
        }
        run_until(w, w->now_us + MINUTE);
        for (int t = 1; t < 3; t++) { /* a decoded token counts twice */
            w->tokens[t] -= before[t][0];
            cost[t] = w->tokens[t] + w->decoded[t] - before[t][1];
        }
        bool alike = cases[i].prompt_a == cases[i].prompt_b;
        double found = alike ? ratio(w, 1, 2) : (double)cost[1] / (double)cost[2];
        if (!(found > 0.9 && found < 1.1))
            fail_msg("case %zu: %ld to %ld, ratio %.3f", i, cost[1], cost[2], found);
        world_free(w);
    }
}

static void weights_are_shares(void **state)
{
    (void)state;
    static const int weights[] = {300, 100, 50, 1000};
    enum { COUNT = sizeof weights / sizeof *weights };
    struct world *w = world_new(COUNT * 40);
    for (int t = 0; t < 2; t++)
        join(w, 40, (struct client){.tenant = t, .weight = weights[t], .prompt = 30, .reply = 60});
    run_until(w, MINUTE);
    assert_metadata(ratio(w, 0, 1), 3);
    world_free(w);
    w = world_new(COUNT * 40);
    for (int t = 0; t < COUNT; t++)
        join(w, 40, (struct client){.tenant = t, .weight = weights[t], .prompt = 30, .reply = 60});
    run_until(w, 3 * MINUTE);
    for (int t = 1; t < COUNT; t++)
        assert_metadata(ratio(w, t, 0), (double)weights[t] / weights[0]);
    world_free(w);
}

/* A tenant alone gets as much as there is, whatever its weight, and what one leaves goes to the other. */
static void no_place_stays_empty(void **state)
{
    (void)state;
    struct world *w = world_new(100);
    join(w, 50, (struct client){.tenant = 1, .weight = 1, .prompt = 30, .reply = 60});
    run_until(w, MINUTE);
    assert_int_equal(w->s.running, PLACES);
    long alone = w->tokens[1];
    join(w, 1, (struct client){.tenant = 2, .weight = 1000, .prompt = 30, .reply = 60});
    run_until(w, 2 * MINUTE);
    assert_int_equal(w->s.running, PLACES);
    assert_true(w->tokens[1] - alone + w->tokens[2] > alone * 95 / 100);
    world_free(w);
}

static void cold_loads_are_charged(void **state)
{
    (void)state;
    struct world *w = world_new(100);
    join(w, 40, (struct client){.tenant = 1, .weight = 100, .prompt = 50, .reply = 25, .cost = 101});
    join(w, 40, (struct client){.tenant = 2, .weight = 100, .prompt = 50, .reply = 25});
    run_until(w, MINUTE);
    assert_metadata(ratio(w, 2, 1), 2);
    world_free(w);
}

/* Half a minute of nothing, or of one stream at a time, is no credit for a flood afterwards. */
static void idling_earns_nothing(void **state)
{
    (void)state;
    for (int streams = 0; streams < 2; streams++) {
        struct world *w = world_new(200);
        join(w, 60, (struct client){.tenant = 1, .weight = 100, .prompt = 20, .reply = 50});
        join(w, streams, (struct client){.tenant = 2, .weight = 100, .prompt = 20, .reply = 50});
        join(w, 1, (struct client){.tenant = 2, .weight = 100, .prompt = 20, .reply = 1});
        w->clients[w->count - 1].pause_us = 30 * MINUTE;
        run_until(w, MINUTE / 2);
        join(w, 60, (struct client){.tenant = 2, .weight = 100, .prompt = 20, .reply = 50});
        memset(w->tokens, 0, sizeof w->tokens);
        run_until(w, w->now_us + 10 * SECOND);
        assert_metadata(ratio(w, 1, 2), 1);
        world_free(w);
    }
}

/* ---- time ---- */

static int by_size(const void *a, const void *b)
{
    long x = *(const long *)a, y = *(const long *)b;
    return (x > y) - (x < y);
}

static long p99(long *times, int count)
{
    assert_true(count > 50);
    qsort(times, (size_t)count, sizeof *times, by_size);
    return times[(count * 99 + 99) / 100 - 1];
}

/* Under another's flood, in every shape, the first token comes within twice the time that it takes alone, and
 * a step. */
static void a_light_tenant_waits_little(void **state)
{
    (void)state;
    static const struct {
        int prompt, reply, flood, weight;
    } cases[] = {
        {40, 20, 1, 100},   {40, 500, 1, 100}, {2000, 2000, 1, 100}, {200, 1, 1, 100},
        {40, 2000, 3, 100}, {40, 100, 1, 300}, {5, 20, 1, 100},
    };
    static const int prompts[] = {20, 100, 600};
    static long alone[1000], flooded[1000];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t k = 0; k < sizeof prompts / sizeof *prompts; k++) {
            struct client light = {.tenant = 9,
                                   .weight = 100,
                                   .prompt = prompts[k],
                                   .reply = 10,
                                   .pause_us = 4 * SECOND + 123456,
                                   .first_us = alone};
            struct world *w = world_new(1000);
            join(w, 1, light);
            run_until(w, 6 * MINUTE);
            long alone_us = p99(alone, w->clients[0].first_count);
            world_free(w);
            w = world_new(1000);
            for (int t = 0; t < cases[i].flood; t++)
                join(w, 200,
                     (struct client){.tenant = t,
                                     .weight = cases[i].weight,
                                     .prompt = cases[i].prompt,
                                     .reply = cases[i].reply});
            light.first_us = flooded;
            light.due_us = SECOND;
            join(w, 1, light);
            run_until(w, 6 * MINUTE);
            long flooded_us = p99(flooded, w->clients[w->count - 1].first_count);
            if (flooded_us > 2 * alone_us + w->longest_step_us)
                fail_msg("case %zu, prompt %d: %ld us alone, %ld us in the flood, a step %ld us", i,
                         prompts[k], alone_us, flooded_us, w->longest_step_us);
            world_free(w);
        }
}

/* Thousands of tenants with a request each, and one with hundreds: everybody gets about the same. */
static void nobody_starves(void **state)
{
    (void)state;
    enum { COUNT = 2000 };
    struct world *w = world_new(COUNT + 500);
    join(w, 500, (struct client){.tenant = COUNT, .weight = 100, .prompt = 20, .reply = 40});
    for (int t = 0; t < COUNT; t++)
        join(w, 1, (struct client){.tenant = t, .weight = 100, .prompt = 10 + t % 20, .reply = 20 + t % 40});
    run_until(w, 20 * MINUTE);
    long least = w->tokens[0], most = 0, sum = 0;
    for (int t = 0; t <= COUNT; t++) {
        sum += w->tokens[t];
        least = w->tokens[t] < least ? w->tokens[t] : least;
        most = w->tokens[t] > most ? w->tokens[t] : most;
    }
    assert_in_range(least, sum / COUNT * 7 / 10, sum / COUNT);
    assert_in_range(most, sum / COUNT, sum / COUNT * 13 / 10);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adapters_do_not_enter), cmocka_unit_test(weights_are_shares),
        cmocka_unit_test(no_place_stays_empty),  cmocka_unit_test(cold_loads_are_charged),
        cmocka_unit_test(idling_earns_nothing),  cmocka_unit_test(a_light_tenant_waits_little),
        cmocka_unit_test(nobody_starves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

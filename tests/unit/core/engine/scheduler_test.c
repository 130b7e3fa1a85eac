/* Who is admitted when, and what a step holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/engine/scheduler.h"

static const struct scheduler_limits wide = {
    .sequences_max = 1000, .step_tokens = 1000, .chunk_tokens = 1000, .logit_rows = 1032};

static struct kvcache *open_cache(int pages)
{
    struct kvcache *k = NULL;
    struct err e;
    const struct kv_shape shape = {.layers = 1, .heads = 1, .dim = 1, .type = KV_F32};
    assert_int_equal(kvcache_new(&k, &shape, (size_t)pages * kvcache_page_bytes(&shape), &e), 0);
    assert_int_equal(kvcache_pages(k), pages);
    return k;
}

static struct schedulable make(uint32_t tenant, int prompt, int pages)
{
    return (struct schedulable){
        .tenant = tenant, .prompt_tokens = prompt, .reserve_tokens = pages * KV_PAGE_TOKENS};
}

static void add(struct scheduler *s, struct schedulable *q)
{
    assert_int_equal(scheduler_add(s, q), 0);
}

/* ---- admission ---- */

/* Tenants of the requests in the order they came, and the order they are admitted in. Where nothing was
 * computed yet, counters are level, and tenants take turns. */
static void tenants_take_turns(void **state)
{
    (void)state;
    static const struct {
        const char *came, *admitted;
    } cases[] = {
        {"", ""},
        {"A", "A"},
        {"AAAA", "AAAA"},
        {"AB", "AB"},
        {"AAAAB", "ABAAA"},
        {"AAABBB", "ABABAB"},
        {"AAABBC", "ABCABA"},
        {"CBACBA", "CBACBA"},
        {"AAAAAAAAAAAAAAAAAAAABC", "ABCAAAAAAAAAAAAAAAAAAA"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct scheduler s;
        struct schedulable q[32];
        char order[33] = "", numbers[33];
        size_t count = strlen(cases[i].came), admitted = 0;
        scheduler_init(&s, &wide, NULL, NULL);
        for (size_t k = 0; k < count; k++) {
            q[k] = make((uint32_t)cases[i].came[k], 1, 0);
            assert_int_equal(scheduler_add(&s, &q[k]), 0);
        }
        assert_int_equal(s.waiting, count);
        for (struct schedulable *one; (one = scheduler_admit(&s)); admitted++) {
            order[admitted] = (char)one->tenant;
            numbers[admitted] = (char)(one - q);
        }
        assert_string_equal(order, cases[i].admitted);
        for (size_t a = 0; a < admitted; a++) /* of one tenant: first come, first served */
            for (size_t b = a + 1; b < admitted; b++)
                assert_true(order[a] != order[b] || numbers[a] < numbers[b]);
        assert_int_equal(s.running, count);
        assert_int_equal(s.waiting, 0);
        for (size_t k = 0; k < count; k++)
            scheduler_remove(&s, &q[k]);
        assert_int_equal(s.running, 0);
        scheduler_fini(&s);
    }
}

/* A thousand requests of one tenant are there; those of another, that come now and then, are always next but
 * one. */
static void a_flood_does_not_hold_up_a_trickle(void **state)
{
    (void)state;
    enum { FLOOD = 1000, TRICKLE = 100 };
    struct scheduler s;
    struct scheduler_limits limits = wide;
    limits.sequences_max = 1;
    static struct schedulable flood[FLOOD], trickle[TRICKLE];
    scheduler_init(&s, &limits, NULL, NULL);
    for (int i = 0; i < FLOOD; i++) {
        flood[i] = make(1, 1, 0);
        assert_int_equal(scheduler_add(&s, &flood[i]), 0);
    }
    for (int i = 0; i < TRICKLE; i++) {
        trickle[i] = make(2, 1, 0);
        assert_int_equal(scheduler_add(&s, &trickle[i]), 0);
        int others = 0;
        for (struct schedulable *q; (q = scheduler_admit(&s)) != &trickle[i]; others++) {
            assert_non_null(q);
            assert_null(scheduler_admit(&s)); /* one runs: no more */
            scheduler_remove(&s, q);
        }
        assert_in_range(others, 0, 1);
        scheduler_remove(&s, &trickle[i]);
    }
    for (int i = 0; i < FLOOD; i++)
        scheduler_remove(&s, &flood[i]); /* those that ran and left before are not in */
    assert_int_equal(s.waiting, 0);
    assert_int_equal(s.running, 0);
    scheduler_fini(&s);
}

static void nobody_overtakes_who_waits_for_pages(void **state)
{
    (void)state;
    struct kvcache *kv = open_cache(10);
    struct scheduler s;
    struct schedulable running = make(1, 1, 6), large = make(2, 1, 5), small = make(3, 1, 1),
                       behind = make(2, 1, 1);
    scheduler_init(&s, &wide, kv, NULL);
    add(&s, &running);
    assert_ptr_equal(scheduler_admit(&s), &running);
    assert_int_equal(kvcache_pages_free(kv), 4);
    add(&s, &large);
    add(&s, &small);
    add(&s, &behind);
    for (int i = 0; i < 5; i++)
        assert_null(scheduler_admit(&s)); /* the small one would fit, but it is not its turn */
    assert_int_equal(kvcache_pages_free(kv), 4);
    assert_int_equal(s.waiting, 3);
    scheduler_remove(&s, &running);
    assert_ptr_equal(scheduler_admit(&s), &large);
    assert_ptr_equal(scheduler_admit(&s), &small);
    assert_ptr_equal(scheduler_admit(&s), &behind);
    assert_int_equal(kvcache_pages_free(kv), 3);
    scheduler_remove(&s, &large);
    scheduler_remove(&s, &small);
    scheduler_remove(&s, &behind);
    assert_int_equal(kvcache_pages_free(kv), 10);
    scheduler_fini(&s);
    kvcache_free(kv);
}

/* Whose turn it was is cancelled: the next one gets it. */
static void a_waiting_one_can_leave(void **state)
{
    (void)state;
    struct kvcache *kv = open_cache(4);
    struct scheduler s;
    struct schedulable a = make(1, 1, 4), b = make(2, 1, 3), c = make(2, 1, 1), d = make(3, 1, 1);
    scheduler_init(&s, &wide, kv, NULL);
    add(&s, &a);
    scheduler_admit(&s);
    add(&s, &b);
    add(&s, &c);
    add(&s, &d);
    assert_null(scheduler_admit(&s));
    scheduler_remove(&s, &b);
    assert_int_equal(s.waiting, 2);
    assert_int_equal(s.running, 1);
    scheduler_remove(&s, &a);
    assert_int_equal(kvcache_pages_free(kv), 4);
    assert_ptr_equal(scheduler_admit(&s), &c);
    assert_ptr_equal(scheduler_admit(&s), &d);
    assert_null(scheduler_admit(&s));
    scheduler_remove(&s, &c);
    scheduler_remove(&s, &d);
    assert_true(TAILQ_EMPTY(&s.admitted));
    scheduler_fini(&s);
    kvcache_free(kv);
}

/* All places are taken, and one more request comes: who gives up a place for it? */
static void places_are_given_up(void **state)
{
    (void)state;
    static const struct {
        const char *running; /* tenants, in order of admission */
        char next;
        int victim;        /* in `running`; -1: nobody */
        int weight;        /* of the next one's tenant; others have 100 */
        const char *ahead; /* tenants that were served much more */
    } cases[] = {
        {"A", 'B', -1, 100, ""},     /* one place each is nobody's too many */
        {"AA", 'B', 1, 100, ""},     /* the newest */
        {"AABB", 'C', 3, 100, "B"},  /* as many places: of who got more, or the first */
        {"ABAA", 'C', 3, 100, ""},   /* of the one with the most */
        {"ABAC", 'B', -1, 100, ""},  /* two against two after it: no gain */
        {"ABAAC", 'B', 3, 100, ""},  /* two each after it */
        {"AAAA", 'A', -1, 100, ""},  /* not of its own */
        {"AAB", 'B', -1, 100, ""},   /* after it two against one */
        {"AAAB", 'B', 2, 300, ""},   /* more weight, more places */
        {"AAB", 'B', 1, 300, ""},    /* here too */
        {"AAAAB", 'B', -1, 10, ""},  /* less weight, fewer */
        {"AAAA", 'B', 3, 1, ""},     /* but the first one always */
        {"AAAB", 'B', -1, 100, "B"}, /* not for one that got more already */
        {"AAAA", 'B', 3, 100, "A"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct scheduler s;
        struct scheduler_limits limits = wide;
        int count = (int)strlen(cases[i].running);
        limits.sequences_max = count;
        struct schedulable q[8], one = make((uint32_t)cases[i].next, 1, 0);
        scheduler_init(&s, &limits, NULL, NULL);
        for (int k = 0; k < count; k++) {
            char tenant = cases[i].running[k];
            q[k] = make((uint32_t)tenant, 1, 0);
            q[k].weight = tenant == cases[i].next ? cases[i].weight : 100;
            q[k].extra_cost = strchr(cases[i].ahead, tenant) ? 1000 : 0;
            add(&s, &q[k]);
            assert_ptr_equal(scheduler_admit(&s), &q[k]);
        }
        scheduler_plan(&s, 1000);
        one.weight = cases[i].weight;
        add(&s, &one);
        assert_null(scheduler_admit(&s));
        const struct schedulable *victim = scheduler_overserved(&s);
        int found = victim ? (int)(victim - q) : -1;
        if (found != cases[i].victim)
            fail_msg("%s/%c: %d gives up its place, expected %d", cases[i].running, cases[i].next, found,
                     cases[i].victim);
        for (int k = 0; k < count; k++)
            scheduler_remove(&s, &q[k]);
        scheduler_remove(&s, &one);
        scheduler_fini(&s);
    }
}

/* It is the next of its tenant, begins again, and pays nothing for what it computes a second time. */
static void who_was_put_back_goes_on(void **state)
{
    (void)state;
    struct kvcache *kv = open_cache(10);
    struct scheduler s;
    struct scheduler_limits limits = wide;
    limits.sequences_max = 2;
    struct schedulable a[3] = {make(1, 40, 2), make(1, 40, 2), make(1, 40, 2)}, b = make(2, 5, 1);
    scheduler_init(&s, &limits, kv, NULL);
    for (int i = 0; i < 3; i++)
        add(&s, &a[i]);
    assert_ptr_equal(scheduler_admit(&s), &a[0]);
    assert_ptr_equal(scheduler_admit(&s), &a[1]);
    assert_int_equal(scheduler_plan(&s, 100), 80);
    a[0].computed = a[1].computed = 40;
    assert_int_equal(scheduler_plan(&s, 100), 2);
    a[0].computed = a[1].computed = 41;
    add(&s, &b);
    assert_null(scheduler_admit(&s));
    assert_ptr_equal(scheduler_overserved(&s), &a[1]);
    a[1].prompt_tokens = 42; /* the second of its new tokens is not computed yet */
    scheduler_put_back(&s, &a[1]);
    assert_int_equal(a[1].computed, 0);
    assert_int_equal(kvcache_pages_free(kv), 8);
    assert_ptr_equal(scheduler_admit(&s), &b);
    assert_null(scheduler_admit(&s));
    assert_null(scheduler_overserved(&s)); /* one place each */
    scheduler_remove(&s, &b);
    assert_ptr_equal(scheduler_admit(&s), &a[1]);
    assert_int_equal(scheduler_plan(&s, 100), 1 + 42);
    assert_int_equal(a[1].planned, 42);
    assert_int_equal(a[1].paid, 42);
    a[0].computed++;
    a[1].computed = 42;
    assert_int_equal(scheduler_plan(&s, 100), 2);
    for (int i = 0; i < 3; i++)
        scheduler_remove(&s, &a[i]);
    assert_int_equal(kvcache_pages_free(kv), 10);
    scheduler_fini(&s);
    kvcache_free(kv);
}

/* ---- plans ---- */

enum { PLAN_MAX = 6 };

struct plan_case {
    const char *what;
    int step, chunk, rows, count;
    struct {
        int prompt, computed;
        bool all_logits;
        int planned; /* expected */
    } q[PLAN_MAX];
    int prefill; /* tokens of prompts beside decodes; 0: any number */
};

static const struct plan_case plans[] = {
    {"nobody", 10, 10, 100, 0, {{0}}, 0},
    {"a prompt that fits", 10, 10, 100, 1, {{7, 0, false, 7}}, 0},
    {"cut to a chunk", 100, 10, 100, 1, {{25, 0, false, 10}}, 0},
    {"its rest", 100, 10, 100, 1, {{25, 20, false, 5}}, 0},
    {"cut to the step", 8, 10, 100, 1, {{25, 0, false, 8}}, 0},
    {"a decode", 10, 10, 100, 1, {{5, 5, false, 1}}, 0},
    {"a decode far behind its prompt", 10, 10, 100, 1, {{5, 90, false, 1}}, 0},
    {"decodes come first, whatever the order of admission",
     6,
     10,
     100,
     4,
     {{20, 0, false, 3}, {5, 5, false, 1}, {5, 6, false, 1}, {5, 7, false, 1}},
     0},
    {"prompts share evenly, the rest goes by order of admission",
     10,
     6,
     100,
     3,
     {{20, 0, false, 4}, {20, 0, false, 3}, {20, 0, false, 3}},
     0},
    {"what a short prompt leaves goes to the long one",
     100,
     80,
     100,
     2,
     {{90, 0, false, 80}, {10, 0, false, 10}},
     0},
    {"beside a decode, prompts get their part only",
     100,
     100,
     100,
     3,
     {{90, 0, false, 4}, {5, 5, false, 1}, {90, 0, false, 4}},
     8},
    {"without a decode, the whole step", 100, 100, 100, 1, {{90, 0, false, 90}}, 8},
    {"a full step of decodes leaves nothing",
     3,
     6,
     100,
     4,
     {{5, 5, false, 1}, {9, 0, false, 0}, {5, 5, false, 1}, {5, 5, false, 1}},
     0},
    {"all logits: as many rows as there are", 100, 100, 20, 1, {{50, 0, true, 20}}, 0},
    {"each other sequence keeps a row",
     100,
     100,
     20,
     3,
     {{50, 0, true, 18}, {5, 5, false, 1}, {30, 0, false, 30}},
     0},
    {"two that want all share what is there", 100, 100, 20, 2, {{15, 0, true, 15}, {50, 0, true, 5}}, 0},
    {"who wants all and is late still gets one row",
     100,
     100,
     20,
     3,
     {{50, 0, true, 18}, {50, 0, true, 1}, {50, 0, true, 1}},
     0},
    {"decoding, it needs one row only", 100, 100, 20, 2, {{5, 9, true, 1}, {50, 0, true, 19}}, 0},
};

static void plans_keep_to_the_budgets(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        const struct plan_case *c = &plans[i];
        struct scheduler_limits limits = {.sequences_max = PLAN_MAX,
                                          .step_tokens = c->step,
                                          .chunk_tokens = c->chunk,
                                          .logit_rows = c->rows};
        struct scheduler s;
        struct schedulable q[PLAN_MAX];
        int sum = 0;
        scheduler_init(&s, &limits, NULL, NULL);
        for (int k = 0; k < c->count; k++) {
            q[k] = (struct schedulable){.tenant = 1,
                                        .prompt_tokens = c->q[k].prompt,
                                        .computed = c->q[k].computed,
                                        .wants_all_logits = c->q[k].all_logits};
            add(&s, &q[k]);
            scheduler_admit(&s);
            sum += c->q[k].planned;
        }
        assert_int_equal(scheduler_plan(&s, c->prefill ? c->prefill : 1000), sum);
        for (int k = 0; k < c->count; k++)
            if (q[k].planned != c->q[k].planned)
                fail_msg("%s: sequence %d gets %d tokens, expected %d", c->what, k, q[k].planned,
                         c->q[k].planned);
        for (int k = 0; k < c->count; k++)
            scheduler_remove(&s, &q[k]);
        scheduler_fini(&s);
    }
}

/* Two prompts; what tenant 1 got before; whose tenant holds how many places more. */
static void prompts_go_by_counter(void **state)
{
    (void)state;
    static const struct {
        int prompt[2], cost[2], more_places[2], planned[2];
    } cases[] = {
        {{80, 80}, {0, 10}, {0, 0}, {80, 20}},
        {{80, 80}, {10, 0}, {0, 0}, {20, 80}},
        {{80, 80}, {0, 10}, {0, 3}, {80, 17}},
        {{10, 80}, {0, 10}, {0, 3}, {10, 10}}, /* a light one's step is twice as long at most */
        {{10, 80}, {0, 10}, {3, 0}, {10, 80}},
        {{10, 80}, {10, 0}, {0, 3}, {10, 80}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct scheduler_limits limits = wide;
        limits.step_tokens = 100;
        struct scheduler s;
        struct schedulable q[8];
        int count = 0;
        scheduler_init(&s, &limits, NULL, NULL);
        for (uint32_t t = 0; t < 2; t++)
            for (int k = 0; k <= cases[i].more_places[t]; k++) {
                struct schedulable *one = &q[k == 0 ? (int)t : 2 + count++];
                *one = make(t, cases[i].prompt[t], 0);
                one->extra_cost = k == 0 ? cases[i].cost[t] : 0;
                one->computed = k == 0 ? 0 : cases[i].prompt[t]; /* the others decode */
                add(&s, one);
            }
        while (scheduler_admit(&s))
            continue;
        assert_int_equal(s.running, 2 + count);
        scheduler_plan(&s, 100);
        assert_int_equal(q[0].planned, cases[i].planned[0]);
        assert_int_equal(q[1].planned, cases[i].planned[1]);
        for (int k = 0; k < 2 + count; k++)
            scheduler_remove(&s, &q[k]);
        scheduler_fini(&s);
    }
}

/* ---- many random operations against what must always hold ---- */

enum { POOL = 60, TENANTS = 7, PAGES = 40, OPERATIONS = 30000 };

struct world {
    struct scheduler s;
    struct kvcache *kv;
    struct schedulable q[POOL];
    enum { IDLE, WAITING, RUNNING } is[POOL];
    int arrival[POOL], arrivals, put_back;
    unsigned random;
};

static int draw(struct world *w, int below)
{
    w->random = w->random * 1664525u + 1013904223u;
    return (int)((w->random >> 8) % (unsigned)below);
}

static void check_world(const struct world *w)
{
    int waiting = 0, running = 0, pages = 0, listed = 0;
    for (int i = 0; i < POOL; i++) {
        waiting += w->is[i] == WAITING;
        running += w->is[i] == RUNNING;
        pages += w->q[i].kv.page_count;
        int reserved = (w->q[i].reserve_tokens + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
        assert_int_equal(w->q[i].kv.page_count, w->is[i] == RUNNING ? reserved : 0);
        assert_int_equal(w->q[i].running, w->is[i] == RUNNING);
    }
    assert_int_equal(w->s.waiting, waiting);
    assert_int_equal(w->s.running, running);
    assert_in_range(running, 0, w->s.limits.sequences_max);
    assert_int_equal(kvcache_pages_free(w->kv), PAGES - pages);
    const struct schedulable *q;
    TAILQ_FOREACH(q, &w->s.admitted, link) {
        assert_true(q->running);
        listed++;
    }
    assert_int_equal(listed, running);
}

static void check_plan(struct world *w)
{
    int planned = scheduler_plan(&w->s, 1000000), sum = 0, rows = 0;
    struct schedulable *q;
    TAILQ_FOREACH(q, &w->s.admitted, link) {
        bool decodes = q->computed >= q->prompt_tokens;
        assert_in_range(q->planned, decodes ? 1 : 0, decodes ? 1 : q->prompt_tokens - q->computed);
        assert_in_range(q->planned, 0, w->s.limits.chunk_tokens);
        bool last = q->computed + q->planned >= q->prompt_tokens;
        rows += q->wants_all_logits && !decodes ? q->planned : q->planned > 0 && last ? 1 : 0;
        sum += q->planned;
    }
    assert_int_equal(planned, sum);
    assert_in_range(sum, w->s.running > 0 ? 1 : 0, w->s.limits.step_tokens);
    assert_in_range(rows, 0, w->s.limits.logit_rows);
    TAILQ_FOREACH(q, &w->s.admitted, link)
        q->computed += q->planned;
}

static void arrive(struct world *w, int i)
{
    int prompt = 1 + draw(w, 200);
    w->q[i] = (struct schedulable){.tenant = (uint32_t)draw(w, TENANTS),
                                   .prompt_tokens = prompt,
                                   .weight = 1 + draw(w, 300),
                                   .extra_cost = draw(w, 3) * 50,
                                   .reserve_tokens = draw(w, 5) ? prompt + draw(w, 400) : 0,
                                   .wants_all_logits = draw(w, 4) == 0};
    w->is[i] = WAITING;
    w->arrival[i] = w->arrivals++;
    assert_int_equal(scheduler_add(&w->s, &w->q[i]), 0);
}

static void give_up_a_place(struct world *w)
{
    struct schedulable *q = scheduler_overserved(&w->s);
    if (!q)
        return;
    int i = (int)(q - w->q);
    assert_int_equal(w->is[i], RUNNING);
    if (q->computed > q->prompt_tokens)
        q->prompt_tokens = q->computed;
    scheduler_put_back(&w->s, q);
    w->is[i] = WAITING;
    w->put_back++;
}

static void admit(struct world *w)
{
    struct schedulable *q = scheduler_admit(&w->s);
    if (!q) {
        give_up_a_place(w);
        return;
    }
    int i = (int)(q - w->q);
    assert_int_equal(w->is[i], WAITING);
    w->is[i] = RUNNING;
    for (int k = 0; k < POOL; k++) /* the oldest of its tenant */
        assert_false(w->is[k] == WAITING && w->q[k].tenant == q->tenant && w->arrival[k] < w->arrival[i]);
}

static void random_operations_keep_the_books(void **state)
{
    (void)state;
    static struct world w;
    struct scheduler_limits limits = {
        .sequences_max = 9, .step_tokens = 40, .chunk_tokens = 17, .logit_rows = 21};
    w = (struct world){.kv = open_cache(PAGES), .random = 5};
    scheduler_init(&w.s, &limits, w.kv, NULL);
    for (int n = 0; n < OPERATIONS; n++) {
        int i = draw(&w, POOL), what = draw(&w, 10);
        if (what < 4 && w.is[i] == IDLE) {
            arrive(&w, i);
        } else if (what < 6 && w.is[i] != IDLE && (w.is[i] == RUNNING || draw(&w, 3) == 0)) {
            scheduler_remove(&w.s, &w.q[i]);
            w.is[i] = IDLE;
        } else if (what < 9) {
            admit(&w);
        } else {
            check_plan(&w);
        }
        check_world(&w);
    }
    for (int i = 0; i < POOL; i++)
        if (w.is[i] != IDLE)
            scheduler_remove(&w.s, &w.q[i]);
    assert_int_equal(kvcache_pages_free(w.kv), PAGES);
    assert_true(w.put_back > 50);
    assert_int_equal(w.s.waiting, 0);
    scheduler_fini(&w.s);
    kvcache_free(w.kv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tenants_take_turns),
        cmocka_unit_test(a_flood_does_not_hold_up_a_trickle),
        cmocka_unit_test(nobody_overtakes_who_waits_for_pages),
        cmocka_unit_test(a_waiting_one_can_leave),
        cmocka_unit_test(places_are_given_up),
        cmocka_unit_test(who_was_put_back_goes_on),
        cmocka_unit_test(plans_keep_to_the_budgets),
        cmocka_unit_test(prompts_go_by_counter),
        cmocka_unit_test(random_operations_keep_the_books),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

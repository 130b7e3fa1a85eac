/* From logits to tokens: greedy choice, and sampled ones against probabilities computed here in double. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/engine/sampler.h"

enum { VOCAB = 12, DRAWS = 40000 };

static const float logits[VOCAB] = {0.5f, -1, 2.5f, 2.5f, -8, 1, 3, 0, -0.5f, 1.5f, 2, -2};

static struct sampling sampled(float temperature, int top_k, float top_p, float min_p)
{
    return (struct sampling){
        .temperature = temperature, .top_k = top_k, .top_p = top_p, .min_p = min_p, .seed = 7};
}

static int32_t next_of(const struct sampling *how, const float *of, int vocab)
{
    struct sampler s;
    struct err e;
    assert_int_equal(sampler_init(&s, how, vocab, &e), 0);
    int32_t token = sampler_next(&s, how, of, vocab);
    sampler_fini(&s);
    return token;
}

/* ---- greedy ---- */

static void greedy_takes_the_largest(void **state)
{
    (void)state;
    static const struct {
        float of[5];
        int32_t token;
    } cases[] = {
        {{1, 2, 3, 4, 5}, 4},
        {{5, 4, 3, 2, 1}, 0},
        {{1, 7, 7, 7, 1}, 1}, /* ties go to the lowest id */
        {{0, 0, 0, 0, 0}, 0},
        {{-0.0f, 0, 0, 0, 0}, 0},
        {{-3, -2, -2, -9, -4}, 1},
        {{-INFINITY, -INFINITY, -1, -INFINITY, -1}, 2},
        {{1, INFINITY, 2, INFINITY, 3}, 1},
    };
    struct sampling how = {.top_p = 0.5f, .top_k = 2, .min_p = 0.1f}; /* filters change nothing */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(next_of(&how, cases[i].of, 5), cases[i].token);
    assert_int_equal(next_of(&how, cases[0].of, 1), 0);
}

/* ---- seeds ---- */

static void draw_many(uint64_t seed, int32_t *out, int count)
{
    struct sampling how = sampled(1, 0, 1, 0);
    struct sampler s;
    struct err e;
    how.seed = seed;
    assert_int_equal(sampler_init(&s, &how, VOCAB, &e), 0);
    for (int i = 0; i < count; i++)
        out[i] = sampler_next(&s, &how, logits, VOCAB);
    sampler_fini(&s);
}

static void the_seed_decides(void **state)
{
    (void)state;
    int32_t first[64], again[64], other[64];
    for (uint64_t seed = 0; seed < 20; seed++) {
        draw_many(seed, first, 64);
        draw_many(seed, again, 64);
        assert_memory_equal(first, again, sizeof first);
        draw_many(seed + 1, other, 64); /* seeds next to each other have nothing in common */
        assert_memory_not_equal(first, other, sizeof first);
        assert_memory_not_equal(first + 1, other, sizeof first - sizeof *first);
    }
    draw_many(UINT64_MAX, first, 64);
    draw_many(0, other, 64);
    assert_memory_not_equal(first, other, sizeof first);
}

/* ---- distributions ---- */

/* Probabilities by the book: temperature, top_k, top_p, min_p, each over what the one before left. */
static void expect(const struct sampling *how, double p[VOCAB])
{
    int order[VOCAB], kept = VOCAB;
    double top = -INFINITY, sum = 0;
    for (int i = 0; i < VOCAB; i++)
        top = fmax(top, (double)logits[i]);
    for (int i = 0; i < VOCAB; i++) {
        p[i] = exp(((double)logits[i] - top) / (double)how->temperature);
        int at = i;
        for (; at > 0 && p[order[at - 1]] < p[i]; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    if (how->top_k > 0 && how->top_k < kept)
        kept = how->top_k;
    for (int i = 0; i < kept; i++)
        sum += p[order[i]];
    double before = 0;
    for (int i = 0; i < kept; before += p[order[i]], i++)
        if (i > 0 && before >= (double)how->top_p * sum)
            kept = i;
    while (kept > 1 && p[order[kept - 1]] < (double)how->min_p * p[order[0]])
        kept--;
    sum = 0;
    for (int i = 0; i < kept; i++)
        sum += p[order[i]];
    for (int i = 0; i < VOCAB; i++)
        p[order[i]] = i < kept ? p[order[i]] / sum : 0;
}

static const struct {
    float temperature, top_p, min_p;
    int top_k, support; /* tokens that can come */
} distributions[] = {
    {1, 1, 0, 0, VOCAB},
    {0.5f, 1, 0, 0, VOCAB},
    {2, 1, 0, 0, VOCAB},
    {100, 1, 0, 0, VOCAB},
    {1, 1, 0, 1, 1},
    {1, 1, 0, 3, 3},
    {1, 1, 0, 2, 2}, /* a tie: the lower id stays */
    {1, 1, 0, 5, 5},
    {1, 1, 0, VOCAB, VOCAB},
    {1, 1, 0, 1000, VOCAB},
    {1, 0.5f, 0, 0, 2},
    {1, 0.9f, 0, 0, 6},
    {1, 1e-06f, 0, 0, 1}, /* at least one */
    {1, 0.999999f, 0, 0, VOCAB},
    {1, 1, 0.5f, 0, 3},
    {1, 1, 0.05f, 0, 7},
    {1, 1, 1, 0, 1},
    {1, 0.6f, 0, 4, 2},
    {1, 0.99f, 0.1f, 6, 6},
    {2, 0.8f, 0.3f, 9, 6},
    {0.7f, 0.95f, 0.02f, 8, 5},
};

/* Which tokens stay, and how often each comes: chi square far beyond what chance gives. */
static void draws_follow_the_probabilities(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof distributions / sizeof *distributions; i++) {
        struct sampling how = sampled(distributions[i].temperature, distributions[i].top_k,
                                      distributions[i].top_p, distributions[i].min_p);
        double p[VOCAB], chi = 0;
        int count[VOCAB] = {0}, support = 0;
        struct sampler s;
        struct err e;
        expect(&how, p);
        assert_int_equal(sampler_init(&s, &how, VOCAB, &e), 0);
        for (int k = 0; k < DRAWS; k++) {
            int32_t token = sampler_next(&s, &how, logits, VOCAB);
            assert_in_range(token, 0, VOCAB - 1);
            count[token]++;
        }
        sampler_fini(&s);
        for (int k = 0; k < VOCAB; k++) {
            double wanted = p[k] * DRAWS;
            support += p[k] > 0;
            if (p[k] == 0 && count[k] > 0)
                fail_msg("case %zu: token %d came %d times and was filtered out", i, k, count[k]);
            if (wanted > 5)
                chi += (count[k] - wanted) * (count[k] - wanted) / wanted;
        }
        assert_int_equal(support, distributions[i].support);
        if (chi > support + 6 * sqrt(2.0 * support) + 5)
            fail_msg("case %zu: chi square %g with %d tokens", i, chi, support);
    }
}

/* A vocabulary of real size: the filters find the same set as sorting would. */
static void filters_hold_on_a_large_vocabulary(void **state)
{
    (void)state;
    enum { LARGE = 30011 };
    float *of = malloc(LARGE * sizeof *of);
    for (int i = 0; i < LARGE; i++) /* values 0 .. -30010 thousandths of 5, each once */
        of[i] = -(float)((i * 7919) % LARGE) * 0.005f;
    for (int top_k = 1; top_k < 2000; top_k = top_k * 3 + 1) {
        struct sampling how = sampled(1000, top_k, 1, 0); /* nearly flat */
        struct sampler s;
        struct err e;
        assert_int_equal(sampler_init(&s, &how, LARGE, &e), 0);
        int worst = 0;
        for (int k = 0; k < 300; k++) {
            int32_t token = sampler_next(&s, &how, of, LARGE);
            int rank = (int)(((long)token * 7919) % LARGE);
            assert_in_range(rank, 0, top_k - 1);
            worst = rank > worst ? rank : worst;
        }
        assert_true(worst >= top_k / 2); /* and not only the first few */
        sampler_fini(&s);
    }
    free(of);
}

/* ---- log-probabilities ---- */

static double log_softmax(const float *of, int vocab, int token)
{
    double top = -INFINITY, sum = 0;
    for (int i = 0; i < vocab; i++)
        top = fmax(top, (double)of[i]);
    for (int i = 0; i < vocab; i++)
        sum += exp((double)of[i] - top);
    return (double)of[token] - top - log(sum);
}

static void logprobs_are_log_softmax(void **state)
{
    (void)state;
    static const int32_t order[VOCAB] = {6, 2, 3, 10, 9, 5, 0, 7, 8, 1, 11, 4}; /* 2 and 3 are equal */
    for (int wanted = 0; wanted <= ENGINE_LOGPROBS_MAX + 5; wanted++)
        for (int32_t token = 0; token < VOCAB; token++) {
            struct sampling how = {.temperature = 0.3f, .top_k = 1, .logprobs = wanted}; /* of no effect */
            struct engine_token t = {.token = token};
            sampler_logprobs(&how, logits, VOCAB, &t);
            assert_float_equal(t.logprob, log_softmax(logits, VOCAB, token), 1e-6);
            assert_float_equal(engine_logprob_of(logits, VOCAB, token), t.logprob, 0);
            assert_int_equal(t.top_count, wanted < VOCAB ? wanted : VOCAB);
            for (int i = 0; i < t.top_count; i++) {
                assert_int_equal(t.top[i].token, order[i]);
                assert_float_equal(t.top[i].logprob, log_softmax(logits, VOCAB, order[i]), 1e-6);
            }
        }
    float wide[100]; /* more tokens than the list may hold, whatever was asked for */
    for (int i = 0; i < 100; i++)
        wide[i] = (float)i;
    struct sampling how = {.logprobs = 50};
    struct {
        struct engine_token t;
        uint32_t guard[64];
    } out = {.t = {.token = 3}};
    sampler_logprobs(&how, wide, 100, &out.t);
    assert_int_equal(out.t.top_count, ENGINE_LOGPROBS_MAX);
    assert_int_equal(out.t.top[0].token, 99);
    assert_int_equal(out.t.top[ENGINE_LOGPROBS_MAX - 1].token, 100 - ENGINE_LOGPROBS_MAX);
    for (int i = 0; i < 64; i++)
        assert_int_equal(out.guard[i], 0);
}

static void logprobs_do_not_overflow(void **state)
{
    (void)state;
    static const float large[3] = {3e38f, -3e38f, 3e38f};
    assert_float_equal(engine_logprob_of(large, 3, 0), log(0.5), 1e-6);
    assert_true(engine_logprob_of(large, 3, 1) < -1e38f);
    static const float masked[3] = {-INFINITY, 1, -INFINITY};
    assert_float_equal(engine_logprob_of(masked, 3, 1), 0, 1e-7);
    assert_true(engine_logprob_of(masked, 3, 0) == -INFINITY);
}

/* ---- what no model should give ---- */

static void broken_logits_give_some_token(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 0};
    enum { KINDS = sizeof bad / sizeof *bad };
    for (int kinds = 0; kinds < KINDS * KINDS * KINDS; kinds++)
        for (size_t d = 0; d < sizeof distributions / sizeof *distributions; d++) {
            float of[VOCAB];
            for (int i = 0; i < VOCAB; i++)
                of[i] = i % 3 == 0   ? bad[kinds % KINDS]
                        : i % 3 == 1 ? bad[kinds / KINDS % KINDS]
                                     : bad[kinds / KINDS / KINDS];
            struct sampling how = sampled(distributions[d].temperature, distributions[d].top_k,
                                          distributions[d].top_p, distributions[d].min_p);
            how.logprobs = 5;
            struct engine_token t = {.token = next_of(&how, of, VOCAB)};
            assert_in_range(t.token, 0, VOCAB - 1);
            sampler_logprobs(&how, of, VOCAB, &t);
            assert_int_equal(t.top_count, 5);
            how.temperature = 0;
            assert_in_range(next_of(&how, of, VOCAB), 0, VOCAB - 1);
        }
}

/* A masked token never comes, however hot. */
static void what_is_impossible_never_comes(void **state)
{
    (void)state;
    float of[VOCAB];
    for (int i = 0; i < VOCAB; i++)
        of[i] = i % 2 ? -INFINITY : 0;
    for (size_t d = 0; d < sizeof distributions / sizeof *distributions; d++) {
        struct sampling how = sampled(distributions[d].temperature, distributions[d].top_k,
                                      distributions[d].top_p, distributions[d].min_p);
        for (how.seed = 0; how.seed < 200; how.seed++)
            assert_int_equal(next_of(&how, of, VOCAB) % 2, 0);
    }
}

/* Filters that nothing passes leave the likeliest. */
static void one_always_stays(void **state)
{
    (void)state;
    static const struct {
        float top_p, min_p;
        int top_k;
    } cases[] = {{0, 0, 0}, {-1, 0, 0}, {0, 0, 5}, {1, 2, 0}, {1, 2, 5}, {0, 2, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sampling how = sampled(1, cases[i].top_k, cases[i].top_p, cases[i].min_p);
        for (how.seed = 0; how.seed < 20; how.seed++)
            assert_int_equal(next_of(&how, logits, VOCAB), 6);
    }
}

static void extreme_temperatures(void **state)
{
    (void)state;
    static const float temperatures[] = {1e-45f, 1e-30f, 1e-6f};
    for (size_t i = 0; i < sizeof temperatures / sizeof *temperatures; i++)
        for (uint64_t seed = 0; seed < 50; seed++) {
            struct sampling how = sampled(temperatures[i], 0, 1, 0);
            how.seed = seed;
            assert_int_equal(next_of(&how, logits, VOCAB), 6);
        }
    int seen[VOCAB] = {0};
    struct sampling how = sampled(3e38f, 0, 1, 0); /* flat */
    for (how.seed = 0; how.seed < 1200; how.seed++)
        seen[next_of(&how, logits, VOCAB)]++;
    for (int i = 0; i < VOCAB; i++)
        assert_in_range(seen[i], 50, 150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_takes_the_largest),
        cmocka_unit_test(the_seed_decides),
        cmocka_unit_test(draws_follow_the_probabilities),
        cmocka_unit_test(filters_hold_on_a_large_vocabulary),
        cmocka_unit_test(logprobs_are_log_softmax),
        cmocka_unit_test(logprobs_do_not_overflow),
        cmocka_unit_test(broken_logits_give_some_token),
        cmocka_unit_test(what_is_impossible_never_comes),
        cmocka_unit_test(one_always_stays),
        cmocka_unit_test(extreme_temperatures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

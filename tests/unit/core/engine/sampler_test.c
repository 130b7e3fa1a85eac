/* From logits to tokens: greedy choice, and sampled ones against probabilities computed here in double. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/engine/logprobs.h"
#include "core/engine/sampler.h"

enum { VOCAB = 12, DRAWS = 40000 };

static const float logits[VOCAB] = {0.5f, -1, 2.5f, 2.5f, -8, 1, 3, 0, -0.5f, 1.5f, 2, -2};

static struct sampling sampled(float temperature, int top_k, float top_p, float min_p)
{
    return (struct sampling){
        .temperature = temperature, .top_k = top_k, .top_p = top_p, .min_p = min_p, .seed = 7};
}

static const struct processors_history nothing;

static struct sampler_scratch scratch_of(int vocab)
{
    struct sampler_scratch w;
    struct err e;
    assert_int_equal(sampler_scratch_init(&w, vocab, &e), 0);
    return w;
}

static int32_t next_after(const struct sampling *how, const struct processors_history *h, const float *of,
                          int vocab)
{
    struct sampler s = {.state = how->seed};
    struct sampler_scratch w = scratch_of(vocab);
    int32_t token = sampler_next(&s, &w, how, h, of);
    sampler_scratch_fini(&w);
    return token;
}

static int32_t next_of(const struct sampling *how, const float *of, int vocab)
{
    return next_after(how, &nothing, of, vocab);
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
    struct sampler s = {.state = seed};
    struct sampler_scratch w = scratch_of(VOCAB);
    for (int i = 0; i < count; i++)
        out[i] = sampler_next(&s, &w, &how, &nothing, logits);
    sampler_scratch_fini(&w);
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
        struct sampler s = {.state = how.seed};
        struct sampler_scratch w = scratch_of(VOCAB);
        expect(&how, p);
        for (int k = 0; k < DRAWS; k++) {
            int32_t token = sampler_next(&s, &w, &how, &nothing, logits);
            assert_in_range(token, 0, VOCAB - 1);
            count[token]++;
        }
        sampler_scratch_fini(&w);
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
        struct sampler s = {.state = how.seed};
        struct sampler_scratch w = scratch_of(LARGE);
        int worst = 0;
        for (int k = 0; k < 300; k++) {
            int32_t token = sampler_next(&s, &w, &how, &nothing, of);
            int rank = (int)(((long)token * 7919) % LARGE);
            assert_in_range(rank, 0, top_k - 1);
            worst = rank > worst ? rank : worst;
        }
        assert_true(worst >= top_k / 2); /* and not only the first few */
        sampler_scratch_fini(&w);
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
    for (int wanted = 0; wanted <= SAMPLING_LOGPROBS_MAX + 5; wanted++)
        for (int32_t token = 0; token < VOCAB; token++) {
            struct engine_token t = {.token = token};
            logprobs_fill(logits, VOCAB, wanted, &t);
            assert_float_equal(t.logprob, log_softmax(logits, VOCAB, token), 1e-6);
            assert_float_equal(logprobs_of(logits, VOCAB, token), t.logprob, 0);
            assert_int_equal(t.top_count, wanted < VOCAB ? wanted : VOCAB);
            for (int i = 0; i < t.top_count; i++) {
                assert_int_equal(t.top[i].token, order[i]);
                assert_float_equal(t.top[i].logprob, log_softmax(logits, VOCAB, order[i]), 1e-6);
            }
        }
    float wide[100]; /* more tokens than the list may hold, whatever was asked for */
    for (int i = 0; i < 100; i++)
        wide[i] = (float)i;
    struct {
        struct engine_token t;
        uint32_t guard[64];
    } out = {.t = {.token = 3}};
    logprobs_fill(wide, 100, 50, &out.t);
    assert_int_equal(out.t.top_count, SAMPLING_LOGPROBS_MAX);
    assert_int_equal(out.t.top[0].token, 99);
    assert_int_equal(out.t.top[SAMPLING_LOGPROBS_MAX - 1].token, 100 - SAMPLING_LOGPROBS_MAX);
    for (int i = 0; i < 64; i++)
        assert_int_equal(out.guard[i], 0);
}

static void logprobs_do_not_overflow(void **state)
{
    (void)state;
    static const float large[3] = {3e38f, -3e38f, 3e38f};
    assert_float_equal(logprobs_of(large, 3, 0), log(0.5), 1e-6);
    assert_true(logprobs_of(large, 3, 1) < -1e38f);
    static const float masked[3] = {-INFINITY, 1, -INFINITY};
    assert_float_equal(logprobs_of(masked, 3, 1), 0, 1e-7);
    assert_true(logprobs_of(masked, 3, 0) == -INFINITY);
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
            struct engine_token t = {.token = next_of(&how, of, VOCAB)};
            assert_in_range(t.token, 0, VOCAB - 1);
            logprobs_fill(of, VOCAB, 5, &t);
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

/* ---- what a request changes in the logits ---- */

/* A prompt of 6 and 2, an answer of 6, 6 and 3. */
static const int32_t said[] = {6, 2, 6, 6, 3};
static const int32_t ends[] = {6, 10};
static const struct processors_history history = {
    .tokens = said, .prompt = 2, .answered = 3, .ends = ends, .end_count = 2};

static void change(const struct sampling *how, const struct processors_history *h, float out[VOCAB])
{
    uint32_t counts[VOCAB] = {0};
    static const uint32_t zeros[VOCAB];
    memcpy(out, logits, sizeof logits);
    processors_apply(how, h, out, counts, VOCAB);
    assert_memory_equal(counts, zeros, sizeof counts);
}

/* By the formulas, token by token: of 2, 3 and 6, which were said 0, 1 and 2 times in the answer. */
static void penalties_are_those_of_the_formulas(void **state)
{
    (void)state;
    static const struct {
        float repetition, frequency, presence;
    } cases[] = {{1, 0, 0},     {0, 0, 0},    {1.3f, 0, 0}, {0.5f, 0, 0},        {1, 0.7f, 0},
                 {1, -0.7f, 0}, {1, 0, 1.1f}, {1, 0, -2},   {1.2f, 0.5f, 0.25f}, {3, -1, -0.5f}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sampling how = {.repetition_penalty = cases[i].repetition,
                               .frequency_penalty = cases[i].frequency,
                               .presence_penalty = cases[i].presence};
        float found[VOCAB];
        change(&how, &history, found);
        for (int t = 0; t < VOCAB; t++) {
            int in_answer = t == 6 ? 2 : t == 3, anywhere = t == 2 || in_answer;
            float wanted = logits[t], penalty = cases[i].repetition > 0 ? cases[i].repetition : 1;
            if (anywhere)
                wanted = wanted < 0 ? wanted * penalty : wanted / penalty;
            wanted -= cases[i].frequency * (float)in_answer;
            wanted -= cases[i].presence * (float)(in_answer > 0);
            assert_float_equal(found[t], wanted, 1e-6);
        }
        assert_int_equal(processors_wanted(&how, &history), i >= 2);
    }
}

/* What is unlikely becomes less likely, too. */
static void repetition_works_on_both_sides_of_zero(void **state)
{
    (void)state;
    static const int32_t all[VOCAB] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    const struct processors_history h = {.tokens = all, .prompt = VOCAB};
    struct sampling how = {.repetition_penalty = 1.5f};
    float found[VOCAB];
    change(&how, &h, found);
    for (int t = 0; t < VOCAB; t++)
        assert_true(logits[t] == 0 ? found[t] == 0 : found[t] < logits[t]);
}

static void biases_come_after_penalties(void **state)
{
    (void)state;
    static const struct sampling_bias biases[] = {{6, -4}, {0, 100}, {4, -100}, {VOCAB, 5}, {-1, 5}};
    struct sampling how = {.biases = biases, .bias_count = 5, .repetition_penalty = 2};
    float found[VOCAB];
    change(&how, &history, found);
    assert_float_equal(found[6], 3.0 / 2 - 4, 1e-6);
    assert_float_equal(found[0], 100.5, 1e-6);
    assert_float_equal(found[4], -108, 1e-6);
    assert_float_equal(found[1], -1, 0);
    how = (struct sampling){.biases = biases, .bias_count = 2};
    assert_int_equal(next_after(&how, &history, logits, VOCAB), 0);
}

static void ends_wait_for_the_shortest_answer(void **state)
{
    (void)state;
    struct sampling how = {.min_tokens = 4};
    float found[VOCAB];
    for (int answered = 0; answered < 8; answered++) {
        static const int32_t tokens[16];
        struct processors_history h = history;
        h.tokens = tokens;
        h.answered = answered;
        change(&how, &h, found);
        for (int t = 0; t < VOCAB; t++)
            assert_true((t == 6 || t == 10) && answered < 4 ? found[t] == -INFINITY : found[t] == logits[t]);
    }
}

static void a_constraint_bars_the_others(void **state)
{
    (void)state;
    static const struct sampling_bias biases[] = {{4, 100}, {6, 100}};
    struct sampling how = {.biases = biases, .bias_count = 2};
    for (uint64_t allowed = 1; allowed < 1 << VOCAB; allowed += 37) {
        struct processors_history h = history;
        float found[VOCAB];
        h.allowed = &allowed;
        assert_true(processors_wanted(&(struct sampling){0}, &h));
        change(&how, &h, found);
        for (int t = 0; t < VOCAB; t++)
            assert_true((allowed >> t & 1) ? found[t] >= logits[t] : found[t] == -INFINITY);
        how.temperature = (float)(allowed % 3);
        how.top_p = 1;
        assert_true(allowed >> next_after(&how, &h, logits, VOCAB) & 1);
    }
}

/* Ids that the model does not have stand in prompts of tests only, and hurt nobody. */
static void ids_beyond_the_vocabulary_are_skipped(void **state)
{
    (void)state;
    static const int32_t odd[] = {VOCAB, -1, INT32_MAX, 3, VOCAB};
    const struct processors_history h = {
        .tokens = odd, .prompt = 2, .answered = 3, .ends = odd, .end_count = 3};
    struct sampling how = {
        .repetition_penalty = 2, .frequency_penalty = 1, .presence_penalty = 1, .min_tokens = 100};
    float found[VOCAB];
    change(&how, &h, found);
    assert_float_equal(found[3], 2.5 / 2 - 2, 1e-6);
    assert_float_equal(found[6], logits[6], 0);
}

/* The choice is made from what was changed; the logits themselves stay. */
static void the_choice_follows_the_processors(void **state)
{
    (void)state;
    static const struct sampling_bias ban[] = {{6, -INFINITY}};
    float before[VOCAB];
    memcpy(before, logits, sizeof before);
    for (size_t d = 0; d < sizeof distributions / sizeof *distributions; d++) {
        struct sampling how = sampled(distributions[d].temperature, distributions[d].top_k,
                                      distributions[d].top_p, distributions[d].min_p);
        how.biases = ban;
        how.bias_count = 1;
        for (how.seed = 0; how.seed < 200; how.seed++)
            assert_int_not_equal(next_after(&how, &history, logits, VOCAB), 6);
        how.temperature = 0;
        assert_int_equal(next_after(&how, &history, logits, VOCAB), 2);
    }
    assert_memory_equal(before, logits, sizeof before);
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
        cmocka_unit_test(penalties_are_those_of_the_formulas),
        cmocka_unit_test(repetition_works_on_both_sides_of_zero),
        cmocka_unit_test(biases_come_after_penalties),
        cmocka_unit_test(ends_wait_for_the_shortest_answer),
        cmocka_unit_test(a_constraint_bars_the_others),
        cmocka_unit_test(ids_beyond_the_vocabulary_are_skipped),
        cmocka_unit_test(the_choice_follows_the_processors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

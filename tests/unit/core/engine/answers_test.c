/* Several answers to one prompt, and what may be asked of the choice of tokens, through the engine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/engine/constraint.h"
#include "tests/golden/fixture.h"

enum { PROMPT = 75, TOKENS = 24, EOS = 2, ANSWERS = 8 };

static struct model *llama;
static int32_t prompt[PROMPT];
static const uint8_t root[SHA256_BYTES] = {1};
static const struct engine_options ordinary = {
    .threads = 2, .kv_bytes = (size_t)64 << 20, .sequences_max = 8, .queue_max = 100, .queue_tenant_max = 50};

struct answer {
    int32_t tokens[TOKENS];
    float logprobs[TOKENS];
    int count;
    struct engine_done done;
    atomic_bool finished;
};

static bool on_token(void *arg, const struct engine_token *t)
{
    struct answer *a = arg;
    a->tokens[a->count] = t->token;
    a->logprobs[a->count++] = t->logprob;
    return true;
}

static void on_done(void *arg, const struct engine_done *d)
{
    struct answer *a = arg;
    a->done = *d;
    assert_false(atomic_exchange(&a->finished, true));
}

static struct engine_request request_for(struct answer *a, uint64_t seed)
{
    *a = (struct answer){0};
    return (struct engine_request){.tenant = 1,
                                   .tokens = prompt,
                                   .token_count = PROMPT,
                                   .cache_root = root,
                                   .sampling = {.temperature = 1,
                                                .top_p = 1,
                                                .seed = seed,
                                                .max_tokens = TOKENS,
                                                .ignore_eos = true,
                                                .logprobs = 0},
                                   .on_token = on_token,
                                   .on_done = on_done,
                                   .arg = a};
}

static void wait_for(struct answer *a)
{
    for (int i = 0; !atomic_load(&a->finished); i++) {
        assert_in_range(i, 0, 60000);
        usleep(1000);
    }
}

static void run(struct engine *g, const struct engine_request *r)
{
    uint64_t id;
    struct err e;
    assert_int_equal(engine_submit(g, r, &id, &e), 0);
    wait_for(r->arg);
}

static void assert_same(const struct answer *a, const struct answer *b)
{
    assert_int_equal(a->done.finish, b->done.finish);
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->tokens, b->tokens, (size_t)a->count * sizeof *a->tokens);
    assert_memory_equal(a->logprobs, b->logprobs, (size_t)a->count * sizeof *a->logprobs);
}

static struct engine *open_engine(const struct engine_options *o)
{
    struct engine *g = NULL;
    struct err e;
    assert_int_equal(engine_new(&g, llama, o, &e), 0);
    return g;
}

static void assert_idle(struct engine *g)
{
    struct engine_stats s;
    engine_stats(g, &s);
    assert_int_equal(s.running + s.waiting, 0);
    assert_int_equal(s.kv_pages, s.kv_pages_free + s.kv_pages_cached);
}

/* ---- several answers to one prompt ---- */

static struct answer alone[ANSWERS], together[ANSWERS];

static void make_family(struct engine_request *r)
{
    for (int i = 0; i < ANSWERS; i++) {
        r[i] = request_for(&together[i], (uint64_t)i);
        r[i].follows = i > 0;
    }
}

static void run_alone(void)
{
    for (int i = 0; i < ANSWERS; i++) {
        struct engine *g = open_engine(&ordinary);
        struct engine_request r = request_for(&alone[i], (uint64_t)i);
        run(g, &r);
        engine_free(g);
    }
}

static void answers_are_those_of_requests_of_their_own(void **state)
{
    (void)state;
    struct engine_request r[ANSWERS];
    struct engine_stats s;
    uint64_t ids[ANSWERS];
    struct err e;
    struct engine *g = open_engine(&ordinary);
    make_family(r);
    assert_int_equal(engine_submit_all(g, r, ANSWERS, ids, &e), 0);
    for (int i = 0; i < ANSWERS; i++) {
        wait_for(&together[i]);
        assert_same(&together[i], &alone[i]);
        for (int k = 0; k < i; k++)
            assert_int_not_equal(ids[k], ids[i]);
    }
    /* One prefill: the others compute what stands behind the last full page. */
    engine_stats(g, &s);
    assert_int_equal(s.tokens_prefill, PROMPT + (ANSWERS - 1) * (PROMPT % KV_PAGE_TOKENS));
    assert_idle(g);
    engine_free(g);
}

/* Whoever computes the prompt may leave at any time: another of them does it then. */
static void a_cancelled_answer_takes_no_other_with_it(void **state)
{
    (void)state;
    struct engine_request r[ANSWERS];
    uint64_t ids[ANSWERS];
    struct err e;
    for (int which = 0; which < 3 * ANSWERS; which++) {
        struct engine *g = open_engine(&ordinary);
        make_family(r);
        assert_int_equal(engine_submit_all(g, r, ANSWERS, ids, &e), 0);
        usleep((useconds_t)(which * 150));
        for (int i = 0; i <= which % ANSWERS; i += 2)
            engine_cancel(g, ids[i]);
        for (int i = 0; i < ANSWERS; i++) {
            wait_for(&together[i]);
            if (together[i].done.finish != ENGINE_CANCELLED)
                assert_same(&together[i], &alone[i]);
            else
                assert_int_equal(i % 2, 0);
        }
        assert_idle(g);
        engine_free(g);
    }
}

static void the_end_of_the_engine_is_theirs(void **state)
{
    (void)state;
    struct engine_request r[ANSWERS];
    uint64_t ids[ANSWERS];
    struct err e;
    for (int round = 0; round < 10; round++) {
        struct engine *g = open_engine(&ordinary);
        make_family(r);
        assert_int_equal(engine_submit_all(g, r, ANSWERS, ids, &e), 0);
        usleep((useconds_t)(round * 400));
        engine_free(g);
        for (int i = 0; i < ANSWERS; i++)
            assert_true(atomic_load(&together[i].finished));
    }
}

static void all_are_taken_or_none(void **state)
{
    (void)state;
    static const struct {
        int queue, tenant;
        const char *code;
    } cases[] = {{ANSWERS - 1, 50, "queue_full"}, {50, ANSWERS - 1, "tenant_queue_full"}};
    struct engine_request r[ANSWERS];
    uint64_t ids[ANSWERS];
    struct err e;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct engine_options o = ordinary;
        o.queue_max = cases[i].queue;
        o.queue_tenant_max = cases[i].tenant;
        struct engine *g = open_engine(&o);
        make_family(r);
        assert_int_equal(engine_submit_all(g, r, ANSWERS, ids, &e), -1);
        assert_string_equal(e.code, cases[i].code);
        make_family(r);
        r[ANSWERS - 1].token_count = 0;
        assert_int_equal(engine_submit_all(g, r, ANSWERS, ids, &e), -1);
        assert_string_equal(e.code, "prompt_empty");
        for (int k = 0; k < ANSWERS; k++)
            assert_false(atomic_load(&together[k].finished));
        assert_int_equal(engine_submit_all(g, r, ANSWERS - 1, ids, &e), 0);
        for (int k = 0; k < ANSWERS - 1; k++)
            wait_for(&together[k]);
        engine_free(g);
    }
}

/* ---- what ends a run ---- */

static void stop_tokens_end_a_run_unseen(void **state)
{
    (void)state;
    struct engine *g = open_engine(&ordinary);
    for (int at = 0; at < TOKENS; at++) {
        struct answer a;
        struct engine_request r = request_for(&a, 0);
        int32_t stop[2] = {315, alone[0].tokens[at]};
        int first = 0;
        while (alone[0].tokens[first] != stop[0] && alone[0].tokens[first] != stop[1])
            first++;
        r.sampling.stop_tokens = stop;
        r.sampling.stop_token_count = 2;
        run(g, &r);
        assert_int_equal(a.done.finish, ENGINE_STOP);
        assert_int_equal(a.count, first);
        assert_memory_equal(a.tokens, alone[0].tokens, (size_t)first * sizeof *a.tokens);
    }
    engine_free(g);
}

static void a_shortest_answer_is_kept(void **state)
{
    (void)state;
    struct engine *g = open_engine(&ordinary);
    int32_t stop[320];
    for (int32_t i = 0; i < 320; i++)
        stop[i] = i;
    for (int least = 0; least <= TOKENS; least += 3)
        for (int32_t kept = 300; kept < 303; kept++) {
            struct answer a;
            struct engine_request r = request_for(&a, 0);
            stop[kept] = EOS; /* everything else ends it, so that only this one may come before */
            r.sampling.stop_tokens = stop;
            r.sampling.stop_token_count = 320;
            r.sampling.min_tokens = least;
            run(g, &r);
            assert_int_equal(a.count, a.done.finish == ENGINE_LENGTH ? TOKENS : a.count);
            assert_true(a.count >= least);
            for (int i = 0; i < least; i++)
                assert_int_equal(a.tokens[i], kept);
            stop[kept] = kept;
        }
    engine_free(g);
}

/* ---- constraints ---- */

/* A text of `length` tokens, each three more than the one before or, where it is not forced, that plus one;
 * then nothing but an end. */
struct steps {
    struct constraint c;
    uint64_t bits[5];
    int32_t next;
    int at, length, fail_at; /* -1: never */
    bool forced;
    atomic_int *freed;
};

static int steps_mask(struct constraint *c, struct constraint_mask *out, struct err *e)
{
    struct steps *s = (struct steps *)c;
    memset(s->bits, 0, sizeof s->bits);
    if (s->at == s->fail_at)
        return err_set(e, "grammar_stuck", "no token leads on");
    if (s->at == s->length)
        s->bits[EOS / 64] |= UINT64_C(1) << EOS % 64;
    for (int32_t t = s->next; s->at < s->length && t < s->next + 2 - s->forced; t++)
        s->bits[t / 64] |= UINT64_C(1) << t % 64;
    *out = (struct constraint_mask){.bits = s->bits,
                                    .count = s->at == s->length || s->forced ? 1 : 2,
                                    .first = s->at == s->length ? EOS : s->next,
                                    .ends_only = s->at == s->length};
    return 0;
}

static int steps_accept(struct constraint *c, int32_t token, struct err *e)
{
    struct steps *s = (struct steps *)c;
    if (token != s->next && token != s->next + 1)
        return err_set(e, "token_not_allowed", "not this one");
    s->next = token + 3;
    s->at++;
    return 0;
}

static atomic_int copies_freed;

static struct constraint *steps_copy(const struct constraint *c)
{
    struct steps *copy = malloc(sizeof *copy);
    memcpy(copy, c, sizeof *copy);
    copy->freed = &copies_freed;
    return &copy->c;
}

static void steps_free(struct constraint *c)
{
    atomic_fetch_add(((struct steps *)c)->freed, 1);
    free(c);
}

static struct constraint *make_steps(int length, int fail_at, atomic_int *freed)
{
    struct steps *s = calloc(1, sizeof *s);
    *s = (struct steps){
        .c = {.mask = steps_mask, .accept = steps_accept, .copy = steps_copy, .free = steps_free},
        .next = 10,
        .length = length,
        .fail_at = fail_at,
        .freed = freed};
    return &s->c;
}

/* The engine frees what it was given soon after the run. */
static void assert_freed(atomic_int *freed)
{
    for (int i = 0; !atomic_load(freed) && i < 10000; i++)
        usleep(1000);
    assert_int_equal(atomic_load(freed), 1);
}

/* The end comes where the text is complete, also where end tokens are ignored; nothing else is reported. */
static void a_constraint_is_kept_to_its_end(void **state)
{
    (void)state;
    struct engine *g = open_engine(&ordinary);
    for (int length = 0; length < TOKENS + 3; length++)
        for (int greedy = 0; greedy < 2; greedy++) {
            struct answer a;
            atomic_int freed = 0;
            struct engine_request r = request_for(&a, (uint64_t)length);
            r.sampling.temperature = (float)greedy;
            r.sampling.min_tokens = length % 3 ? 0 : TOKENS;
            r.sampling.constraint = make_steps(length, -1, &freed);
            run(g, &r);
            assert_int_equal(a.count, length < TOKENS ? length : TOKENS);
            assert_int_equal(a.done.finish, length < TOKENS ? ENGINE_STOP : ENGINE_LENGTH);
            for (int i = 0; i < a.count; i++)
                assert_in_range(a.tokens[i] - (i ? a.tokens[i - 1] : 7), 3, 4);
            assert_freed(&freed);
        }
    assert_idle(g);
    engine_free(g);
}

static void a_constraint_that_gets_stuck_fails_the_run(void **state)
{
    (void)state;
    struct engine *g = open_engine(&ordinary);
    for (int at = 0; at < 4; at++) {
        struct answer a;
        atomic_int freed = 0;
        struct engine_request r = request_for(&a, 1);
        r.sampling.constraint = make_steps(TOKENS, at, &freed);
        run(g, &r);
        assert_int_equal(a.done.finish, ENGINE_FAILED);
        assert_int_equal(a.count, at);
        assert_freed(&freed);
    }
    engine_free(g);
}

static void who_is_refused_keeps_the_constraint(void **state)
{
    (void)state;
    struct engine_options o = ordinary;
    o.queue_max = 1;
    struct engine *g = open_engine(&o);
    atomic_int freed = 0;
    struct answer a[2];
    struct engine_request r[2] = {request_for(&a[0], 1), request_for(&a[1], 2)};
    uint64_t ids[2];
    struct err e;
    for (int i = 0; i < 2; i++)
        r[i].sampling.constraint = make_steps(4, -1, &freed);
    assert_int_equal(engine_submit_all(g, r, 2, ids, &e), -1);
    r[1].token_count = 0;
    assert_int_equal(engine_submit_all(g, r, 2, ids, &e), -1);
    assert_int_equal(atomic_load(&freed), 0);
    r[1].sampling.constraint->free(r[1].sampling.constraint);
    run(g, &r[0]);
    engine_free(g);
    assert_int_equal(atomic_load(&freed), 2);
}

/* ---- in a crowd ---- */

/* Penalties read what a sequence said: the same alone, in a crowd, and when it had to begin again. */
static void penalties_do_not_see_the_crowd(void **state)
{
    (void)state;
    static const struct sampling_bias biases[] = {{60, 3}, {61, 3.1f}, {62, 3.2f}};
    static struct answer one[ANSWERS], crowd[ANSWERS];
    struct engine_options o = ordinary;
    o.sequences_max = 3;
    struct engine_request r[ANSWERS];
    uint64_t id;
    struct err e;
    for (int pass = 0; pass < 2; pass++) {
        struct engine *g = open_engine(&o);
        for (int i = 0; i < ANSWERS; i++) {
            r[i] = request_for(pass ? &crowd[i] : &one[i], (uint64_t)i);
            r[i].tenant = (uint32_t)i % 3;
            r[i].sampling.temperature = (float)(i % 2);
            r[i].sampling.biases = biases;
            r[i].sampling.bias_count = i % 4;
            r[i].sampling.frequency_penalty = (float)i * 0.3f;
            r[i].sampling.repetition_penalty = i > 4 ? 1.3f : 0;
            if (pass == 0)
                run(g, &r[i]);
            else
                assert_int_equal(engine_submit(g, &r[i], &id, &e), 0);
        }
        for (int i = 0; i < ANSWERS; i++)
            wait_for(r[i].arg);
        engine_free(g);
    }
    for (int i = 0; i < ANSWERS; i++)
        assert_same(&one[i], &crowd[i]);
    assert_memory_not_equal(one[2].tokens, one[0].tokens, sizeof one[0].tokens);
}

/* ---- guesses ---- */

static void prepare_long(struct engine_request *r, struct answer *a, int which)
{
    *r = request_for(a, (uint64_t)which);
    r->sampling.max_tokens = TOKENS;
    r->sampling.temperature = which % 2 == 0 ? 0 : 0.3f * (float)which;
    r->sampling.repetition_penalty = 0.1f; /* what was said is said again */
    r->sampling.logprobs = 2;
}

/* Several tokens of a text that repeats itself come of one step; which they are stays the same to the bit, in
 * each way of choosing them. */
static void guesses_change_no_answer(void **state)
{
    (void)state;
    static struct answer plain[ANSWERS], guessed[ANSWERS];
    struct engine_options o = ordinary;
    struct engine_stats before, s;
    for (int drafts = 0; drafts < 2; drafts++) {
        o.drafts = drafts;
        struct engine *g = open_engine(&o);
        for (int i = 0; i < ANSWERS; i++) {
            struct engine_request r;
            prepare_long(&r, drafts ? &guessed[i] : &plain[i], i);
            run(g, &r);
        }
        engine_stats(g, drafts ? &s : &before);
        assert_idle(g);
        engine_free(g);
    }
    for (int i = 0; i < ANSWERS; i++)
        assert_same(&plain[i], &guessed[i]);
    assert_int_equal(before.tokens_drafted, 0);
    assert_true(s.tokens_drafted >= s.tokens_draft_accepted);
    assert_true(s.tokens_draft_accepted > 0);
    assert_true(s.steps < before.steps);
    assert_int_equal(s.tokens_decode, before.tokens_decode);
    assert_int_equal(s.tokens_prefill, before.tokens_prefill);
}

/* What a constraint leaves no choice about comes several tokens a step. */
static void forced_tokens_come_together(void **state)
{
    (void)state;
    static struct answer a;
    struct engine_options o = ordinary;
    struct engine_request r = request_for(&a, 3);
    struct engine_stats s;
    atomic_int freed = 0;
    o.drafts = true;
    struct engine *g = open_engine(&o);
    r.sampling.constraint = make_steps(TOKENS - 1, -1, &freed);
    ((struct steps *)r.sampling.constraint)->forced = true;
    run(g, &r);
    engine_stats(g, &s);
    assert_freed(&freed);
    engine_free(g);
    assert_int_equal(a.done.finish, ENGINE_STOP);
    assert_int_equal(a.count, TOKENS - 1);
    for (int i = 0; i < a.count; i++)
        assert_int_equal(a.tokens[i], 10 + 3 * i);
    assert_in_range(s.steps, 1, TOKENS / 3);
    assert_int_equal(s.tokens_draft_accepted, s.tokens_drafted);
    assert_true(atomic_load(&copies_freed) > 0);
}

/* Of a model that computes the whole sequence anew from some length on: no guess goes beyond it. */
static void guesses_stop_where_a_sequence_begins_again(void **state)
{
    (void)state;
    static struct answer plain, guessed;
    static int32_t text[512];
    struct model *model = fixture_model(fixture_path("models/phi3-longrope"));
    int beyond = model_info(model)->stretched_beyond;
    uint64_t drafted[2];
    assert_true(model_info(model)->stretched_whole);
    assert_in_range(beyond, TOKENS, 512);
    for (int i = 0; i < beyond; i++)
        text[i] = (i * 37 + 11) % model_info(model)->vocab_size;
    for (int drafts = 0; drafts < 2; drafts++) {
        struct engine_options o = ordinary;
        struct engine_request r;
        struct engine_stats s;
        struct engine *g = NULL;
        struct err e;
        o.drafts = drafts;
        assert_int_equal(engine_new(&g, model, &o, &e), 0);
        prepare_long(&r, drafts ? &guessed : &plain, 0);
        r.sampling.presence_penalty = -50; /* nothing but what was said */
        r.tokens = text;
        r.token_count = (size_t)beyond - TOKENS / 2;
        run(g, &r);
        engine_stats(g, &s);
        drafted[drafts] = s.tokens_draft_accepted;
        engine_free(g);
    }
    assert_same(&plain, &guessed);
    assert_true(drafted[1] > drafted[0]);
    model_close(model);
}

static int open_model(void **state)
{
    (void)state;
    fixture_precision = PRECISION_EXACT;
    llama = fixture_model(fixture_path("models/llama"));
    for (int i = 0; i < PROMPT; i++)
        prompt[i] = (i * 37 + 11) % model_info(llama)->vocab_size;
    run_alone();
    return 0;
}

static int close_model(void **state)
{
    (void)state;
    model_close(llama);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_those_of_requests_of_their_own),
        cmocka_unit_test(a_cancelled_answer_takes_no_other_with_it),
        cmocka_unit_test(the_end_of_the_engine_is_theirs),
        cmocka_unit_test(all_are_taken_or_none),
        cmocka_unit_test(stop_tokens_end_a_run_unseen),
        cmocka_unit_test(a_shortest_answer_is_kept),
        cmocka_unit_test(a_constraint_is_kept_to_its_end),
        cmocka_unit_test(a_constraint_that_gets_stuck_fails_the_run),
        cmocka_unit_test(who_is_refused_keeps_the_constraint),
        cmocka_unit_test(penalties_do_not_see_the_crowd),
        cmocka_unit_test(guesses_change_no_answer),
        cmocka_unit_test(forced_tokens_come_together),
        cmocka_unit_test(guesses_stop_where_a_sequence_begins_again),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}

/* The prefix cache: who finds whose pages, and which are given up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/kv/prefix.h"
#include "tests/golden/fixture.h"

enum { PAGES = 8 };

struct world {
    struct kvcache *kv;
    struct prefix *prefix;
    int32_t tokens[PAGES * KV_PAGE_TOKENS];
};

static void open_world(struct world *w)
{
    const struct kv_shape shape = {.layers = 1, .heads = 1, .dim = 1, .type = KV_F32};
    struct err e;
    assert_int_equal(kvcache_new(&w->kv, &shape, PAGES * kvcache_page_bytes(&shape), &e), 0);
    assert_int_equal(prefix_new(&w->prefix, w->kv, &e), 0);
    for (int i = 0; i < PAGES * KV_PAGE_TOKENS; i++)
        w->tokens[i] = i;
}

static void close_world(struct world *w)
{
    prefix_free(w->prefix);
    assert_int_equal(kvcache_pages_free(w->kv), PAGES);
    kvcache_free(w->kv);
}

/* A sequence of `pages` full pages comes, is remembered under the root, and goes. */
static void pass_by(struct world *w, int root, const int32_t *tokens, int pages)
{
    struct kv_sequence s = {0};
    struct prefix_chain chain = {.key = {(uint8_t)root}};
    assert_true(kvcache_reserve(w->kv, &s, pages * KV_PAGE_TOKENS));
    prefix_keep(w->prefix, &chain, tokens, s.pages, pages);
    assert_int_equal(chain.pages, pages);
    kvcache_release(w->kv, &s);
}

static int found(struct world *w, int root, const int32_t *tokens, int limit)
{
    int32_t pages[PAGES];
    struct prefix_chain chain = {.key = {(uint8_t)root}};
    return prefix_match(w->prefix, &chain, tokens, limit, pages);
}

static void same_root_and_tokens_are_found(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    pass_by(&w, 1, w.tokens, 3);
    assert_int_equal(prefix_pages(w.prefix), 3);
    assert_int_equal(kvcache_pages_free(w.kv), PAGES - 3);
    assert_int_equal(found(&w, 1, w.tokens, 3), 3);
    assert_int_equal(found(&w, 1, w.tokens, 2), 2);
    assert_int_equal(found(&w, 1, w.tokens, PAGES), 3);
    assert_int_equal(found(&w, 2, w.tokens, 3), 0); /* another root */
    w.tokens[2 * KV_PAGE_TOKENS - 1]++;             /* the last token of the second page */
    assert_int_equal(found(&w, 1, w.tokens, 3), 1);
    w.tokens[0]++;
    assert_int_equal(found(&w, 1, w.tokens, 3), 0);
    close_world(&w);
}

static void the_same_pages_are_kept_once(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    pass_by(&w, 1, w.tokens, 2);
    pass_by(&w, 1, w.tokens, 3);
    assert_int_equal(prefix_pages(w.prefix), 3);
    pass_by(&w, 2, w.tokens, 2);
    assert_int_equal(prefix_pages(w.prefix), 5);
    close_world(&w);
}

/* What was not used for longest goes first, and of one chain its end. */
static void room_is_made_from_the_least_recently_used(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    pass_by(&w, 1, w.tokens, 3);
    pass_by(&w, 2, w.tokens, 3);
    assert_int_equal(found(&w, 1, w.tokens, 3), 3); /* root 1 is the fresher one now */
    prefix_make_room(w.prefix, 2);                  /* there are two free ones */
    assert_int_equal(prefix_pages(w.prefix), 6);
    prefix_make_room(w.prefix, 5);
    assert_int_equal(kvcache_pages_free(w.kv), 5);
    assert_int_equal(found(&w, 2, w.tokens, 3), 0);
    assert_int_equal(found(&w, 1, w.tokens, 3), 3);
    prefix_make_room(w.prefix, 6);
    assert_int_equal(found(&w, 1, w.tokens, 3), 2);
    close_world(&w);
}

static void pages_in_use_are_not_given_up(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    pass_by(&w, 1, w.tokens, 3);
    int32_t pages[PAGES];
    struct prefix_chain chain = {.key = {1}};
    struct kv_sequence s = {0};
    int count = prefix_match(w.prefix, &chain, w.tokens, 2, pages);
    assert_true(kvcache_share(w.kv, &s, pages, count));
    prefix_make_room(w.prefix, PAGES);
    assert_int_equal(kvcache_pages_free(w.kv), PAGES - 2);
    assert_int_equal(found(&w, 1, w.tokens, 3), 2);
    kvcache_release(w.kv, &s);
    prefix_make_room(w.prefix, PAGES);
    assert_int_equal(kvcache_pages_free(w.kv), PAGES);
    close_world(&w);
}

/* ---- through the engine ---- */

static bool keep_token(void *arg, const struct engine_token *t)
{
    struct run *run = arg;
    run->tokens[run->token_count++] = t->token;
    memcpy(&run->logits[run->rows++], &t->logprob, sizeof(float));
    return true;
}

static void keep_done(void *arg, const struct engine_done *d)
{
    struct run *run = arg;
    run->done = *d;
    __atomic_store_n(&run->finished, true, __ATOMIC_RELEASE);
}

/* Tokens and log-probabilities of one request; `root` < 0: without the prefix cache. */
static void ask(struct engine *g, int root, const int32_t *tokens, size_t count, struct run *run)
{
    uint8_t key[SHA256_BYTES] = {(uint8_t)root};
    struct engine_request r = {.tenant = 1,
                               .tokens = tokens,
                               .token_count = count,
                               .cache_root = root < 0 ? NULL : key,
                               .sampling = {.top_p = 1, .ignore_eos = true, .max_tokens = 20},
                               .on_token = keep_token,
                               .on_done = keep_done,
                               .arg = run};
    struct err e;
    uint64_t id;
    *run = (struct run){.logits = calloc(64, sizeof(float))};
    assert_int_equal(engine_submit(g, &r, &id, &e), 0);
    while (!__atomic_load_n(&run->finished, __ATOMIC_ACQUIRE))
        ;
}

static void answers_do_not_depend_on_the_cache(void **state)
{
    enum { PROMPT = 150, CASES = 7 };
    static const struct {
        int root;
        size_t tokens;
        int cached;
    } cases[CASES] = {{-1, PROMPT, 0}, {1, PROMPT, 0}, {1, PROMPT, 128}, {2, PROMPT, 0},
                      {1, 128, 96},    {1, 129, 128},  {-1, PROMPT, 0}};
    fixture_precision = *(const enum precision *)*state;
    struct model *m = fixture_model(fixture_path("models/llama"));
    struct engine *g = fixture_engine(m, 2, 0, 4);
    int32_t tokens[PROMPT];
    struct run runs[CASES];
    for (int i = 0; i < PROMPT; i++)
        tokens[i] = (i * 37 + 11) % model_info(m)->vocab_size;
    for (int i = 0; i < CASES; i++) {
        ask(g, cases[i].root, tokens, cases[i].tokens, &runs[i]);
        assert_int_equal(runs[i].done.cached_tokens, cases[i].cached);
        if (cases[i].tokens == PROMPT) {
            assert_memory_equal(runs[i].tokens, runs[0].tokens, 20 * sizeof *tokens);
            assert_memory_equal(runs[i].logits, runs[0].logits, 20 * sizeof(float));
        }
    }
    for (int i = 0; i < CASES; i++)
        run_fini(&runs[i]);
    struct engine_stats stats;
    engine_stats(g, &stats);
    assert_int_equal(stats.kv_pages, stats.kv_pages_free + stats.kv_pages_cached);
    assert_true(stats.kv_pages_cached > 0);
    engine_free(g);
    model_close(m);
}

int main(void)
{
    static enum precision exact = PRECISION_EXACT, int8 = PRECISION_INT8;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_root_and_tokens_are_found),
        cmocka_unit_test(the_same_pages_are_kept_once),
        cmocka_unit_test(room_is_made_from_the_least_recently_used),
        cmocka_unit_test(pages_in_use_are_not_given_up),
        {"answers do not depend on the cache: exact", answers_do_not_depend_on_the_cache, NULL, NULL, &exact},
        {"answers do not depend on the cache: int8", answers_do_not_depend_on_the_cache, NULL, NULL, &int8},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

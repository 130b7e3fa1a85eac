/* Pages of the KV cache: nobody shares one, none is lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/kv/kvcache.h"

enum { LAYERS = 3, HEADS = 2, DIM = 5 };
static const struct kv_shape shape = {.layers = LAYERS, .heads = HEADS, .dim = DIM, .type = KV_F32};
static const size_t page_bytes = (size_t)LAYERS * HEADS * 2 * KV_PAGE_TOKENS * DIM * sizeof(float);

static struct kvcache *open_cache(size_t bytes)
{
    struct kvcache *k = NULL;
    struct err e;
    if (kvcache_new(&k, &shape, bytes, &e) != 0)
        fail_msg("%s", e.message);
    return k;
}

static void budget_decides_pages(void **state)
{
    (void)state;
    const struct {
        size_t bytes;
        int pages;
    } cases[] = {{0, 1},
                 {1, 1},
                 {page_bytes - 1, 1},
                 {page_bytes, 1},
                 {2 * page_bytes - 1, 1},
                 {2 * page_bytes, 2},
                 {100 * page_bytes + 5, 100}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kvcache *k = open_cache(cases[i].bytes);
        assert_int_equal(kvcache_pages(k), cases[i].pages);
        assert_int_equal(kvcache_pages_free(k), cases[i].pages);
        kvcache_free(k);
    }
    kvcache_free(NULL);
    struct kvcache *k = NULL;
    struct err e;
    const struct kv_shape huge = {.layers = 1024, .heads = 1 << 10, .dim = 1 << 10, .type = KV_F32};
    assert_int_equal(kvcache_new(&k, &huge, (size_t)1 << 62, &e), -1);
    assert_string_equal(e.code, "out_of_memory");
    assert_null(k);
}

static void reserve_takes_whole_pages(void **state)
{
    (void)state;
    struct kvcache *k = open_cache(5 * page_bytes);
    static const struct {
        int tokens;
        bool result;
        int pages; /* of the sequence afterwards */
    } cases[] = {{0, true, 0},  {1, true, 1},    {32, true, 1},    {33, true, 2},  {10, true, 2},
                 {64, true, 2}, {161, false, 2}, {1000, false, 2}, {160, true, 5}, {161, false, 5}};
    struct kv_sequence s = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(kvcache_reserve(k, &s, cases[i].tokens), cases[i].result);
        assert_int_equal(s.page_count, cases[i].pages);
        assert_int_equal(kvcache_pages_free(k), 5 - cases[i].pages);
    }
    struct kv_sequence other = {0};
    assert_false(kvcache_reserve(k, &other, 1));
    assert_int_equal(other.page_count, 0);
    kvcache_release(k, &other);
    kvcache_release(k, &s);
    assert_int_equal(kvcache_pages_free(k), 5);
    assert_int_equal(s.page_count, 0);
    kvcache_release(k, &s); /* twice is fine */
    assert_int_equal(kvcache_pages_free(k), 5);
    kvcache_free(k);
}

/* Every page of every layer is a place of its own: what is written to one stays, whatever goes to others. */
static void pages_do_not_overlap(void **state)
{
    (void)state;
    enum { PAGES = 7, FLOATS = KV_PAGE_TOKENS * DIM };
    struct kvcache *k = open_cache(PAGES * page_bytes);
    for (int pass = 0; pass < 2; pass++)
        for (int page = 0; page < PAGES; page++)
            for (int layer = 0; layer < LAYERS; layer++)
                for (int which = 0; which < 2 * HEADS; which++) {
                    float *at = which % 2 ? kvcache_values(k, layer, page, which / 2)
                                          : kvcache_keys(k, layer, page, which / 2);
                    float mark = (float)((page * LAYERS + layer) * 2 * HEADS + which);
                    for (int i = 0; i < FLOATS; i++) {
                        if (pass == 0)
                            at[i] = mark;
                        else
                            assert_true(at[i] == mark);
                    }
                }
    kvcache_free(k);
}

/* A page that two sequences share goes back when the last of them lets it go. */
static void shared_pages_are_counted(void **state)
{
    (void)state;
    struct kvcache *k = open_cache(6 * page_bytes);
    struct kv_sequence a = {0}, b = {0};
    assert_true(kvcache_reserve(k, &a, 3 * KV_PAGE_TOKENS));
    assert_true(kvcache_share(k, &b, a.pages, 2));
    assert_int_equal(kvcache_pages_free(k), 3);
    assert_true(kvcache_reserve(k, &b, 4 * KV_PAGE_TOKENS));
    assert_int_equal(kvcache_pages_free(k), 1);
    assert_memory_equal(a.pages, b.pages, 2 * sizeof *a.pages);
    assert_int_not_equal(a.pages[2], b.pages[2]);
    kvcache_release(k, &a);
    assert_int_equal(kvcache_pages_free(k), 2);
    kvcache_release(k, &b);
    assert_int_equal(kvcache_pages_free(k), 6);
    kvcache_free(k);
}

static void random_use_conserves_pages(void **state)
{
    (void)state;
    enum { PAGES = 50, SEQUENCES = 12, ROUNDS = 20000 };
    struct kvcache *k = open_cache(PAGES * page_bytes);
    struct kv_sequence s[SEQUENCES] = {0};
    unsigned random = 1;
    for (int round = 0; round < ROUNDS; round++) {
        random = random * 1664525u + 1013904223u;
        struct kv_sequence *one = &s[(random >> 8) % SEQUENCES];
        int tokens = (int)((random >> 16) % 700), before = one->page_count,
            free_before = kvcache_pages_free(k);
        if (random >> 30 == 0) {
            kvcache_release(k, one);
            assert_int_equal(one->page_count, 0);
            assert_int_equal(kvcache_pages_free(k), free_before + before);
        } else {
            int wanted = (tokens + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
            bool fits = wanted - before <= free_before;
            assert_int_equal(kvcache_reserve(k, one, tokens), fits);
            assert_int_equal(one->page_count, fits && wanted > before ? wanted : before);
        }
        int owner[PAGES] = {0}, used = 0;
        for (int i = 0; i < SEQUENCES; i++)
            for (int p = 0; p < s[i].page_count; p++, used++) {
                assert_in_range(s[i].pages[p], 0, PAGES - 1);
                assert_int_equal(owner[s[i].pages[p]]++, 0);
            }
        assert_int_equal(kvcache_pages_free(k), PAGES - used);
    }
    for (int i = 0; i < SEQUENCES; i++)
        kvcache_release(k, &s[i]);
    assert_int_equal(kvcache_pages_free(k), PAGES);
    kvcache_free(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(budget_decides_pages),       cmocka_unit_test(reserve_takes_whole_pages),
        cmocka_unit_test(pages_do_not_overlap),       cmocka_unit_test(shared_pages_are_counted),
        cmocka_unit_test(random_use_conserves_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Rotations that depend on how long a sequence is: what the prefix cache gives, and what is computed again
 * when a sequence outgrows the context of training, is what a sequence alone in a new engine has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/sha256.h"
#include "tests/golden/fixture.h"

enum { LENGTHS = 9, PROMPT_MAX = 170, NEW_TOKENS = 40 };

/* All prompts begin alike. The context of training is 64 tokens in both models: within it, into it from
 * below, at its edge, and beyond, twice with pages in common. */
static const size_t lengths[LENGTHS] = {33, 40, 63, 64, 65, 66, 97, 130, PROMPT_MAX};

static void make_prompt(int vocab, int32_t *out)
{
    for (int i = 0; i < PROMPT_MAX; i++)
        out[i] = (i * 7919 + 13) % vocab;
}

static void run_alone(const struct model *m, const int32_t *prompt, size_t length, struct run *out)
{
    struct engine *g = fixture_engine(m, 1, 0, 1);
    struct runs *all = runs_new();
    run_submit_shared(all, out, g, NULL, prompt, length, NEW_TOKENS, NULL);
    runs_free(all);
    engine_free(g);
    assert_int_equal(out->token_count, NEW_TOKENS);
}

/* One after the other (`crowd` 1), or all at once, with what others leave behind; forth and back. */
static int check_shared(const struct model *m, const int32_t *prompt, const struct run alone[LENGTHS],
                        bool crowd)
{
    static const uint8_t root[SHA256_BYTES] = {3};
    static struct run run[2 * LENGTHS];
    struct engine *g = fixture_engine(m, 2, 29, LENGTHS);
    struct runs *all = runs_new();
    int cached = 0;
    memset(run, 0, sizeof run);
    for (int i = 0; i < 2 * LENGTHS; i++) {
        int which = i < LENGTHS ? i : 2 * LENGTHS - 1 - i;
        run_submit_shared(all, &run[i], g, NULL, prompt, lengths[which], NEW_TOKENS, root);
        if (!crowd)
            runs_wait(all);
    }
    runs_wait(all);
    for (int i = 0; i < 2 * LENGTHS; i++) {
        const struct run *expected = &alone[i < LENGTHS ? i : 2 * LENGTHS - 1 - i];
        assert_int_equal(run[i].token_count, NEW_TOKENS);
        for (int k = 0; k < NEW_TOKENS; k++)
            if (run[i].tokens[k] != expected->tokens[k])
                fail_msg("prompt of %zu, token %d: %d alone, %d here", expected->rows, k, expected->tokens[k],
                         run[i].tokens[k]);
        cached += run[i].done.cached_tokens;
    }
    runs_free(all);
    engine_free(g);
    return cached;
}

static void check_model(void **state)
{
    static const enum precision precisions[] = {PRECISION_EXACT, PRECISION_INT8};
    for (size_t p = 0; p < sizeof precisions / sizeof *precisions; p++) {
        static struct run alone[LENGTHS];
        int32_t prompt[PROMPT_MAX];
        fixture_precision = precisions[p];
        struct model *m = fixture_model(fixture_path("models/%s", (const char *)*state));
        assert_int_equal(model_info(m)->stretched_beyond, 64);
        make_prompt(model_info(m)->vocab_size, prompt);
        memset(alone, 0, sizeof alone);
        for (int i = 0; i < LENGTHS; i++)
            run_alone(m, prompt, lengths[i], &alone[i]);
        assert_true(check_shared(m, prompt, alone, false) > 0);
        check_shared(m, prompt, alone, true);
        model_close(m);
    }
    fixture_precision = PRECISION_EXACT;
}

int main(void)
{
    static char dynamic[] = "llama-dynamic", longer[] = "phi3-longrope";
    const struct CMUnitTest tests[] = {{"stretched by length", check_model, NULL, NULL, dynamic},
                                       {"stretched as a whole", check_model, NULL, NULL, longer}};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

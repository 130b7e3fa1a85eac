/* Guesses from the text itself: where they come from, how long they are, what they cost at worst. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/draft/draft.h"
#include "core/system/clock.h"

enum { GUESS = 6, LONG_TEXT = 20000 };

/* What is guessed behind a text of one digit a token, as digits; "" for nothing. */
static const char *guess_after(const char *text, int prompt, enum draft_kind *kind)
{
    static char said[GUESS + 1];
    struct draft d = {0};
    int32_t tokens[64], out[GUESS];
    int count = (int)strlen(text), guessed;
    for (int i = 0; i < count; i++)
        tokens[i] = text[i];
    guessed = draft_guess(&d, 64, tokens, prompt, count, out, GUESS, kind);
    for (int i = 0; i < guessed; i++)
        said[i] = (char)out[i];
    said[guessed] = '\0';
    draft_free(&d);
    return said;
}

static void what_followed_before_is_guessed(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int prompt;
        const char *guess;
        enum draft_kind kind;
    } cases[] = {
        {"", 0, "", DRAFT_NEAR},
        {"a", 1, "", DRAFT_NEAR},
        {"abcdefgh", 8, "", DRAFT_NEAR},
        {"abcdefghij-ab", 11, "cdefgh", DRAFT_SHORT},
        {"abcdefghij-abcd", 11, "efghij", DRAFT_LONG},
        {"abcdefghij-ab", 2, "cdefgh", DRAFT_ANSWER},
        {"-ab123456-ab789012-ab", 18, "789012", DRAFT_SHORT},   /* the newest of two */
        {"xab123456-yab789012-xab", 20, "123456", DRAFT_SHORT}, /* unless an older one has more in common */
        {"abab", 2, "ababab", DRAFT_ANSWER},                    /* a circle goes on */
        {"aaaaaa", 6, "aaaaaa", DRAFT_LONG},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        enum draft_kind kind = DRAFT_NEAR;
        assert_string_equal(guess_after(cases[i].text, cases[i].prompt, &kind), cases[i].guess);
        if (*cases[i].guess)
            assert_int_equal(kind, cases[i].kind);
    }
}

/* A word was replaced: one token that follows soon behind it in the source is enough. */
static void a_replaced_word_is_stepped_over(void **state)
{
    (void)state;
    static const char source[] = "call anna jones today-", answer[] = "call X+t";
    struct draft d = {0};
    enum draft_kind kind;
    int32_t tokens[64], out[GUESS];
    int count = 0, guessed = 0, prompt = (int)strlen(source);
    for (const char *c = source; *c; c++)
        tokens[count++] = *c;
    for (const char *c = answer; *c; c++) {
        tokens[count++] = *c;
        guessed = draft_guess(&d, 64, tokens, prompt, count, out, GUESS, &kind);
    }
    assert_int_equal(guessed, GUESS);
    assert_int_equal(kind, DRAFT_NEAR);
    assert_int_equal(out[0], 'o');
    assert_int_equal(out[3], 'y');
    draft_free(&d);
}

static void nothing_is_guessed_beyond_what_is_wanted(void **state)
{
    (void)state;
    struct draft d = {0};
    enum draft_kind kind;
    int32_t tokens[8] = {1, 2, 3, 4, 1, 2}, out[3] = {-1, -1, -1};
    assert_int_equal(draft_guess(&d, 8, tokens, 6, 6, out, 0, &kind), 0);
    assert_int_equal(draft_guess(&d, 8, tokens, 6, 6, out, -1, &kind), 0);
    assert_int_equal(draft_guess(&d, 8, tokens, 6, 6, out, 2, &kind), 2);
    assert_int_equal(out[0], 3);
    assert_int_equal(out[2], -1);
    draft_free(&d);
}

/* Texts that are made so that every place looks alike cost no more than any other. */
static void the_worst_text_costs_little(void **state)
{
    (void)state;
    int32_t *tokens = malloc(LONG_TEXT * sizeof *tokens), out[15];
    struct draft d = {0};
    enum draft_kind kind;
    for (int i = 0; i < LONG_TEXT; i++)
        tokens[i] = i % 37 == 0 ? i : 7;
    uint64_t before = clock_us();
    for (int i = 2; i < LONG_TEXT; i++)
        draft_guess(&d, LONG_TEXT, tokens, 10, i, out, 15, &kind);
    assert_in_range(clock_us() - before, 0,
                    (uint64_t)50 * LONG_TEXT); /* a microsecond each, on a quiet machine */
    draft_free(&d);
    free(tokens);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_followed_before_is_guessed),
                                       cmocka_unit_test(a_replaced_word_is_stepped_over),
                                       cmocka_unit_test(nothing_is_guessed_beyond_what_is_wanted),
                                       cmocka_unit_test(the_worst_text_costs_little)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

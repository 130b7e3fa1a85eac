/* Stop strings: the text is cut at the earliest one, wherever the token borders are, and what is shown in
 * pieces adds up to what is shown at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/inference/output.h"
#include "server/inference/stops.h"

static void the_earliest_match_wins(void **state)
{
    (void)state;
    struct stops s = {0};
    size_t cut = 99;
    assert_true(stops_add(&s, "world", 5));
    assert_true(stops_add(&s, "lo w", 4));
    assert_true(stops_find(&s, "hello world", 11, 0, &cut));
    assert_int_equal(cut, 3);
    assert_false(stops_find(&s, "hello", 5, 0, &cut));
}

static void a_match_may_begin_in_searched_text(void **state)
{
    (void)state;
    struct stops s = {0};
    size_t cut;
    assert_true(stops_add(&s, "abc", 3));
    assert_true(stops_find(&s, "xxabc", 5, 4, &cut));
    assert_int_equal(cut, 2);
    /* One that was complete before does not count again. */
    assert_false(stops_find(&s, "xxabcx", 6, 5, &cut));
}

static void what_may_begin_a_stop_string_is_held(void **state)
{
    (void)state;
    struct stops s = {0};
    assert_int_equal(stops_hold(&s, "abc", 3), 0);
    assert_true(stops_add(&s, "abcd", 4));
    assert_true(stops_add(&s, "c!", 2));
    assert_int_equal(stops_hold(&s, "xab", 3), 2);
    assert_int_equal(stops_hold(&s, "xabc", 4), 3);
    assert_int_equal(stops_hold(&s, "xc", 2), 1);
    assert_int_equal(stops_hold(&s, "xd", 2), 0);
    assert_int_equal(stops_hold(&s, "", 0), 0);
    assert_int_equal(stops_hold(&s, "a", 1), 1);
}

static void bounds(void **state)
{
    (void)state;
    struct stops s = {0};
    char text[STOP_BYTES_MAX + 1];
    memset(text, 'a', sizeof text);
    assert_false(stops_add(&s, "", 0));
    assert_false(stops_add(&s, text, sizeof text));
    for (int i = 0; i < STOPS_MAX; i++)
        assert_true(stops_add(&s, text, STOP_BYTES_MAX));
    assert_false(stops_add(&s, "a", 1));
}

/* ---- tokens and pieces ---- */

struct run {
    struct stops stops;
    struct output o;
    char shown[256]; /* the pieces together */
    size_t shown_tokens;
};

static void begin(struct run *r, struct output_options options)
{
    options.stops = &r->stops;
    output_init(&r->o, NULL, &options);
}

static void add(struct run *r, int32_t id, const char *text)
{
    struct engine_token t = {.token = id};
    struct err e;
    size_t before = strlen(r->shown);
    assert_int_equal(output_append(&r->o, &t, text, strlen(text), &e), 0);
    assert_true(r->o.text_ready >= before);
    assert_true(r->o.tokens_ready >= r->shown_tokens);
    memcpy(r->shown, r->o.text.data ? r->o.text.data : "", r->o.text_ready);
    r->shown[r->o.text_ready] = '\0';
    r->shown_tokens = r->o.tokens_ready;
}

static void a_stop_string_over_three_tokens(void **state)
{
    (void)state;
    struct run r = {0};
    begin(&r, (struct output_options){0});
    stops_add(&r.stops, "\n\nQ:", 4);
    add(&r, 1, "yes");
    assert_string_equal(r.shown, "yes");
    assert_int_equal(r.shown_tokens, 1);
    add(&r, 2, ".\n");
    assert_string_equal(r.shown, "yes."); /* the token begins before what is held, so it is shown */
    assert_int_equal(r.shown_tokens, 2);
    add(&r, 3, "\n");
    add(&r, 4, "Q");
    assert_string_equal(r.shown, "yes.");
    assert_int_equal(r.shown_tokens, 2);
    add(&r, 5, ": what");
    assert_true(r.o.cut);
    assert_string_equal(r.o.text.data, "yes.");
    assert_int_equal(r.o.token_count, 2);
    assert_int_equal(r.o.tokens_ready, 2);
    output_fini(&r.o);
}

static void a_false_alarm_is_shown_later(void **state)
{
    (void)state;
    struct run r = {0};
    struct err e;
    begin(&r, (struct output_options){0});
    stops_add(&r.stops, "abc", 3);
    add(&r, 1, "ab");
    assert_string_equal(r.shown, "");
    assert_int_equal(r.shown_tokens, 0);
    add(&r, 2, "d");
    assert_string_equal(r.shown, "abd");
    assert_int_equal(r.shown_tokens, 2);
    add(&r, 3, "ab");
    assert_string_equal(r.shown, "abd");
    assert_int_equal(output_finish(&r.o, &e), 0);
    assert_int_equal(r.o.text_ready, 5);
    assert_int_equal(r.o.tokens_ready, 3);
    output_fini(&r.o);
}

static void tokens_without_text(void **state)
{
    (void)state;
    struct run r = {0};
    begin(&r, (struct output_options){0});
    stops_add(&r.stops, "\xc3\xa9!", 3);
    add(&r, 1, "a");
    add(&r, 2, ""); /* the first half of a character */
    assert_int_equal(r.shown_tokens, 1);
    add(&r, 3, "\xc3\xa9");
    assert_string_equal(r.shown, "a");
    add(&r, 4, "!");
    assert_true(r.o.cut);
    assert_int_equal(r.o.token_count, 1); /* both halves began where the stop string did */
    output_fini(&r.o);
}

static void without_stop_strings_nothing_is_held(void **state)
{
    (void)state;
    struct run r = {0};
    begin(&r, (struct output_options){.want_logprobs = true});
    add(&r, 1, "");
    assert_int_equal(r.shown_tokens, 1);
    for (int i = 0; i < 100; i++)
        add(&r, i, "x");
    assert_int_equal(r.o.text_ready, 100);
    assert_int_equal(r.o.tokens_ready, 101);
    assert_int_equal(r.o.logprobs[100].token, 99);
    output_fini(&r.o);
}

/* A stop string that is complete before it may count is text like any other. */
static void a_shortest_answer_holds_stop_strings(void **state)
{
    (void)state;
    for (int least = 0; least < 8; least++) {
        struct run r = {0};
        struct err e;
        begin(&r, (struct output_options){.least_tokens = least});
        stops_add(&r.stops, "ab", 2);
        for (int i = 0; i < 8 && !r.o.cut; i++) /* "ab" at tokens 1, 3, 5, 7, counted from 0 */
            add(&r, i, i % 2 ? "b" : "a");
        assert_int_equal(output_finish(&r.o, &e), 0);
        size_t end = least < 3 ? 0 : (size_t)(least - 1) / 2 * 2;
        assert_true(r.o.cut);
        assert_int_equal(r.o.text.length, end);
        assert_memory_equal(r.shown, "abababab", strlen(r.shown));
        output_fini(&r.o);
    }
}

/* Against the definition, over many random texts: cut at the end of the first token that completes a stop
 * string. */
static void pieces_add_up(void **state)
{
    (void)state;
    unsigned seed = 7;
    for (int round = 0; round < 3000; round++) {
        struct run r = {0};
        struct err e;
        char all[256] = "", stop[8] = "";
        begin(&r, (struct output_options){0});
        int length = 1 + rand_r(&seed) % 4;
        for (int i = 0; i < length; i++)
            stop[i] = (char)('a' + rand_r(&seed) % 2);
        stops_add(&r.stops, stop, strlen(stop));
        for (int i = 0; i < 20 && !r.o.cut; i++) {
            char piece[4] = "";
            for (int k = rand_r(&seed) % 4; k > 0; k--)
                piece[k - 1] = (char)('a' + rand_r(&seed) % 3);
            strcat(all, piece);
            add(&r, i, piece);
        }
        assert_int_equal(output_finish(&r.o, &e), 0);
        char *hit = strstr(all, stop);
        size_t expected = hit ? (size_t)(hit - all) : strlen(all);
        assert_int_equal(r.o.cut, hit != NULL);
        assert_int_equal(r.o.text.length, expected);
        assert_int_equal(r.o.text_ready, expected);
        assert_memory_equal(r.shown, all, strlen(r.shown));
        for (size_t i = 0; hit && i < r.o.token_count; i++)
            assert_true(r.o.tokens[i].begin < expected);
        output_fini(&r.o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_earliest_match_wins),
        cmocka_unit_test(a_match_may_begin_in_searched_text),
        cmocka_unit_test(what_may_begin_a_stop_string_is_held),
        cmocka_unit_test(bounds),
        cmocka_unit_test(a_stop_string_over_three_tokens),
        cmocka_unit_test(a_false_alarm_is_shown_later),
        cmocka_unit_test(tokens_without_text),
        cmocka_unit_test(without_stop_strings_nothing_is_held),
        cmocka_unit_test(a_shortest_answer_holds_stop_strings),
        cmocka_unit_test(pieces_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

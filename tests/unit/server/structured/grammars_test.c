/* Grammars of requests: compiled once, kept by content, and constraints that belong to one text each. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/structured/grammars.h"

enum { EOS = 2 };

static struct tokenizer *tokenizer;

static struct grammars *open_grammars(void)
{
    static const int32_t ends[] = {EOS};
    struct grammars *g;
    struct err e;
    assert_int_equal(grammars_new(&g, tokenizer, tokenizer_vocab_size(tokenizer), ends, 1, &e), 0);
    return g;
}

static struct guide *compile(struct grammars *g, enum grammars_kind kind, const char *text)
{
    struct guide *guide = NULL;
    struct err e;
    json_t *value = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    if (grammars_compile(g, kind, value, &guide, &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
    json_decref(value);
    return guide;
}

static struct constraint *constrain(struct grammars *g, struct guide *guide)
{
    struct constraint *c;
    struct err e;
    assert_int_equal(grammars_constrain(g, guide, &(struct grammars_ends){0}, &c, &e), 0);
    return c;
}

/* The text that the lowest token leads to at each place; the constraint is used up. */
static void expect_text(struct constraint *c, const char *expected)
{
    struct token_list ids = {0};
    struct buf text = {0};
    struct err e;
    for (;;) {
        struct constraint_mask mask;
        assert_int_equal(c->mask(c, &mask, &e), 0);
        if (mask.ends_only)
            break;
        assert_true(mask.count > 0 && (mask.bits[mask.first / 64] >> mask.first % 64 & 1));
        assert_int_equal(token_list_push(&ids, mask.first), 0);
        assert_int_equal(c->accept(c, mask.first, &e), 0);
    }
    assert_int_equal(tokenizer_decode(tokenizer, ids.ids, ids.count, false, &text, &e), 0);
    assert_string_equal(text.data ? text.data : "", expected);
    token_list_fini(&ids);
    buf_fini(&text);
    c->free(c);
}

static void every_kind_is_compiled(void **state)
{
    (void)state;
    struct grammars *g = open_grammars();
    static const struct {
        enum grammars_kind kind;
        const char *value, *text;
    } cases[] = {
        {GRAMMARS_SCHEMA, "{\"const\": 5}", "5"},
        {GRAMMARS_GBNF, "\"root ::= \\\"ab\\\" \\\"c\\\"\"", "abc"},
        {GRAMMARS_REGEX, "\"x{3}\"", "xxx"},
        {GRAMMARS_CHOICE, "[\"only this\"]", "only this"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct guide *guide = compile(g, cases[i].kind, cases[i].value);
        expect_text(constrain(g, guide), cases[i].text);
        guide_unref(guide);
    }
    guide_unref(compile(g, GRAMMARS_OBJECT, NULL));
    grammars_free(g);
}

static void what_cannot_be_compiled_is_refused(void **state)
{
    (void)state;
    struct grammars *g = open_grammars();
    static const struct {
        enum grammars_kind kind;
        const char *value, *code;
    } cases[] = {
        {GRAMMARS_SCHEMA, "{\"type\": 5}", "schema_invalid"},
        {GRAMMARS_GBNF, "\"root ::= (\"", "grammar_malformed"},
        {GRAMMARS_GBNF, "\"\"", NULL},
        {GRAMMARS_REGEX, "\"(\"", "regex_malformed"},
        {GRAMMARS_CHOICE, "[]", "choice_malformed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct guide *guide = NULL;
        struct err e;
        json_t *value = json_loads(cases[i].value, JSON_DECODE_ANY, NULL);
        assert_int_equal(grammars_compile(g, cases[i].kind, value, &guide, &e), -1);
        if (cases[i].code)
            assert_string_equal(e.code, cases[i].code);
        json_decref(value);
    }
    grammars_free(g);
}

/* The same source is the same guide, until so many others were asked for. */
static void guides_are_kept_by_content(void **state)
{
    (void)state;
    struct grammars *g = open_grammars();
    struct guide *first = compile(g, GRAMMARS_REGEX, "\"a\""), *again = compile(g, GRAMMARS_REGEX, "\"a\"");
    struct guide *choice = compile(g, GRAMMARS_CHOICE, "[\"a\"]");
    assert_ptr_equal(first, again);
    assert_ptr_not_equal(first, choice); /* written alike, but of another kind */
    for (int i = 0; i < 3 * GRAMMARS_KEPT; i++) {
        char text[32];
        snprintf(text, sizeof text, "\"b{%d}\"", i + 1);
        guide_unref(compile(g, GRAMMARS_REGEX, text));
        if (i < GRAMMARS_KEPT) { /* asked for in between, so it is not the oldest */
            struct guide *kept = compile(g, GRAMMARS_REGEX, "\"a\"");
            assert_ptr_equal(kept, first);
            guide_unref(kept);
        }
    }
    struct guide *anew = compile(g, GRAMMARS_REGEX, "\"a\"");
    assert_ptr_not_equal(anew, first); /* forgotten: `first` is still held here */
    expect_text(constrain(g, first), "a");
    guide_unref(first);
    guide_unref(again);
    guide_unref(choice);
    guide_unref(anew);
    grammars_free(g);
}

static void a_copy_goes_its_own_way(void **state)
{
    (void)state;
    struct grammars *g = open_grammars();
    struct guide *guide = compile(g, GRAMMARS_REGEX, "\"xyz\"");
    struct constraint *c = constrain(g, guide), *early = c->copy(c);
    struct constraint_mask mask;
    struct err e;
    guide_unref(guide); /* a constraint holds what it needs */
    assert_non_null(early);
    assert_int_equal(c->mask(c, &mask, &e), 0);
    assert_int_equal(c->accept(c, mask.first, &e), 0);
    struct constraint *late = c->copy(c);
    assert_non_null(late);
    expect_text(early, "xyz");
    int32_t wrong = EOS;
    assert_int_equal(late->accept(late, wrong, &e), -1);
    assert_string_equal(e.code, "token_not_allowed");
    for (bool complete = false; !complete;) {
        assert_int_equal(late->mask(late, &mask, &e), 0);
        complete = mask.ends_only;
        if (!complete)
            assert_int_equal(late->accept(late, mask.first, &e), 0);
    }
    late->free(late);
    c->free(c);
    grammars_free(g);
}

static void *compile_many(void *arg)
{
    struct grammars *g = arg;
    for (int i = 0; i < 60; i++) {
        char text[32];
        struct guide *guide;
        struct err e;
        snprintf(text, sizeof text, "c{%d}", i % (GRAMMARS_KEPT + 4) + 1);
        json_t *value = json_string(text);
        if (grammars_compile(g, GRAMMARS_REGEX, value, &guide, &e) != 0)
            abort();
        guide_unref(guide);
        json_decref(value);
    }
    return NULL;
}

static void threads_compile_side_by_side(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    struct grammars *g = open_grammars();
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, compile_many, g), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    grammars_free(g);
}

static int open_tokenizer(void **state)
{
    (void)state;
    struct err e;
    return tokenizer_open(&tokenizer, "tests/fixtures/models/llama", TOKENIZER_OF_FILE, &e);
}

static int close_tokenizer(void **state)
{
    (void)state;
    tokenizer_close(tokenizer);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_is_compiled),       cmocka_unit_test(what_cannot_be_compiled_is_refused),
        cmocka_unit_test(guides_are_kept_by_content),   cmocka_unit_test(a_copy_goes_its_own_way),
        cmocka_unit_test(threads_compile_side_by_side),
    };
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}

/* Grammars in GBNF, and choices: which texts match, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/grammar/choice.h"
#include "core/grammar/gbnf.h"
#include "tests/unit/core/grammar/matching.h"

static void check(const char *name, struct automaton *a, const char *const *texts, bool expected)
{
    for (int i = 0; texts[i]; i++)
        if (matching_whole(a, texts[i], strlen(texts[i])) != expected)
            fail_msg("%s and %s", name, texts[i]);
}

static void texts_match(void **state)
{
    (void)state;
    static const struct {
        const char *grammar, *match[8], *other[8];
    } cases[] = {
        {"root ::= \"a\" b*\nb ::= [x-z]\n", {"a", "axyz"}, {"", "ab", "xa"}},
        {"# comment\nroot::=(\"yes\"|\"no\") \".\"? # more\n", {"yes", "no."}, {"yesno", "yes.."}},
        {"root ::=\n  \"a\"\n  | \"b\"\n  | c\nc ::= \"c\" (\n  \"d\"\n  | \"e\"\n)*",
         {"a", "b", "c", "cded"},
         {"d"}},
        {"root ::= \"a\" |\n \"b\"\n", {"a", "b"}, {"ab", ""}},
        {"root ::= [^\"\\n]+ \"\\x41\\u00e9\\U0001F600\\\"\"", {"ab\x41\xc3\xa9\xf0\x9f\x98\x80\""}, {"ab"}},
        {"root ::= \"a\"{2} \"b\"{1,} \"c\"{0,2} \"d\"{,1}", {"aab", "aabbccd"}, {"ab", "aabccc", "aabdd"}},
        {"root ::= . .", {"ab", "\n\xc3\xa9"}, {"a", "abc"}},
        {"root ::= [a-z\\]\\-]+ [-+]? [+-]?", {"a-]", "a+-"}, {"+", "a++-"}},
        {"root ::= expr\nexpr ::= term (\"+\" term)*\nterm ::= [0-9]+ | \"(\" expr \")\"\n",
         {"1", "1+22", "(1+(2))+3"},
         {"", "1+", "(1", "1)"}},
        {"root ::= \"a\" root | \"\"", {"", "aaaa"}, {"b"}},
        {"root ::= ( \"a\"? \"b\"? )* \"c\"", {"c", "abbac"}, {"ab"}},
        {"other_rule ::= \"x\"\r\nroot ::= other_rule\r\n", {"x"}, {"y"}},
        {"root ::= \"\"", {""}, {"a"}},
        {"root ::= unused-never | \"a\"\nunused-never ::= \"b\" unused-never\n", {"a"}, {"b", "ba"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct grammar g = {0};
        struct err e;
        if (gbnf_grammar(&g, cases[i].grammar, strlen(cases[i].grammar), &e) != 0)
            fail_msg("%s: %s", cases[i].grammar, e.message);
        struct automaton *a = matching_compile(&g);
        check(cases[i].grammar, a, cases[i].match, true);
        check(cases[i].grammar, a, cases[i].other, false);
        automaton_unref(a);
    }
}

static void what_is_wrong_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *grammar, *code, *message;
    } cases[] = {
        {"", "grammar_malformed", "no rule named root"},
        {"a ::= \"x\"", "grammar_malformed", "no rule named root"},
        {"root ::= \"x", "grammar_malformed", "line 1, column 12"},
        {"root ::= \"a\"\nroot ::= \"b\"", "grammar_malformed", "line 2"},
        {"root ::= [a", "grammar_malformed", "does not end"},
        {"root ::= [b-a]", "grammar_malformed", "before it begins"},
        {"root ::= (\"a\"", "grammar_malformed", "group does not end"},
        {"root ::= \"a\")", "grammar_malformed", "without its ("},
        {"root ::= \"a\"{3,2}", "grammar_malformed", "at most fewer"},
        {"root ::= \"a\"{x}", "grammar_malformed", "no number"},
        {"root ::= \"a\"{99999}", "grammar_malformed", "too often"},
        {"root ::= \"\\q\"", "grammar_malformed", "escape"},
        {"root ::= \"\\ud800\"", "grammar_malformed", "no character"},
        {"root ::= \"\\UFFFFFFFF\"", "grammar_malformed", "no character"},
        {"root = \"a\"", "grammar_malformed", "a rule is expected"},
        {"root ::= *", "grammar_malformed", "expected"},
        {"root ::= \"\xff\"", "grammar_malformed", "UTF-8"},
        {"root ::= a", "grammar_undefined_rule", "rule a "},
        {"root ::= root \"a\" | \"b\"", "grammar_left_recursive", "rule root"},
        {"root ::= \"x\" a\na ::= b? c\nb ::= \"b\"\nc ::= \"\" a \"z\" | \"q\"", "grammar_left_recursive",
         "rule "},
        {"root ::= \"a\" root", "grammar_empty", "no text"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct grammar g = {0};
        struct automaton *a;
        struct err e = {0};
        if (gbnf_grammar(&g, cases[i].grammar, strlen(cases[i].grammar), &e) == 0)
            assert_int_equal(automaton_compile(&a, &g, &e), -1);
        if (strcmp(e.code, cases[i].code) != 0 || !strstr(e.message, cases[i].message))
            fail_msg("%s: %s: %s", cases[i].grammar, e.code, e.message);
        grammar_fini(&g);
    }
}

/* A chain of rules in any order, each of which needs the next, is no work to speak of. */
static void many_rules_are_read(void **state)
{
    (void)state;
    struct buf text = {0};
    struct grammar g = {0};
    struct err e;
    assert_int_equal(buf_append_string(&text, "root ::= r0\n"), 0);
    for (int i = 0; i < 2000; i++)
        assert_int_equal(buf_printf(&text, "r%d ::= [a-b] r%d\n", i * 7 % 2000, i * 7 % 2000 + 1), 0);
    assert_int_equal(buf_append_string(&text, "r2000 ::= \"z\"\n"), 0);
    if (gbnf_grammar(&g, text.data, text.length, &e) != 0)
        fail_msg("%s", e.message);
    struct automaton *a = matching_compile(&g);
    char *word = malloc(2001);
    assert_non_null(word);
    memset(word, 'a', 2000);
    word[2000] = 'z';
    assert_true(matching_whole(a, word, 2001));
    free(word);
    automaton_unref(a);
    buf_fini(&text);
}

static void nesting_has_a_limit_that_leaves_a_way_out(void **state)
{
    (void)state;
    const char *text = "root ::= \"(\" root \")\" | \"x\"";
    struct grammar g = {0};
    struct err e;
    char word[2 * AUTOMATON_CALLS_MAX + 100];
    assert_int_equal(gbnf_grammar(&g, text, strlen(text), &e), 0);
    struct automaton *a = matching_compile(&g);
    memset(word, '(', sizeof word);
    size_t deepest = matching_prefix(a, word, sizeof word);
    assert_int_equal(deepest, AUTOMATON_CALLS_MAX);
    word[deepest] = 'x';
    memset(word + deepest + 1, ')', deepest);
    assert_true(matching_whole(a, word, 2 * deepest + 1));
    automaton_unref(a);
    text = "root ::= a0\n";
    struct buf deep = {0};
    assert_int_equal(buf_append_string(&deep, text), 0);
    for (int i = 0; i < 600; i++)
        assert_int_equal(buf_printf(&deep, "a%d ::= a%d \"x\"\n", i, i + 1), 0);
    assert_int_equal(buf_append_string(&deep, "a600 ::= \"y\"\n"), 0);
    assert_int_equal(gbnf_grammar(&g, deep.data, deep.length, &e), 0);
    assert_int_equal(automaton_compile(&a, &g, &e), -1);
    assert_string_equal(e.code, "grammar_too_deep");
    grammar_fini(&g);
    buf_fini(&deep);
}

static void choices(void **state)
{
    (void)state;
    static const struct choice_text texts[] = {
        {"yes", 3}, {"yesterday", 9}, {"no\n", 3}, {"yes", 3}, {"\xc3\xa9", 2}};
    struct grammar g = {0};
    struct err e;
    assert_int_equal(choice_grammar(&g, texts, 5, &e), 0);
    struct automaton *a = matching_compile(&g);
    check("choice", a, (const char *const[]){"yes", "yesterday", "no\n", "\xc3\xa9", NULL}, true);
    check("choice", a, (const char *const[]){"", "ye", "yesno", "no", "\xc3", NULL}, false);
    automaton_unref(a);
    static const struct choice_text bad[][1] = {{{"", 0}}, {{"\xff", 1}}};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(choice_grammar(&g, bad[i], 1, &e), -1);
        assert_string_equal(e.code, "choice_malformed");
        grammar_fini(&g);
    }
    assert_int_equal(choice_grammar(&g, NULL, 0, &e), -1);
    assert_string_equal(e.code, "choice_malformed");
    grammar_fini(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_match),
        cmocka_unit_test(what_is_wrong_is_told),
        cmocka_unit_test(many_rules_are_read),
        cmocka_unit_test(nesting_has_a_limit_that_leaves_a_way_out),
        cmocka_unit_test(choices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

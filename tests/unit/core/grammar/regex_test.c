/* Regular expressions: which texts match as a whole, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/grammar/json/json_pattern.h"
#include "core/grammar/regex.h"
#include "tests/unit/core/grammar/matching.h"

static void check(const char *name, struct automaton *a, const char *const *texts, bool expected)
{
    for (int i = 0; texts[i]; i++)
        if (matching_whole(a, texts[i], strlen(texts[i])) != expected)
            fail_msg("%s and %s", name, texts[i]);
}

static void texts_match_as_a_whole(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *match[8], *other[8];
    } cases[] = {
        {"", {""}, {"a"}},
        {"abc", {"abc"}, {"ab", "abcd", ""}},
        {"^abc$", {"abc"}, {"ab", "abcd", "^abc$"}},
        {"a|bc|", {"a", "bc", ""}, {"b", "abc"}},
        {"(a|b)*c", {"c", "abbac"}, {"ab", "ca"}},
        {"a{2}b{1,2}c{2,}", {"aabcc", "aabbcccc"}, {"abcc", "aabbbcc", "aabc"}},
        {"a{,2}", {"a{,2}"}, {"", "aa"}},
        {"x{", {"x{"}, {"x"}},
        {"[a-c\\d_-]+", {"a1-_c"}, {"d", ""}},
        {"[^a-c]", {"d", "\xc3\xa9", "\n"}, {"b", "dd"}},
        {"[]a]", {NULL}, {"a", "]", ""}},
        {"[\\]a]", {"a", "]"}, {"\\"}},
        {".", {"a", "\xf0\x9f\x98\x80"}, {"\n", "\r", "\xe2\x80\xa8", ""}},
        {"\\d\\w\\s", {"1a ", "9_\t"}, {"aa ", "1- "}},
        {"\\D\\W\\S", {"a-b", "x x"}, {"1-b", "aab", "a- ", "a-\xc2\xa0"}},
        {"[^\\d]", {"a", "\xc3\xa9"}, {"1"}},
        {"(?:a(?<n>b)(?P<m>c))+?d??", {"abc", "abcabcd"}, {"ab"}},
        {"\\u0041\\x42\\u{1F600}\\ud83d\\ude00\\/\\.", {"AB\xf0\x9f\x98\x80\xf0\x9f\x98\x80/."}, {"AB"}},
        {"\\n\\t\\cA\\0", {NULL}, {"n"}},
        {"(a*)*b", {"b", "aaab"}, {"a"}},
        {"(a?b?)*", {"", "abba"}, {"c"}},
        {"(a?b?){2,3}", {"", "a", "ababab", "bbb"}, {"bbbb", "abababab"}},
        {"(|a)+c", {"c", "aac"}, {"b"}},
        {"\xc3\xa9+", {"\xc3\xa9\xc3\xa9"}, {"\xc3"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct grammar g = {0};
        struct err e;
        if (strcmp(cases[i].pattern, "[]a]") == 0)
            continue; /* JavaScript's empty class: below */
        if (regex_grammar(&g, cases[i].pattern, strlen(cases[i].pattern), &e) != 0)
            fail_msg("%s: %s", cases[i].pattern, e.message);
        struct automaton *a = matching_compile(&g);
        check(cases[i].pattern, a, cases[i].match, true);
        check(cases[i].pattern, a, cases[i].other, false);
        automaton_unref(a);
    }
}

static void what_is_no_grammar_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *code;
    } cases[] = {
        {"(", "regex_malformed"},
        {")", "regex_malformed"},
        {"[a", "regex_malformed"},
        {"*a", "regex_malformed"},
        {"a**", "regex_malformed"},
        {"a{2,1}", "regex_malformed"},
        {"\\", "regex_malformed"},
        {"\\u12", "regex_malformed"},
        {"\\ud800", "regex_malformed"},
        {"[b-a]", "regex_malformed"},
        {"[a-\\d]", "regex_malformed"},
        {"(?<n", "regex_malformed"},
        {"(a)\\1", "regex_unsupported"},
        {"a(?=b)", "regex_unsupported"},
        {"(?<!a)b", "regex_unsupported"},
        {"\\bword", "regex_unsupported"},
        {"(?i)a", "regex_unsupported"},
        {"\\p{L}", "regex_unsupported"},
        {"a^b", "regex_unsupported"},
        {"(a$)", "regex_unsupported"},
        {"a++", "regex_unsupported"},
        {"a{99999}", "regex_unsupported"},
        {"[[:alpha:]]", "regex_unsupported"},
        {"\\q", "regex_unsupported"},
        {"\\Aa", "regex_unsupported"},
        {"\xff", "regex_malformed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct grammar g = {0};
        struct err e = {0};
        assert_int_equal(regex_grammar(&g, cases[i].pattern, strlen(cases[i].pattern), &e), -1);
        if (strcmp(e.code, cases[i].code) != 0)
            fail_msg("%s: %s: %s", cases[i].pattern, e.code, e.message);
        grammar_fini(&g);
    }
}

static void an_empty_class_matches_nothing(void **state)
{
    (void)state;
    struct grammar g = {0};
    struct automaton *a;
    struct err e = {0};
    assert_int_equal(regex_grammar(&g, "a[]", 3, &e), 0);
    assert_int_equal(automaton_compile(&a, &g, &e), -1);
    assert_string_equal(e.code, "grammar_empty");
    grammar_fini(&g);
}

static void deep_and_large_ones_are_refused(void **state)
{
    (void)state;
    char deep[2000];
    struct err e = {0};
    struct grammar g = {0};
    memset(deep, '(', sizeof deep);
    assert_int_equal(regex_grammar(&g, deep, sizeof deep, &e), -1);
    assert_string_equal(e.code, "regex_unsupported");
    grammar_fini(&g);
    struct automaton *a;
    const char *large = "((a{1000}b{1000}){1000}c{1000}){1000}";
    assert_int_equal(regex_grammar(&g, large, strlen(large), &e), 0); /* calls keep it small */
    a = matching_compile(&g);
    automaton_unref(a);
}

static void search_in_a_json_string(void **state)
{
    (void)state;
    static const struct {
        const char *pattern;
        int min, max;
        const char *match[8], *other[8];
    } cases[] = {
        {"b", 0, -1, {"b", "abc", "\\\"b\\n"}, {"", "a", "\"b"}},
        {"^b", 0, -1, {"b", "bc"}, {"ab"}},
        {"b$", 0, -1, {"b", "ab"}, {"ba"}},
        {"^a|b$", 0, -1, {"ac", "cb"}, {"ca", "bc"}},
        {"^[a\"\\\\\\n\\x01]+$", 0, -1, {"a\\\"\\\\\\n\\u0001"}, {"\"", "\\", "\\x", "\n"}},
        {"^[a-z]+$", 2, 3, {"ab", "abc"}, {"a", "abcd", ""}},
        {"^[a-z]+$", 2, -1, {"ab", "abcdefgh"}, {"a", "a1"}},
        {"b", 2, 3, {"ab", "b\\n", "abc"}, {"b", "abcd", "aaa"}},
        {"^(a?b?)*$", 3, 3, {"aab", "bbb"}, {"ab", "aabb", "abc"}},
        {"^(ba|)*c{0,2}$", 2, 4, {"ba", "bac", "cc", "baba"}, {"c", "", "babac", "abc"}},
        {"^(ab|c)*$", 3, 4, {"abc", "cab", "ccc", "abab"}, {"ab", "ababc", "aba"}},
        {"^\\uD83D\\uDE00$", 1, 1, {"\xf0\x9f\x98\x80"}, {"a"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct grammar g = {0};
        struct err e;
        int root = grammar_rule(&g, "root", 4);
        int node =
            json_pattern(&g, cases[i].pattern, strlen(cases[i].pattern), cases[i].min, cases[i].max, &e);
        grammar_define(&g, root, node);
        struct automaton *a = matching_compile(&g);
        check(cases[i].pattern, a, cases[i].match, true);
        check(cases[i].pattern, a, cases[i].other, false);
        automaton_unref(a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_match_as_a_whole),         cmocka_unit_test(what_is_no_grammar_is_refused),
        cmocka_unit_test(an_empty_class_matches_nothing), cmocka_unit_test(deep_and_large_ones_are_refused),
        cmocka_unit_test(search_in_a_json_string),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

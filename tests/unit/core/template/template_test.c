/* Chat templates: what jinja2 made of them (tests/fixtures/templates), what is refused, and the bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/template/template.h"

#define CASES "tests/fixtures/templates/cases.json"

static json_t *load_cases(void)
{
    json_error_t error;
    json_t *cases = json_load_file(CASES, JSON_ALLOW_NUL, &error);
    if (!cases)
        fail_msg("%s: %s", CASES, error.text);
    return cases;
}

/* The text; or a code, *failed. */
static char *render(const char *template, size_t length, const json_t *fixed, const json_t *more,
                    bool *failed, struct err *e)
{
    struct template *t;
    struct buf out = {0};
    *failed = true;
    if (template_new(&t, template, length, e) != 0)
        return strdup(e->code);
    *failed = template_render(t, fixed, more, &out, e) != 0;
    if (*failed)
        assert_int_equal(out.length, 0);
    template_free(t);
    char *result = *failed ? strdup(e->code) : malloc(out.length + 1);
    if (!*failed) {
        memcpy(result, out.length ? out.data : "", out.length);
        result[out.length] = '\0';
    }
    buf_fini(&out);
    return result;
}

static void expect_result(const json_t *template, const json_t *fixed, const json_t *more,
                          const json_t *expected)
{
    struct err e;
    bool failed;
    const char *text = json_string_value(template);
    char *found = render(text, json_string_length(template), fixed, more, &failed, &e);
    const char *wanted = json_is_string(expected)               ? json_string_value(expected)
                         : json_object_get(expected, "invalid") ? "chat_template_unsupported"
                         : json_object_get(expected, "refused") ? "chat_refused"
                                                                : "chat_template_failed";
    if (failed == json_is_string(expected) || strcmp(found, wanted) != 0)
        fail_msg("%s\nexpected: %s\nfound: %s%s%s", text, wanted, found, failed ? ": " : "",
                 failed ? e.message : "");
    if (json_object_get(expected, "refused"))
        assert_non_null(strstr(e.message, json_string_value(json_object_get(expected, "refused"))));
    free(found);
}

static void chats_are_those_of_jinja2(void **state)
{
    (void)state;
    json_t *cases = load_cases(), *chat;
    const json_t *conversations = json_object_get(cases, "conversations");
    size_t index, count = 0;
    json_array_foreach(json_object_get(cases, "chats"), index, chat)
    {
        for (size_t i = 0; i < json_array_size(conversations); i++, count++) {
            json_t *more = json_pack("{s:O}", "messages", json_array_get(conversations, i));
            expect_result(json_object_get(chat, "template"), json_object_get(cases, "tokens"), more,
                          json_array_get(json_object_get(chat, "results"), i));
            json_decref(more);
        }
    }
    assert_true(count > 100);
    json_decref(cases);
}

static void expressions_and_statements_are_those_of_jinja2(void **state)
{
    (void)state;
    json_t *cases = load_cases(), *snippet;
    size_t index;
    json_array_foreach(json_object_get(cases, "snippets"), index, snippet)
    {
        expect_result(json_object_get(snippet, "template"), json_object_get(cases, "variables"), NULL,
                      json_object_get(snippet, "result"));
    }
    assert_true(index > 90);
    json_decref(cases);
}

static void expect_refused(const char *template, const json_t *variables, const char *code, const char *words)
{
    struct err e;
    bool failed;
    char *found = render(template, strlen(template), variables, NULL, &failed, &e);
    if (!failed)
        fail_msg("%.100s: %s", template, found);
    assert_string_equal(found, code);
    if (!strstr(e.message, words))
        fail_msg("%.100s: \"%s\" is not in \"%s\"", template, words, e.message);
    free(found);
}

static void what_is_not_supported_is_named_with_its_line(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"\n\n{{ x | batch(2) }}", "line 3: the filter \"batch\""},
        {"{{ x | e }}", "the filter \"e\""},
        {"{{ x | tojson(default=1) }}", "the argument \"default\" of the filter \"tojson\""},
        {"{{ x | trim(1, 2) }}", "up to 1 argument"},
        {"{{ x | selectattr }}", "needs the argument \"attribute\""},
        {"{{ x is sameas y }}", "the test \"sameas\""},
        {"{{ x.append(1) }}", "the method \"append\""},
        {"{{ x.format(1) }}", "the method \"format\""},
        {"{{ x.__class__ }}", "the attribute \"__class__\""},
        {"{{ f(*x) }}", "* and ** in calls"},
        {"{{ f(a=1, 2) }}", "without a name"},
        {"{{ f(a=1, a=2) }}", "given twice"},
        {"{{ x[1, 2] }}", "comma"},
        {"{{ cycler(1) }}", "\"cycler\""},
        {"{{ caller() }}", "\"caller\""},
        {"{{ 0x10 }}", "number"},
        {"{{ 99999999999999999999 }}", "number"},
        {"{{ '\\N{BULLET}' }}", "\\N"},
        {"{{ '\\ud800' }}", "\\u"},
        {"{{ 'a }}", "the string has no end"},
        {"{{ a", "the tag has no end"},
        {"{# a", "the comment has no end"},
        {"{% raw %}", "has no end"},
        {"{{ (1] }}", "unexpected \"]\""},
        {"{{ a ! b }}", "unexpected character \"!\""},
        {"{{ a b }}", "expected \"}}\", found \"b\""},
        {"{{ }}", "expected an expression"},
        {"{% if a %}", "{% elif %} is missing"},
        {"{% if a %}{% endfor %}", "{% endfor %} is not supported here"},
        {"{{ -2 ** n }}", "with a sign"},
        {"{{ (-2) ** n ** 2 }}", "with a sign"},
        {"{% include 'x' %}", "{% include %}"},
        {"{% call f() %}{% endcall %}", "{% call %}"},
        {"{% for x in y recursive %}{% endfor %}", "recursive"},
        {"{% break %}", "outside of a loop"},
        {"{% for x in y %}{% macro f() %}{% break %}{% endmacro %}{% endfor %}", "outside of a loop"},
        {"{% set loop = 1 %}", "\"loop\" cannot be assigned to"},
        {"{% set (a, b) = c %}", "this form of assignment"},
        {"{% macro f(a=1, b) %}{% endmacro %}", "without a default"},
        {"\xff", "UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_refused(cases[i][0], NULL, "chat_template_unsupported", cases[i][1]);
}

static void errors_name_the_line(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"\n{{ x.y }}", "line 2: \"x\" is undefined"},
        {"{{ 'a' + 1 }}", "str + int is not supported"},
        {"{{ 9223372036854775807 + 1 }}", "64 bits"},
        {"{{ 2 ** 64 }}", "64 bits"},
        {"{{ range(100001) }}", "100000"},
        {"{{ [1].count }}", "the method \"count\" of list"},
        {"{{ 'a'['format'] }}", "the method \"format\" of str"},
        {"{% set a = [[1]['append'], 'a'['zfill']] %}", "the method \"append\" of list"},
        {"{{ ('a' | safe) + 'b' }}", "\"safe\""},
        {"{{ 'a' | safe | upper }}", "\"safe\""},
        {"{{ ('a' | safe).strip() }}", "\"safe\""},
        {"{{ range(3) }}", "cannot be written"},
        {"{{ strftime_now('%Q') }}", "this format"},
        {"{% for x in [1] %}{{ loop.changed }}{% endfor %}", "loop.changed"},
        {"{{ raise_exception() }}", "needs the argument \"message\""},
        {"{{ 'Σ' | lower }}", "U+03A3"},
        {"{{ '1_0' | int }}", "cannot read"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_refused(cases[i][0], NULL, "chat_template_failed", cases[i][1]);
}

/* `begin`, `count` times `part`, `end`. */
static char *repeat(const char *begin, const char *part, size_t count, const char *end)
{
    struct buf text = {0};
    buf_append_string(&text, begin);
    for (size_t i = 0; i < count; i++)
        buf_append_string(&text, part);
    buf_append_string(&text, end);
    return text.data;
}

static void a_template_is_bounded(void **state)
{
    (void)state;
    static const struct {
        const char *begin, *part, *end, *words;
        size_t count;
    } cases[] = {
        {"{{ ", "(", "", "deep", 200000},
        {"{{ ", "[", "", "deep", 200000},
        {"{{ ", "{1:", "", "deep", 200000},
        {"{{ ", "-", "1 }}", "deep", 200000},
        {"{{ ", "not ", "1 }}", "deep", 200000},
        {"{{ 1", "+1", " }}", "deep", 200000},
        {"{{ x", ".a", " }}", "deep", 200000},
        {"{{ x", "|trim", " }}", "deep", 150000},
        {"", "{% if 1 %}", "", "deep", 100000},
        {"{{ 1", " if 1 else 1", " }}", "deep", 80000},
        {"", "x", "", "bytes", TEMPLATE_BYTES_MAX + 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = repeat(cases[i].begin, cases[i].part, cases[i].count, cases[i].end);
        expect_refused(text, NULL, "chat_template_unsupported", cases[i].words);
        free(text);
    }
}

static void a_rendering_is_bounded(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "deep"},
        {"{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}", "steps"},
        {"{% set ns = namespace(s='x') %}{% for a in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
         ""},
        {"{% set ns = namespace(s=[1]) %}{% for a in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
         ""},
        {"{{ 'x' * 999999999999 }}", "memory"},
        {"{{ 'xxxxxxxx' * 9223372036854775807 }}", "memory"},
        {"{% set ns = namespace(l=[]) %}{% for a in range(999) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l "
         "}}",
         "deep"},
        {"{% set ns = namespace(l=[]) %}{% for a in range(999) %}{% set ns.l = [ns.l] %}{% endfor %}"
         "{{ ns.l | tojson }}",
         "deep"},
        {"{% set ns = namespace(t=()) %}{% for a in range(999) %}{% set ns.t = (ns.t,) %}{% endfor %}"
         "{{ {ns.t: 1}[ns.t] }}",
         "deep"},
        {"{% set ns = namespace(t=()) %}{% for a in range(999) %}{% set ns.t = (ns.t,) %}{% endfor %}"
         "{{ ns.t in {ns.t: 1} }}",
         "deep"},
        {"{% set x = 'x' * 1000000 %}{% for a in range(9999) %}{{ x }}{% endfor %}", ""},
        {"{% set x = 'x' * 100000 %}{% for a in range(9999) %}{% set y = x | replace('x', 'yy') %}{% endfor "
         "%}",
         ""},
        {"{% set x = 'x' * 100000 %}{% for a in range(99999) %}{% if x[a] == 'y' %}{% endif %}{% endfor %}",
         ""},
        {"{% set x = ' ' * 100000 %}{% for a in range(99999) %}{% set y = x.strip() %}{% endfor %}", ""},
        {"{% for a in range(9999) %}{% set y = 'a b ' * 1000 %}{% set y = y.split() %}{% endfor %}", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_refused(cases[i][0], NULL, "chat_template_failed", cases[i][1]);
}

/* Many and long messages are no reason to fail for a template that looks at each once. */
static void much_is_rendered(void **state)
{
    (void)state;
    static const char template[] =
        "{% for m in messages %}{% if loop.index > 0 and m.role == 'user' %}{{ '<' + m['role'] + '>' + "
        "m['content'] | trim + '\n' }}{% endif %}{% endfor %}";
    json_t *many = json_array(), *variables;
    for (int i = 0; i < 4096; i++)
        json_array_append_new(many, json_pack("{s:s, s:s}", "role", "user", "content", ""));
    char *text = repeat("", "y ", 500000, "");
    json_object_set_new(json_array_get(many, 0), "content", json_string(text));
    variables = json_pack("{s:o}", "messages", many);
    struct err e;
    bool failed;
    char *found = render(template, sizeof template - 1, NULL, variables, &failed, &e);
    assert_false(failed);
    assert_int_equal(strlen(found), 4096 * 7 + 999999);
    free(found);
    free(text);
    json_decref(variables);
}

static void the_date_is_todays(void **state)
{
    (void)state;
    struct err e;
    bool failed;
    static const char template[] =
        "{{ strftime_now('%Y-%m-%d %H:%M:%S %b %B %a %A %-d %j %y %I %p %% %F %T')|length > 60 }}"
        "{{ strftime_now('%Y') | int >= 2024 }}";
    char *found = render(template, sizeof template - 1, NULL, NULL, &failed, &e);
    assert_string_equal(found, "TrueTrue");
    free(found);
}

static void expect_spans(const char *text, const char *expected)
{
    struct err e;
    struct template *t;
    struct buf out = {0}, found = {0};
    struct template_spans spans = {0};
    assert_int_equal(buf_append_string(&out, "before|"), 0);
    size_t before = out.length;
    assert_int_equal(template_new(&t, text, strlen(text), &e), 0);
    assert_int_equal(template_render_spans(t, NULL, NULL, &out, &spans, &e), 0);
    assert_int_equal(buf_reserve(&found, 1), 0);
    found.data[0] = '\0';
    for (size_t i = 0; i < spans.count; i++)
        assert_int_equal(buf_printf(&found, "[%.*s]", (int)(spans.items[i].to - spans.items[i].from),
                                    out.data + before + spans.items[i].from),
                         0);
    assert_string_equal(found.data, expected);
    template_spans_fini(&spans);
    buf_fini(&out);
    buf_fini(&found);
    template_free(t);
}

static void the_assistants_words_are_marked(void **state)
{
    (void)state;
    expect_spans("a{% generation %}b{% endgeneration %}c{% generation %}{{ 'd' }}{% endgeneration %}",
                 "[b][d]");
    expect_spans("{% for i in range(3) %}{% generation %}{{ i }}{% endgeneration %},{% endfor %}",
                 "[0][1][2]");
    expect_spans("{% generation %}a{% generation %}b{% endgeneration %}c{% endgeneration %}", "[abc]");
    expect_spans("{% generation %}{% endgeneration %}x", "");
    expect_spans("{% set x %}{% generation %}a{% endgeneration %}{% endset %}{{ x }}", "");
    expect_spans("{% macro m() %}{% generation %}a{% endgeneration %}{% endmacro %}{{ m() }}", "");
}

/* Whatever happens to a template, it is refused or rendered. */
static void damaged_templates_do_no_harm(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "{%",  "%}",   "{{",    "}}",     "-",    "|",    "'",    "(",    ")", "[",         "]",    ":", ".",
        "if ", "for ", "endif", "endfor", " in ", "set ", "not ", "\xc3", "~", "namespace", "loop", "0", "*"};
    json_t *cases = load_cases();
    const json_t *chats = json_object_get(cases, "chats"),
                 *conversations = json_object_get(cases, "conversations");
    uint64_t seed = 1;
    for (int round = 0; round < 3000; round++) {
        const json_t *source =
            json_object_get(json_array_get(chats, (size_t)round % json_array_size(chats)), "template");
        size_t length = json_string_length(source);
        char *text = malloc(length + 64);
        memcpy(text, json_string_value(source), length);
        for (int k = 0; k <= round % 3; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            size_t at = (seed >> 33) % length;
            const char *piece = pieces[(seed >> 13) % (sizeof pieces / sizeof *pieces)];
            size_t gone = (seed >> 8) % 5 < length - at ? (seed >> 8) % 5 : 0;
            memmove(text + at + strlen(piece), text + at + gone, length - at - gone);
            memcpy(text + at, piece, strlen(piece));
            length += strlen(piece) - gone;
        }
        struct err e;
        bool failed;
        json_t *more = json_pack("{s:O}", "messages",
                                 json_array_get(conversations, (seed >> 5) % json_array_size(conversations)));
        free(render(text, length, json_object_get(cases, "tokens"), more, &failed, &e));
        json_decref(more);
        free(text);
    }
    json_decref(cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chats_are_those_of_jinja2),
        cmocka_unit_test(expressions_and_statements_are_those_of_jinja2),
        cmocka_unit_test(what_is_not_supported_is_named_with_its_line),
        cmocka_unit_test(errors_name_the_line),
        cmocka_unit_test(a_template_is_bounded),
        cmocka_unit_test(a_rendering_is_bounded),
        cmocka_unit_test(much_is_rendered),
        cmocka_unit_test(the_date_is_todays),
        cmocka_unit_test(the_assistants_words_are_marked),
        cmocka_unit_test(damaged_templates_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

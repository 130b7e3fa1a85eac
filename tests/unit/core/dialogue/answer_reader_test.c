/* What models write is taken apart as their formats say, however the text is cut into pieces; what was found
 * only grows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/dialogue/answer_reader.h"

static bool is_tool(const void *arg, const char *name, size_t length)
{
    (void)arg;
    return (length == 4 && memcmp(name, "find", 4) == 0) || (length == 3 && memcmp(name, "add", 3) == 0);
}

/* "thoughts~words~name(arguments)..." */
static void describe(const struct answer_reader *r, struct buf *out)
{
    buf_clear(out);
    int failed = buf_append(out, r->thoughts.data, r->thoughts.length) != 0 ||
                 buf_append_string(out, "~") != 0 || buf_append(out, r->words.data, r->words.length) != 0 ||
                 buf_append_string(out, "~") != 0;
    for (int i = 0; i < answer_reader_calls(r); i++) {
        const struct call *c = &r->calls.of[i];
        failed |= buf_printf(out, "%.*s(%.*s)", (int)c->name.length, c->name.data, (int)c->arguments.length,
                             c->arguments.length ? c->arguments.data : "");
    }
    assert_false(failed);
}

struct sizes {
    size_t thoughts, words, arguments;
    int calls;
};

static struct sizes sizes_of(const struct answer_reader *r)
{
    struct sizes s = {r->thoughts.length, r->words.length, 0, answer_reader_calls(r)};
    for (int i = 0; i < s.calls; i++)
        s.arguments += r->calls.of[i].arguments.length;
    return s;
}

static void feed(struct answer_reader *r, const char *text, size_t length)
{
    struct err e;
    struct sizes before = sizes_of(r);
    assert_int_equal(answer_reader_feed(r, text, length, &e), 0);
    struct sizes after = sizes_of(r);
    assert_true(after.thoughts >= before.thoughts && after.words >= before.words &&
                after.arguments >= before.arguments && after.calls >= before.calls);
}

/* In two pieces, the first of `cut` bytes; 0: byte by byte. */
static void read_in_pieces(const struct answer_form *form, const char *text, size_t cut, struct buf *out)
{
    struct answer_reader r;
    struct err e;
    size_t length = strlen(text);
    answer_reader_init(&r, form);
    for (size_t at = 0; cut == 0 && at < length; at++)
        feed(&r, text + at, 1);
    if (cut) {
        feed(&r, text, cut);
        feed(&r, text + cut, length - cut);
    }
    assert_int_equal(answer_reader_finish(&r, &e), 0);
    describe(&r, out);
    answer_reader_fini(&r);
}

static void check(const struct answer_form *form, const char *text, const char *expected)
{
    struct buf found = {0};
    for (size_t cut = 0; cut <= strlen(text); cut++) {
        read_in_pieces(form, text, cut, &found);
        if (strcmp(found.data, expected) != 0)
            fail_msg("%s, cut at %zu: found %s, expected %s", text, cut, found.data, expected);
    }
    buf_fini(&found);
}

#define F "{\"name\": \"find\", \"arguments\": "
#define P "{\"name\": \"find\", \"parameters\": "

static void calls_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *format, *text, *expected;
    } cases[] = {
        {"hermes", "<tool_call>\n" F "{\"a\": 1}}\n</tool_call>", "~~find({\"a\": 1})"},
        {"hermes", "I look.\n\n<tool_call>\n" F "{}}\n</tool_call>\n", "~I look.~find({})"},
        {"hermes",
         "<tool_call>" F
         "{\"a\":[{}]}}</tool_call>\n<tool_call>{\"name\":\"x\",\"arguments\":{}}</tool_call>",
         "~~find({\"a\":[{}]})x({})"},
        {"hermes", "<tool_call>{\"arguments\": {\"b\": 2}, \"name\": \"find\"}</tool_call>",
         "~~find({\"b\": 2})"},
        {"hermes",
         "<tool_call>{\"name\": \"f\\u00e4\", \"id\": [1, {\"name\": \"no\"}], \"arguments\": {}, \"z\": "
         "-1e3}</tool_call>",
         "~~f\xC3\xA4({})"},
        {"hermes", "<tool_call>{\"name\": \"find\"}</tool_call> done", "~ done~find({})"},
        {"hermes", "<tool_call>" F "null}</tool_call>", "~~find({})"},
        {"hermes", "<tool_call>" F "\"{\\\"a\\\": \\\"\\\\n\\\"}\"}</tool_call>", "~~find({\"a\": \"\\n\"})"},
        /* texts that look like the end */
        {"hermes", "<tool_call>" F "{\"a\": \"}</tool_call>\\\"}\"}}</tool_call>",
         "~~find({\"a\": \"}</tool_call>\\\"}\"})"},
        /* less, or more, than a whole call */
        {"hermes", "<tool_call>" F "{\"a\": 1}\n</tool_call>b", "~b~find({\"a\": 1})"},
        {"hermes", "<tool_call>" F "{\"a\": 1}}}\n</tool_call>", "~~find({\"a\": 1})"},
        {"hermes", "<tool_call>" F "{\"a\": 1}}", "~~find({\"a\": 1})"},
        {"hermes", "<tool_call>" F "{\"a\": [1", "~~find({\"a\": [1)"},
        {"hermes", "<tool_call>" F "{a: 1}}</tool_call>", "~~find({a: 1})"},
        {"hermes", "<tool_call>[" F "{}}, {\"name\": \"add\", \"arguments\": {}}]</tool_call>",
         "~~find({})add({})"},
        {"hermes", "<tool_call>[" F "{}}, 5]</tool_call>", "~~find({})"},
        /* what is no call is words */
        {"hermes", "Hello <tool", "~Hello <tool~"},
        {"hermes", "<tool_call>Hello</tool_call>", "~<tool_call>Hello</tool_call>~"},
        {"hermes", "<tool_call>{\"name\": 5}</tool_call>", "~<tool_call>{\"name\": 5}</tool_call>~"},
        {"hermes", "<tool_call>" F "[1]}</tool_call>", "~<tool_call>" F "[1]}</tool_call>~"},
        {"hermes", "<tool_call>{\"name\": \"\", \"arguments\": {}}</tool_call>",
         "~<tool_call>{\"name\": \"\", \"arguments\": {}}</tool_call>~"},
        {"hermes", "a <tool_call> b <tool_call>" F "{}}</tool_call>", "~a <tool_call> b~find({})"},
        {"hermes", "<tool_call>\n{\"name\": \"fi", "~<tool_call>\n{\"name\": \"fi~"},
        {"hermes", "<tool_call>[]</tool_call>", "~<tool_call>[]</tool_call>~"},
        {"hermes", "  words  ", "~  words  ~"},
        {"hermes", "\n", "~\n~"},
        {"hermes", "", "~~"},

        {"llama3", P "{\"a\": 1}}", "~~find({\"a\": 1})"},
        {"llama3", "\n\n<|python_tag|>" P "{}}", "~~find({})"},
        {"llama3", "<|python_tag|>" P "{}}; {\"name\": \"other\"}", "~{\"name\": \"other\"}~find({})"},
        {"llama3", P "{}}; {\"name\": \"add\", \"parameters\": {}}", "~~find({})add({})"},
        {"llama3", "[" P "{}}, {\"name\": \"add\", \"parameters\": {}}]", "~~find({})add({})"},
        {"llama3", P "{}} is what I did", "~ is what I did~find({})"},
        {"llama3", "{\"name\": \"Ann\", \"parameters\": {}}", "~{\"name\": \"Ann\", \"parameters\": {}}~"},
        {"llama3", "{\"name\": \"Ann\"}", "~{\"name\": \"Ann\"}~"},
        {"llama3", " {\"a\": 1} ", "~ {\"a\": 1} ~"},
        {"llama3", "See: " P "{}}", "~See: " P "{}}~"},
        {"llama3", "<|python_tag|>print(1)", "~<|python_tag|>print(1)~"},

        {"mistral", "[TOOL_CALLS] [" F "{\"a\": 1}, \"id\": \"123456789\"}, " F "{}}]",
         "~~find({\"a\": 1})find({})"},
        {"mistral", "Yes.[TOOL_CALLS][" F "{\"a\": 1}}]</s>", "~Yes.</s>~find({\"a\": 1})"},
        {"mistral", "[TOOL_CALLS]add{\"a\": 1}", "~[TOOL_CALLS]add{\"a\": 1}~"},
        {"mistral-named", "[TOOL_CALLS]add[ARGS]{\"a\": {\"b\": \"}\"}}[TOOL_CALLS]find[CALL_ID]abc[ARGS]{}",
         "~~add({\"a\": {\"b\": \"}\"}})find({})"},
        {"mistral-named", "[TOOL_CALLS]add{\"a\": 1} done", "~ done~add({\"a\": 1})"},
        {"mistral-named", "[TOOL_CALLS][" F "{}}]", "~~find({})"},
        {"mistral-named", "[TOOL_CALLS]add", "~[TOOL_CALLS]add~"},
        {"mistral-named", "[TOOL_CALLS] {\"a\": 1}", "~[TOOL_CALLS] {\"a\": 1}~"},
        {"granite", "<|tool_call|>[{\"arguments\": {\"a\": 1}, \"name\": \"find\"}]", "~~find({\"a\": 1})"},
        {"phi4", "<|tool_call|>[" F "{}}]<|/tool_call|>.", "~.~find({})"},
        {"nemotron", "<TOOLCALL>[" F "{}}]</TOOLCALL>", "~~find({})"},
        {"command",
         "<|START_ACTION|>[{\"tool_call_id\": \"0\", \"tool_name\": \"find\", \"parameters\": "
         "{}}]<|END_ACTION|>",
         "~~find({})"},
        {"deepseek",
         "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>find\n```json\n{\"a\": "
         "1}\n```<｜tool▁call▁end｜>\n"
         "<｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n```json\n{}\n```<｜tool▁call▁end｜><"
         "｜tool▁calls▁end｜>",
         "~~find({\"a\": 1})add({})"},
        {"deepseek-plain",
         "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>find<｜tool▁sep｜>{\"a\": "
         "1}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
         "~~find({\"a\": 1})"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct answer_form form = {.calls = call_format_named(cases[i].format, strlen(cases[i].format)),
                                   .is_tool = is_tool};
        assert_non_null(form.calls);
        check(&form, cases[i].text, cases[i].expected);
    }
}

static void thoughts_are_read(void **state)
{
    (void)state;
    static const struct {
        bool thinking;
        const char *text, *expected;
    } cases[] = {
        {false, "<think>\nHm.\n\nYes.\n</think>\n\nHello\n", "Hm.\n\nYes.~Hello\n~"},
        {false, "\n<think>Hm</think>", "Hm~~"},
        {false, "<think>\n\n</think>\n\nHello", "~Hello~"},
        {false, "<think></think> Hello", "~ Hello~"},
        {false, "<think>Hm </thin", "Hm </thin~~"},
        {false, "<think>\nHm\n", "Hm~~"},
        {false, "<thing> is", "~<thing> is~"},
        {false, "A <think>b</think>", "~A <think>b</think>~"},
        {false, "A </think> b ", "~A </think> b ~"},
        {false, "<think>a</think><think>b</think>", "a~<think>b</think>~"},
        {true, "Hm\n</think>\nHello", "Hm~Hello~"},
        {true, "</think>\n\nHello", "~Hello~"},
        {true, "Hm", "Hm~~"},
        {false, "<think>I find.</think>\n\n<tool_call>" F "{}}</tool_call>", "I find.~~find({})"},
        {true, "<tool_call>" F "{}}</tool_call></think>So:\n<tool_call>" F "{}}</tool_call>\n",
         "<tool_call>" F "{}}</tool_call>~So:~find({})"},
    };
    const char *template = "<think></think>";
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct answer_form form = {.calls = call_format_named("hermes", 6),
                                   .thoughts = thought_format_of(template, strlen(template)),
                                   .thinking = cases[i].thinking};
        check(&form, cases[i].text, cases[i].expected);
        if (!strstr(cases[i].text, "<tool_call>")) {
            form.calls = NULL;
            check(&form, cases[i].text, cases[i].expected);
        }
    }
}

static void reasoning_has_an_end_in_the_text(void **state)
{
    (void)state;
    const char *template = "</think>", *text = "<think>Hm</think>Hello";
    struct answer_form form = {.thoughts = thought_format_of(template, strlen(template))};
    struct answer_reader r;
    struct err e;
    answer_reader_init(&r, &form);
    feed(&r, text, strlen(text));
    assert_int_equal(answer_reader_finish(&r, &e), 0);
    assert_int_equal(r.thoughts_end, strlen("<think>Hm"));
    answer_reader_fini(&r);
}

static void an_answer_has_so_many_calls_at_most(void **state)
{
    (void)state;
    struct answer_form form = {.calls = call_format_named("hermes", 6)};
    struct answer_reader r;
    struct err e;
    const char *call = "<tool_call>" F "{}}</tool_call>";
    answer_reader_init(&r, &form);
    for (int i = 0; i < CALL_SCAN_COUNT_MAX + 2; i++)
        feed(&r, call, strlen(call));
    assert_int_equal(answer_reader_finish(&r, &e), 0);
    assert_int_equal(answer_reader_calls(&r), CALL_SCAN_COUNT_MAX);
    assert_int_equal(r.words.length, 2 * strlen(call));
    answer_reader_fini(&r);
}

/* What was there before each call, and what of the text behind it: whoever shows them in order needs it. */
static void calls_know_their_place(void **state)
{
    (void)state;
    const char *text =
        "I look.\n<tool_call>" F "{}}</tool_call> and <tool_call>" F "{\"a\": 1}}</tool_call>.";
    struct answer_form form = {.calls = call_format_named("hermes", 6)};
    for (size_t cut = 1; cut <= strlen(text); cut++) {
        struct answer_reader r;
        struct err e;
        answer_reader_init(&r, &form);
        feed(&r, text, cut);
        feed(&r, text + cut, strlen(text) - cut);
        assert_int_equal(answer_reader_finish(&r, &e), 0);
        const struct call *first = &r.calls.of[0], *second = &r.calls.of[1];
        assert_int_equal(answer_reader_calls(&r), 2);
        assert_int_equal(first->words, strlen("I look."));
        assert_int_equal(second->words, strlen("I look. and"));
        assert_string_equal(text + second->end, ".");
        assert_memory_equal(text + first->end, " and <", 6);
        assert_memory_equal(text + first->begin, "<tool_call>", 11);
        assert_ptr_equal(text + second->begin, strstr(text, " and ") + 5);
        assert_false(r.cut);
        answer_reader_fini(&r);
    }
}

static void an_answer_may_end_within_a_call(void **state)
{
    (void)state;
    const char *text = "<tool_call>" F "{\"a\": 1}}</tool_call>";
    struct answer_form form = {.calls = call_format_named("hermes", 6)};
    size_t arguments = strlen("<tool_call>" F), end = strlen("<tool_call>" F "{\"a\": 1}}");
    for (size_t length = 1; length <= strlen(text); length++) {
        struct answer_reader r;
        struct err e;
        answer_reader_init(&r, &form);
        feed(&r, text, length);
        assert_int_equal(answer_reader_finish(&r, &e), 0);
        assert_int_equal(answer_reader_calls(&r), length > arguments);
        assert_int_equal(r.cut, length > arguments && length < end);
        answer_reader_fini(&r);
    }
}

static void formats_are_recognized(void **state)
{
    (void)state;
    static const struct {
        const char *template, *name;
    } cases[] = {
        {"{{ '<tool_call>\\n{\"name\": ' }}", "hermes"},
        {"'<|python_tag|>'", "llama3"},
        {"Respond in the format {\"name\": function name, \"parameters\": dictionary of", "llama3"},
        {"[TOOL_CALLS] [AVAILABLE_TOOLS]", "mistral"},
        {"[TOOL_CALLS]name[ARGS]", "mistral-named"},
        {"respond with <|tool_call|> followed by", "granite"},
        {"<|tool_call|><|/tool_call|>", "phi4"},
        {"<TOOLCALL>", "nemotron"},
        {"<|START_ACTION|>", "command"},
        {"<｜tool▁call▁begin｜>' + type + '<｜tool▁sep｜>' + '\\n' + '```json'", "deepseek"},
        {"<｜tool▁call▁begin｜>", "deepseek-plain"},
        {"<|im_start|>", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct call_format *f = call_format_of(cases[i].template, strlen(cases[i].template));
        if (!cases[i].name)
            assert_null(f);
        else
            assert_string_equal(f->name, cases[i].name);
    }
    char names[256];
    call_format_names(names, sizeof names);
    assert_string_equal(names,
                        "mistral-named, mistral, phi4, granite, deepseek, deepseek-plain, nemotron, command, "
                        "hermes, llama3, json");
    assert_null(call_format_named("herme", 5));
}

static void prompts_may_end_within_thoughts(void **state)
{
    (void)state;
    const struct thought_format *f = thought_format_of("</think>", 8);
    assert_null(thought_format_of("<think>", 7));
    assert_true(thought_format_begun(f, "a<think>\n", 9));
    assert_false(thought_format_begun(f, "<think>a", 8));
    assert_false(thought_format_begun(f, "think>", 6));
    assert_true(thought_format_over(f, "<think>\n\n</think>\n\n", 19));
    assert_false(thought_format_over(f, "<think>\n", 8));
    assert_false(thought_format_over(f, "", 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_are_read),
        cmocka_unit_test(thoughts_are_read),
        cmocka_unit_test(reasoning_has_an_end_in_the_text),
        cmocka_unit_test(an_answer_has_so_many_calls_at_most),
        cmocka_unit_test(calls_know_their_place),
        cmocka_unit_test(an_answer_may_end_within_a_call),
        cmocka_unit_test(formats_are_recognized),
        cmocka_unit_test(prompts_may_end_within_thoughts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

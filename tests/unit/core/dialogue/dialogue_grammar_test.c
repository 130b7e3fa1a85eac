/* What a grammar of calls takes, and that it is what the reader finds: for each format the texts that a model
 * may write are calls of the tools with arguments under their schemas, and no others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/dialogue/answer_reader.h"
#include "core/dialogue/dialogue_grammar.h"
#include "tests/unit/core/grammar/matching.h"

struct tools {
    json_t *find, *stop;
    struct dialogue_tool of[2];
};

static void open_tools(struct tools *t)
{
    t->find = json_loads("{\"type\": \"object\", \"properties\": {\"q\": {\"type\": \"integer\"}},"
                         "\"required\": [\"q\"]}",
                         0, NULL);
    t->stop =
        json_loads("{\"type\": \"object\", \"properties\": {}, \"additionalProperties\": false}", 0, NULL);
    t->of[0] = (struct dialogue_tool){"find", t->find};
    t->of[1] = (struct dialogue_tool){"stop", t->stop};
}

static void close_tools(struct tools *t)
{
    json_decref(t->find);
    json_decref(t->stop);
}

static struct automaton *compile(struct dialogue_plan plan, const char *content)
{
    struct grammar g = {0};
    struct err e;
    int root = grammar_rule(&g, "", 0);
    plan.formed = content != NULL;
    if (content)
        plan.content = grammar_string(&g, content);
    int node = dialogue_grammar(&g, &plan, &e);
    assert_int_not_equal(node, GRAMMAR_BAD);
    grammar_define(&g, root, node);
    return matching_compile(&g);
}

static void expect(const struct automaton *a, const char *text, bool whole)
{
    if (matching_whole(a, text, strlen(text)) != whole)
        fail_msg("%s %s", text, whole ? "does not match" : "matches");
}

/* With "[TOOL_CALLS]" and "[ARGS]" as special tokens, as their models have them. */
static bool is_special(const void *arg, const char *mark)
{
    (void)arg;
    return strcmp(mark, "[TOOL_CALLS]") == 0 || strcmp(mark, "[ARGS]") == 0;
}

#define H "<tool_call>{\"name\": \"find\", \"arguments\": {\"q\": 1}}</tool_call>"
#define S "<tool_call>{\"name\": \"stop\", \"arguments\": {}}</tool_call>"
#define T "\xFF[TOOL_CALLS]"

static void calls_are_those_of_the_format(void **state)
{
    (void)state;
    static const struct {
        const char *format, *text;
        bool several, whole;
    } cases[] = {
        {"hermes", H, false, true},
        {"hermes", S, false, true},
        {"hermes", H "\n" S, true, true},
        {"hermes", H "\n" S, false, false},
        {"hermes", "", true, false},
        {"hermes", " " H, true, false},
        {"hermes", "<tool_call>{\"name\": \"find\", \"arguments\": {}}</tool_call>", true, false},
        {"hermes", "<tool_call>{\"name\": \"fin\", \"arguments\": {}}</tool_call>", true, false},
        {"llama3",
         "{\"name\": \"find\", \"parameters\": {\"q\": 1}}; {\"name\": \"stop\", \"parameters\": {}}", true,
         true},
        {"llama3", "{\"name\": \"stop\", \"arguments\": {}}", true, false},
        {"json", "{\"name\": \"stop\", \"arguments\": {}}", true, true},
        {"mistral",
         T "[{\"name\": \"find\", \"arguments\": {\"q\": 1}}, {\"name\": \"stop\", \"arguments\": {}}]", true,
         true},
        {"mistral", "[TOOL_CALLS][{\"name\": \"stop\", \"arguments\": {}}]", true, false},
        {"mistral-named", T "find\xFF[ARGS]{\"q\": 1}" T "stop\xFF[ARGS]{}", true, true},
        {"granite", "<|tool_call|>[{\"name\": \"stop\", \"arguments\": {}}]", false, true},
        {"phi4", "<|tool_call|>[{\"name\": \"stop\", \"arguments\": {}}]<|/tool_call|>", true, true},
        {"command", "<|START_ACTION|>[{\"tool_name\": \"stop\", \"parameters\": {}}]<|END_ACTION|>", true,
         true},
        {"deepseek",
         "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>find\n```json\n{\"q\": "
         "1}\n```<｜tool▁call▁end｜>\n"
         "<｜tool▁call▁begin｜>function<｜tool▁sep｜>stop\n```json\n{}\n```<｜tool▁call▁end｜><"
         "｜tool▁calls▁end｜>",
         true, true},
        {"deepseek-plain",
         "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>stop<｜tool▁sep｜>{}<｜tool▁call▁end｜><"
         "｜tool▁calls▁end｜>",
         true, true},
    };
    struct tools tools;
    open_tools(&tools);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dialogue_plan plan = {.calls = call_format_named(cases[i].format, strlen(cases[i].format)),
                                     .must = true,
                                     .several = cases[i].several,
                                     .tools = tools.of,
                                     .tool_count = 2,
                                     .is_special = is_special};
        struct automaton *a = compile(plan, NULL);
        expect(a, cases[i].text, cases[i].whole);
        automaton_unref(a);
    }
    close_tools(&tools);
}

static void an_answer_may_call_or_say_something(void **state)
{
    (void)state;
    static const struct {
        const char *format, *content, *text;
        bool whole;
    } cases[] = {
        {"hermes", NULL, "", true},
        {"hermes", NULL, "Hello <tool_cal>", true},
        {"hermes", NULL, "Hello\n" H, true},
        {"hermes", NULL, "<<tool_call><tool_call" H, false},
        {"hermes", NULL, "<<tool_cal<tool_call" H, true},
        {"hermes", NULL, "a<tool_call>b", false},
        {"hermes", NULL, H " and more", false},
        {"hermes", "yes", "yes", true},
        {"hermes", "yes", H, true},
        {"hermes", "yes", "yes" H, false},
        {"hermes", "yes", "no", false},
        {"llama3", NULL, "Hello {\"a\": 1}", true},
        {"llama3", NULL, "  ", true},
        {"llama3", NULL, "", true},
        {"llama3", NULL, " {\"a\": 1}", false},
        {"llama3", NULL, "{\"name\": \"stop\", \"parameters\": {}}", true},
        {"mistral", NULL, "Hello [TOOL_CALLS]", true},
        {"mistral", NULL, "Hello" T "[{\"name\": \"stop\", \"arguments\": {}}]", true},
        {"deepseek", NULL, "Hello <｜tool▁calls▁", true},
        {"deepseek", NULL, "Hello <｜tool▁calls▁begin｜>", false},
    };
    struct tools tools;
    open_tools(&tools);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dialogue_plan plan = {.calls = call_format_named(cases[i].format, strlen(cases[i].format)),
                                     .tools = tools.of,
                                     .tool_count = 2,
                                     .is_special = is_special};
        struct automaton *a = compile(plan, cases[i].content);
        expect(a, cases[i].text, cases[i].whole);
        automaton_unref(a);
    }
    close_tools(&tools);
}

static void thoughts_come_first(void **state)
{
    (void)state;
    static const struct {
        bool thinking;
        const char *text;
        bool whole;
    } cases[] = {
        {false, "yes", true},
        {false, "<think>\nHm </thinc </</think>\n\nyes", true},
        {false, "<think></think>yes", true},
        {false, "<think>yes", false},
        {false, "Hm</think>yes", false},
        {false, "<think>a</think><think>b</think>yes", false},
        {true, "Hm</think>\nyes", true},
        {true, "</think>yes", true},
        {true, "yes", false},
        {true, "Hm</think>", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dialogue_plan plan = {.thoughts = thought_format_named("<think>"),
                                     .thinking = cases[i].thinking};
        struct automaton *a = compile(plan, "yes");
        expect(a, cases[i].text, cases[i].whole);
        automaton_unref(a);
    }
}

static void a_schema_that_is_refused_names_its_tool(void **state)
{
    (void)state;
    json_t *schema = json_loads("{\"type\": \"object\", \"not\": {}}", 0, NULL);
    struct dialogue_tool tool = {"odd", schema};
    struct dialogue_plan plan = {
        .calls = call_format_named("hermes", 6), .must = true, .tools = &tool, .tool_count = 1};
    struct grammar g = {0};
    struct err e = {0};
    assert_int_equal(dialogue_grammar(&g, &plan, &e), GRAMMAR_BAD);
    assert_string_equal(e.code, "schema_unsupported");
    assert_non_null(strstr(e.message, "tool \"odd\": "));
    assert_non_null(strstr(e.message, "\"not\""));
    grammar_fini(&g);
    json_decref(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_are_those_of_the_format),
        cmocka_unit_test(an_answer_may_call_or_say_something),
        cmocka_unit_test(thoughts_come_first),
        cmocka_unit_test(a_schema_that_is_refused_names_its_tool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

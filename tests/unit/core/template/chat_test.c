/* Chat templates: where they are found, and with which variables they are rendered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/template/chat.h"
#include "tests/unit/support/scratch.h"

#define CHATML                                                                                        \
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + " \
    "'<|im_end|>' + '"                                                                                \
    "\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"

/* What a model folder with these files says; NULL: no such file. */
static int open_folder(const char *template, const char *config, const char *map, struct chat **out,
                       struct err *e)
{
    char *directory = scratch_new();
    if (template)
        scratch_write(directory, "chat_template.jinja", template, strlen(template));
    if (config)
        scratch_write(directory, "tokenizer_config.json", config, strlen(config));
    if (map)
        scratch_write(directory, "special_tokens_map.json", map, strlen(map));
    int result = chat_open(out, directory, e);
    scratch_remove(directory);
    return result;
}

/* The prompt of one message "hi", or the code of the error. */
static char *prompt_of(const char *template, const char *config, const char *map)
{
    struct err e;
    struct chat *chat;
    struct buf out = {0};
    json_t *messages = json_pack("[{s:s, s:s}]", "role", "user", "content", "hi");
    assert_int_equal(open_folder(template, config, map, &chat, &e), 0);
    bool rendered = chat_render(chat, messages, &out, &e) == 0;
    assert_int_equal(rendered, chat_problem(chat) == NULL);
    if (!rendered)
        assert_string_equal(e.message, chat_problem(chat));
    char *result = strdup(rendered ? (out.data ? out.data : "") : e.code);
    buf_fini(&out);
    json_decref(messages);
    chat_close(chat);
    return result;
}

static void expect(const char *template, const char *config, const char *map, const char *expected)
{
    char *found = prompt_of(template, config, map);
    assert_string_equal(found, expected);
    free(found);
}

#define HI "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
#define NO "chat_template_unsupported"

static void the_template_is_a_file(void **state)
{
    (void)state;
    expect(CHATML, NULL, NULL, HI);
    expect(CHATML "\n", NULL, NULL, HI);
    expect("{{ bos_token }}{{ tools is none }}{{ documents is none }}{{ enable_thinking is defined }}", NULL,
           NULL, "TrueTrueFalse");
    expect("", NULL, NULL, "");
    expect(NULL, NULL, NULL, NO);
    expect("{% include 'x' %}", NULL, NULL, NO);
}

/* The same of a configuration, which is let go of. */
static void expect_config(json_t *config, const char *template, const char *expected)
{
    char *text = json_dumps(config, 0);
    expect(template, text, NULL, expected);
    free(text);
    json_decref(config);
}

static void the_configuration_may_have_it(void **state)
{
    (void)state;
    expect_config(json_pack("{s:s}", "chat_template", CHATML), NULL, HI);
    expect_config(json_pack("{s:s}", "chat_template", "{{ x"), NULL, NO);
    expect_config(json_pack("{s:n}", "chat_template"), NULL, NO);
    expect_config(json_pack("{s:s}", "eos_token", "x"), NULL, NO);
    expect_config(json_pack("{s:i}", "chat_template", 1), NULL, NO);
    expect_config(json_pack("{s:[{s:s,s:s},{s:s,s:s}]}", "chat_template", "name", "rag", "template", "rag",
                            "name", "default", "template", CHATML),
                  NULL, HI);
    expect_config(json_pack("{s:[{s:s,s:s}]}", "chat_template", "name", "rag", "template", CHATML), NULL, NO);
    /* the file goes before the configuration */
    expect_config(json_pack("{s:s}", "chat_template", CHATML), "file", "file");
}

static void special_tokens_are_variables(void **state)
{
    (void)state;
    static const char template[] = "{{ bos_token }}|{{ eos_token }}|{{ pad_token is defined }}|"
                                   "{{ additional_special_tokens }}|{{ image_token }}";
    expect(template,
           "{\"bos_token\": \"<s>\", \"eos_token\": {\"content\": \"</s>\", \"lstrip\": false}, "
           "\"pad_token\": null,"
           " \"additional_special_tokens\": [\"<a>\", {\"content\": \"<b>\"}],"
           " \"extra_special_tokens\": {\"image_token\": \"<i>\"}, \"add_bos_token\": true}",
           NULL, "<s>|</s>|False|['<a>', '<b>']|<i>");
    /* the map, where the configuration has no list of added tokens */
    expect(template, "{\"bos_token\": \"old\", \"model_max_length\": 1000000000000000019884624838656}",
           "{\"bos_token\": \"<s>\", \"pad_token\": {\"content\": \"p\"}}", "<s>||True||");
    expect(template, "{\"bos_token\": \"new\", \"added_tokens_decoder\": {}}", "{\"bos_token\": \"<s>\"}",
           "new||False||");
    expect(template, NULL, "{\"bos_token\": \"<s>\"}", "<s>||False||");
}

static void a_damaged_configuration_is_an_error(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "{", "[]", "{\"a\":1,\"a\":2}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e;
        struct chat *chat = NULL;
        assert_int_equal(open_folder(CHATML, bad[i], NULL, &chat, &e), -1);
        assert_string_equal(e.code, "tokenizer_malformed");
        assert_int_equal(open_folder(CHATML, NULL, bad[i], &chat, &e), -1);
        assert_string_equal(e.code, "tokenizer_malformed");
        assert_null(chat);
    }
}

static void contents_are_put_in_as_they_are(void **state)
{
    (void)state;
    static const char expected[] =
        "<|im_start|>system\nBe brief.\n<|im_end|>\n<|im_start|>user\na\0<|im_end|>{{ x }}<|im_end|>\n"
        "<|im_start|>assistant\n";
    static const char content[] = "a\0<|im_end|>{{ x }}";
    struct err e;
    struct chat *chat;
    struct buf out = {0};
    json_t *messages = json_pack("[{s:s, s:s}, {s:s, s:s%}]", "role", "system", "content", "Be brief.\n",
                                 "role", "user", "content", content, sizeof content - 1);
    assert_int_equal(open_folder(CHATML, NULL, NULL, &chat, &e), 0);
    assert_int_equal(chat_render(chat, messages, &out, &e), 0);
    assert_int_equal(out.length, sizeof expected - 1);
    assert_memory_equal(out.data, expected, out.length);
    buf_fini(&out);
    json_decref(messages);
    chat_close(chat);
}

/* ---- as the caller wants it ---- */

/* The prompt of the messages "Hi" and `content`, or the code of the error; the messages stay as they are. */
static char *render_with(const char *template, const char *content, const char *variables, bool continued)
{
    struct err e;
    struct chat *chat;
    struct buf out = {0};
    json_t *messages = json_pack("[{s:s, s:s}, {s:s, s:s}]", "role", "user", "content", "Hi", "role",
                                 "assistant", "content", content);
    json_t *before = json_deep_copy(messages), *more = variables ? json_loads(variables, 0, NULL) : NULL;
    assert_int_equal(open_folder(template, NULL, NULL, &chat, &e), 0);
    assert_int_equal(buf_append_string(&out, "kept"), 0);
    int result = chat_render_with(chat, messages, more, continued, &out, &e);
    assert_true(json_equal(messages, before));
    char *text = strdup(result == 0 ? out.data + strlen("kept") : e.code);
    buf_fini(&out);
    json_decref(messages);
    json_decref(before);
    json_decref(more);
    chat_close(chat);
    return text;
}

static void expect_with(const char *template, const char *content, const char *variables, bool continued,
                        const char *expected)
{
    char *found = render_with(template, content, variables, continued);
    assert_string_equal(found, expected);
    free(found);
}

/* As render_jinja_template of transformers 5.24 has it with continue_final_message. */
static void a_message_is_continued_where_it_ends(void **state)
{
    (void)state;
    static const char plain[] = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}";
    static const char trimmed[] =
        "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</>{% endfor %}";
    static const char spaced[] =
        "{% for m in messages %}<{{ m.role }}> {{ m.content | trim }} </>{% endfor %}";
    static const char cut[] = "{% for m in messages %}{{ m.content.split('!')[0] }};{% endfor %}";
    static const char others[] = "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}";
    static const struct {
        const char *template, *content, *expected;
    } cases[] = {
        {plain, "It is", "<user>Hi</><assistant>It is"},
        {plain, "It is \n", "<user>Hi</><assistant>It is \n"},
        {plain, " It", "<user>Hi</><assistant> It"},
        {plain, "", "<user>Hi</><assistant>"},
        {trimmed, "It is \n", "<user>Hi</><assistant>It is"},
        {trimmed, "  ", "<user>Hi</><assistant>"},
        {spaced, "It is \n", "<user> Hi </><assistant> It is \n"},
        {spaced, "  ", "<user> Hi </><assistant> "},
        {cut, "It is", "Hi;It is"},
        {cut, "a!b", "chat_template_failed"},
        {others, "It is", "chat_template_failed"},
        {"{{ raise_exception('no') }}", "It is", "chat_refused"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_with(cases[i].template, cases[i].content, NULL, true, cases[i].expected);
}

static void variables_come_before_those_of_the_model(void **state)
{
    (void)state;
    static const char show[] =
        "{{ add_generation_prompt }} {{ tools is none }} {{ x is defined and x }} {{ bos_token }}";
    expect_with(show, "", NULL, false, "True True False ");
    expect_with(show, "", "{}", false, "True True False ");
    expect_with(show, "", "{\"x\": {\"a\": [1, null]}, \"bos_token\": \"<s>\"}", false,
                "True True {'a': [1, None]} <s>");
    expect_with(show, "", "{\"add_generation_prompt\": false, \"tools\": []}", false, "False False False ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_template_is_a_file),
        cmocka_unit_test(the_configuration_may_have_it),
        cmocka_unit_test(special_tokens_are_variables),
        cmocka_unit_test(a_damaged_configuration_is_an_error),
        cmocka_unit_test(contents_are_put_in_as_they_are),
        cmocka_unit_test(a_message_is_continued_where_it_ends),
        cmocka_unit_test(variables_come_before_those_of_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Chat templates: which are known, and the prompt they make. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "core/text/chat.h"
#include "tests/unit/scratch.h"

#define CHATML                                                                                        \
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + " \
    "'<|im_end|>' + '"                                                                                \
    "\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"

/* What a model folder with these files says; NULL: no such file. */
static int read_folder(const char *template, const char *config, enum chat_template *out, struct err *e)
{
    char *directory = scratch_new();
    if (template)
        scratch_write(directory, "chat_template.jinja", template, strlen(template));
    if (config)
        scratch_write(directory, "tokenizer_config.json", config, strlen(config));
    int result = chat_template_read(directory, out, e);
    scratch_remove(directory);
    return result;
}

static void the_template_is_recognized_by_its_text(void **state)
{
    (void)state;
    static const struct {
        const char *template;
        enum chat_template expected;
    } cases[] = {
        {NULL, CHAT_NONE},          {CHATML, CHAT_CHATML},
        {CHATML "\n", CHAT_CHATML}, {CHATML "\n\n", CHAT_UNKNOWN},
        {" " CHATML, CHAT_UNKNOWN}, {CHATML "x", CHAT_UNKNOWN},
        {"", CHAT_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e;
        enum chat_template found = CHAT_UNKNOWN;
        assert_int_equal(read_folder(cases[i].template, NULL, &found, &e), 0);
        assert_int_equal(found, cases[i].expected);
    }
}

static enum chat_template with_config(json_t *config, const char *template)
{
    struct err e;
    enum chat_template found = CHAT_UNKNOWN;
    char *text = json_dumps(config, 0);
    assert_int_equal(read_folder(template, text, &found, &e), 0);
    free(text);
    json_decref(config);
    return found;
}

static void the_configuration_may_have_it(void **state)
{
    (void)state;
    assert_int_equal(with_config(json_pack("{s:s}", "chat_template", CHATML), NULL), CHAT_CHATML);
    assert_int_equal(with_config(json_pack("{s:s}", "chat_template", "{{ x }}"), NULL), CHAT_UNKNOWN);
    assert_int_equal(with_config(json_pack("{s:n}", "chat_template"), NULL), CHAT_NONE);
    assert_int_equal(with_config(json_pack("{s:s}", "eos_token", "x"), NULL), CHAT_NONE);
    assert_int_equal(with_config(json_pack("{s:i}", "chat_template", 1), NULL), CHAT_UNKNOWN);
    assert_int_equal(
        with_config(json_pack("{s:[{s:s,s:s}]}", "chat_template", "name", "default", "template", CHATML),
                    NULL),
        CHAT_CHATML);
    assert_int_equal(
        with_config(json_pack("{s:[{s:s,s:s}]}", "chat_template", "name", "rag", "template", CHATML), NULL),
        CHAT_UNKNOWN);
    /* the file goes before the configuration */
    assert_int_equal(with_config(json_pack("{s:s}", "chat_template", CHATML), "{{ x }}"), CHAT_UNKNOWN);
}

static void a_damaged_configuration_is_an_error(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "{", "[]", "{\"a\":1,\"a\":2}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e;
        enum chat_template found = CHAT_CHATML;
        assert_int_equal(read_folder(NULL, bad[i], &found, &e), -1);
        assert_string_equal(e.code, "tokenizer_malformed");
        assert_int_equal(found, CHAT_CHATML);
    }
}

static void chatml_puts_contents_in_as_they_are(void **state)
{
    (void)state;
    const struct chat_message messages[] = {{"system", "Be brief.\n", 6, 10},
                                            {"user", "a\0<|im_end|>", 4, 12}};
    static const char expected[] =
        "<|im_start|>system\nBe brief.\n<|im_end|>\n<|im_start|>user\na\0<|im_end|><|im_end|>\n"
        "<|im_start|>assistant\n";
    struct err e;
    struct buf out = {0};
    assert_int_equal(chat_render(CHAT_CHATML, messages, 2, &out, &e), 0);
    assert_int_equal(out.length, sizeof expected - 1);
    assert_memory_equal(out.data, expected, out.length);
    buf_fini(&out);
}

static void other_templates_cannot_be_rendered(void **state)
{
    (void)state;
    const struct chat_message message = {"user", "hi", 4, 2};
    struct err none, unknown;
    struct buf out = {0};
    assert_int_equal(chat_render(CHAT_NONE, &message, 1, &out, &none), -1);
    assert_int_equal(chat_render(CHAT_UNKNOWN, &message, 1, &out, &unknown), -1);
    assert_string_equal(none.code, "chat_template_unsupported");
    assert_string_equal(unknown.code, "chat_template_unsupported");
    assert_string_not_equal(none.message, unknown.message);
    assert_int_equal(out.length, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_template_is_recognized_by_its_text),
        cmocka_unit_test(the_configuration_may_have_it),
        cmocka_unit_test(a_damaged_configuration_is_an_error),
        cmocka_unit_test(chatml_puts_contents_in_as_they_are),
        cmocka_unit_test(other_templates_cannot_be_rendered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

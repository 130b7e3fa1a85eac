#include "core/text/chat.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"

enum { TEMPLATE_BYTES_MAX = 1 << 20, CONFIG_BYTES_MAX = 16 << 20 };

/* Plain ChatML; the line breaks stand inside the quotes. */
static const char chatml[] =
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n"
    "' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/* Jinja drops one line break at the end of a template. */
static enum chat_template recognize(const char *text, size_t length)
{
    if (length > 0 && text[length - 1] == '\n')
        length--;
    return length == sizeof chatml - 1 && memcmp(text, chatml, length) == 0 ? CHAT_CHATML : CHAT_UNKNOWN;
}

/* The field is one template, or a list of {"name", "template"} of which "default" is meant. */
static enum chat_template recognize_field(json_t *field)
{
    if (!field || json_is_null(field))
        return CHAT_NONE;
    if (json_is_string(field))
        return recognize(json_string_value(field), json_string_length(field));
    size_t index;
    json_t *entry;
    json_array_foreach(field, index, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "name"));
        json_t *template = json_object_get(entry, "template");
        if (name && strcmp(name, "default") == 0 && json_is_string(template))
            return recognize(json_string_value(template), json_string_length(template));
    }
    return CHAT_UNKNOWN;
}

static int read_template_file(const char *path, enum chat_template *out, struct err *e)
{
    struct buf text = {0};
    int result = file_read(path, TEMPLATE_BYTES_MAX, &text, e);
    if (result == 0)
        *out = recognize(text.data, text.length);
    buf_fini(&text);
    return result;
}

static int read_config_file(const char *path, enum chat_template *out, struct err *e)
{
    struct buf text = {0};
    json_error_t error;
    if (file_read(path, CONFIG_BYTES_MAX, &text, e) != 0) {
        buf_fini(&text);
        return -1;
    }
    json_t *config = json_loadb(text.data, text.length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    buf_fini(&text);
    if (!json_is_object(config)) {
        json_decref(config);
        return err_set(e, "tokenizer_malformed", "%s, line %d: %s", path, config ? 1 : error.line,
                       config ? "expected an object" : error.text);
    }
    *out = recognize_field(json_object_get(config, "chat_template"));
    json_decref(config);
    return 0;
}

int chat_template_read(const char *directory, enum chat_template *out, struct err *e)
{
    char *template = file_join(directory, "chat_template.jinja");
    char *config = file_join(directory, "tokenizer_config.json");
    enum chat_template found = CHAT_NONE;
    int result = 0;
    if (!template || !config)
        result = err_memory(e);
    else if (file_exists(template))
        result = read_template_file(template, &found, e);
    else if (file_exists(config))
        result = read_config_file(config, &found, e);
    free(template);
    free(config);
    if (result == 0)
        *out = found;
    return result;
}

static bool append_message(struct buf *out, const struct chat_message *m)
{
    return buf_append_string(out, "<|im_start|>") == 0 && buf_append(out, m->role, m->role_length) == 0 &&
           buf_append_string(out, "\n") == 0 && buf_append(out, m->content, m->content_length) == 0 &&
           buf_append_string(out, "<|im_end|>\n") == 0;
}

int chat_render(enum chat_template t, const struct chat_message *messages, size_t count, struct buf *out,
                struct err *e)
{
    if (t == CHAT_NONE)
        return err_set(e, "chat_template_unsupported",
                       "the model has no chat template: send a prompt, not messages");
    if (t != CHAT_CHATML)
        return err_set(
            e, "chat_template_unsupported",
            "the model's chat template is not supported: only plain ChatML is, send a prompt instead");
    size_t before = out->length;
    bool done = true;
    for (size_t i = 0; i < count && done; i++)
        done = append_message(out, &messages[i]);
    if (done && buf_append_string(out, "<|im_start|>assistant\n") == 0)
        return 0;
    out->length = before;
    return err_memory(e);
}

#include "core/template/chat.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/sha256.h"
#include "core/format/json_file.h"
#include "core/system/file.h"
#include "core/template/template.h"

enum {
    CONFIG_BYTES_MAX = 16 << 20,
    /* a length without limit is written as 10^30 */
    JSON_FLAGS = JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL
};

struct chat {
    struct template *template;    /* NULL: see problem */
    bool borrowed;                /* it is another chat's; otherwise owned */
    uint8_t digest[SHA256_BYTES]; /* of its text; zeros: there is none */
    struct buf source;            /* its text; owned unless borrowed */
    json_t *variables;            /* owned: those that are the same in each prompt */
    struct err problem;
};

/* ---- the special tokens ---- */

/* A token is a string or an object with its "content". */
static const json_t *token_text(const json_t *value)
{
    if (json_is_object(value))
        value = json_object_get(value, "content");
    return json_is_string(value) && json_string_length(value) > 0 ? value : NULL;
}

static int add_token(json_t *variables, const char *name, const json_t *value)
{
    const json_t *text = token_text(value);
    return text ? json_object_set(variables, name, (json_t *)text) : 0;
}

static int add_list(json_t *variables, const char *name, const json_t *value)
{
    json_t *list = json_array();
    int result = list ? 0 : -1;
    for (size_t i = 0; i < json_array_size(value) && result == 0; i++) {
        const json_t *text = token_text(json_array_get(value, i));
        if (text)
            result = json_array_append(list, (json_t *)text);
    }
    if (result == 0 && json_array_size(list) > 0)
        result = json_object_set(variables, name, list);
    json_decref(list);
    return result;
}

/* The tokens of an object of either file. */
static int add_tokens(json_t *variables, const json_t *from)
{
    static const char *const names[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                        "pad_token", "cls_token", "mask_token"};
    const char *key;
    json_t *value;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (add_token(variables, names[i], json_object_get(from, names[i])) != 0)
            return -1;
    json_object_foreach(json_object_get(from, "extra_special_tokens"), key, value)
    {
        if (add_token(variables, key, value) != 0)
            return -1;
    }
    return add_list(variables, "additional_special_tokens",
                    json_object_get(from, "additional_special_tokens"));
}

/* ---- the files ---- */

static int read_json(const char *directory, const char *name, json_t **out, struct err *e)
{
    const struct json_file f = {
        .name = name, .code = "tokenizer_malformed", .bytes_max = CONFIG_BYTES_MAX, .flags = JSON_FLAGS};
    return json_file_read(&f, directory, false, out, e);
}

/* The text of chat_template.jinja: 1, or 0 where there is none. */
static int read_template_file(const char *directory, struct buf *out, struct err *e)
{
    char *path = file_join(directory, "chat_template.jinja");
    int result = !path ? err_memory(e) : !file_exists(path) ? 0 : 1;
    if (result == 1 && file_read(path, TEMPLATE_BYTES_MAX, out, e) != 0)
        result = -1;
    free(path);
    return result;
}

/* The field is one template, or a list of {"name", "template"} of which "default" is meant. */
static const json_t *find_template(const json_t *config)
{
    const json_t *field = json_object_get(config, "chat_template");
    size_t index;
    json_t *entry;
    json_array_foreach(field, index, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "name"));
        if (name && strcmp(name, "default") == 0)
            return json_object_get(entry, "template");
    }
    return field;
}

/* ---- opening ---- */

/* Whatever is wrong with the template itself is kept for those who send messages. */
static int compile(struct chat *c, const char *text, size_t length, struct err *e)
{
    sha256_of(text, length, c->digest);
    if (buf_append(&c->source, text, length) != 0)
        return err_memory(e);
    if (template_new(&c->template, text, length, &c->problem) == 0)
        return 0;
    if (strcmp(c->problem.code, "chat_template_unsupported") == 0)
        return 0;
    *e = c->problem;
    return -1;
}

/* That of the field of tokenizer_config.json. */
static int compile_field(struct chat *c, const json_t *template, struct err *e)
{
    if (json_is_string(template))
        return compile(c, json_string_value(template), json_string_length(template), e);
    err_set(&c->problem, "chat_template_unsupported", "%s",
            template && !json_is_null(template)
                ? "the model's chat template is neither a text nor a list with a \"default\""
                : "the model has no chat template");
    return 0;
}

static int open_template(struct chat *c, const char *directory, const json_t *config, struct err *e)
{
    struct buf text = {0};
    int result = read_template_file(directory, &text, e);
    if (result == 1)
        result = compile(c, text.data ? text.data : "", text.length, e);
    else if (result == 0)
        result = compile_field(c, find_template(config), e);
    buf_fini(&text);
    return result;
}

/* As in transformers, the map counts for older configurations, which do not list their added tokens. */
static int open_variables(struct chat *c, const json_t *config, const json_t *map, struct err *e)
{
    c->variables = json_pack("{s:n, s:n, s:b}", "tools", "documents", "add_generation_prompt", 1);
    if (!c->variables || add_tokens(c->variables, config) != 0 ||
        (!json_object_get(config, "added_tokens_decoder") && add_tokens(c->variables, map) != 0))
        return err_memory(e);
    return 0;
}

int chat_open(struct chat **out, const char *directory, struct err *e)
{
    json_t *config = NULL, *map = NULL;
    struct chat *c = calloc(1, sizeof *c);
    int result = c ? 0 : err_memory(e);
    if (result != 0 || read_json(directory, "tokenizer_config.json", &config, e) != 0 ||
        read_json(directory, "special_tokens_map.json", &map, e) != 0 ||
        open_variables(c, config, map, e) != 0 || open_template(c, directory, config, e) != 0)
        result = -1;
    json_decref(config);
    json_decref(map);
    if (result == 0)
        *out = c;
    else
        chat_close(c);
    return result;
}

void chat_close(struct chat *c)
{
    if (!c)
        return;
    if (!c->borrowed) {
        template_free(c->template);
        buf_fini(&c->source);
    }
    json_decref(c->variables);
    free(c);
}

/* ---- of an adapter ---- */

static int derive_template(struct chat *c, const struct chat *base, const json_t *config, const char *text,
                           size_t length, struct err *e)
{
    const json_t *field = find_template(config);
    if (text)
        return compile(c, text, length, e);
    if (field && !json_is_null(field))
        return compile_field(c, field, e);
    c->template = base->template;
    c->borrowed = true;
    c->source = base->source;
    c->problem = base->problem;
    memcpy(c->digest, base->digest, sizeof c->digest);
    return 0;
}

int chat_derive(struct chat **out, const struct chat *base, const json_t *config, const char *text,
                size_t length, struct err *e)
{
    struct chat *c = calloc(1, sizeof *c);
    if (!c)
        return err_memory(e);
    c->variables = json_copy(base->variables);
    if (!c->variables || add_tokens(c->variables, config) != 0) {
        chat_close(c);
        return err_memory(e);
    }
    if (derive_template(c, base, config, text, length, e) != 0) {
        chat_close(c);
        return -1;
    }
    *out = c;
    return 0;
}

bool chat_same(const struct chat *a, const struct chat *b)
{
    return memcmp(a->digest, b->digest, sizeof a->digest) == 0 && json_equal(a->variables, b->variables);
}

const char *chat_source(const struct chat *c, size_t *length)
{
    *length = c->source.length;
    return c->source.data ? c->source.data : "";
}

const char *chat_special(const struct chat *c, const char *name)
{
    return json_string_value(json_object_get(c->variables, name));
}

const char *chat_problem(const struct chat *c)
{
    return c->template ? NULL : c->problem.message;
}

const char *chat_special_token(const struct chat *c, const char *name)
{
    return json_string_value(json_object_get(c->variables, name));
}

/* ---- rendering ---- */

int chat_render_spans(const struct chat *c, const json_t *messages, const json_t *variables, struct buf *out,
                      struct template_spans *spans, struct err *e)
{
    if (!c->template) {
        err_set(e, "chat_template_unsupported", "%s", c->problem.message);
        return err_hint(e, "send a prompt, not messages");
    }
    json_t *all = json_pack("{s:O}", "messages", messages);
    int result = all && (!variables || json_object_update(all, (json_t *)variables) == 0) ? 0 : err_memory(e);
    if (result == 0)
        result = template_render_spans(c->template, c->variables, all, out, spans, e);
    json_decref(all);
    return result;
}

static int render(const struct chat *c, const json_t *messages, const json_t *variables, struct buf *out,
                  struct err *e)
{
    return chat_render_spans(c, messages, variables, out, NULL, e);
}

int chat_render(const struct chat *c, const json_t *messages, struct buf *out, struct err *e)
{
    return render(c, messages, NULL, out, e);
}

/* Stands behind the content of a message that is to be continued, to be found again in what the template
 * makes of it. Templates trim contents: whether the space at its end is still there tells. */
#define MARK "\xEF\xBF\xBD the message goes on here \xEF\xBF\xBD"
#define MARK_BYTES (sizeof MARK - 1)

static bool is_space(char c) /* none of UTF-8's longer characters */
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Is the content, but for the space around it, in the text at all? */
static bool holds(const struct buf *text, size_t from, const json_t *content)
{
    const char *begin = json_string_value(content), *end = begin + json_string_length(content);
    while (begin < end && is_space(*begin))
        begin++;
    while (begin < end && is_space(end[-1]))
        end--;
    size_t length = (size_t)(end - begin);
    return length == 0 || memmem(text->data + from, text->length - from, begin, length);
}

/* Cut the text where the mark is, with the space before it where the template trims. */
static int cut_at_mark(struct buf *text, size_t from, const json_t *content, struct err *e)
{
    char *found = NULL;
    for (size_t at = from; at < text->length; at = (size_t)(found - text->data) + MARK_BYTES) {
        char *next = memmem(text->data + at, text->length - at, MARK, MARK_BYTES);
        if (!next)
            break;
        found = next;
    }
    if (!found || !holds(text, from, content))
        return err_set(e, "chat_template_failed",
                       "the chat template does not write the message that is to be continued");
    size_t end = (size_t)(found - text->data);
    bool trimmed = end + MARK_BYTES == text->length || found[MARK_BYTES] != ' ';
    while (trimmed && end > from && is_space(text->data[end - 1]))
        end--;
    text->length = end;
    text->data[end] = '\0';
    return 0;
}

/* A copy of the content with the mark behind it. */
static json_t *marked(const json_t *content)
{
    struct buf text = {0};
    json_t *result = NULL;
    if (buf_append(&text, json_string_value(content), json_string_length(content)) == 0 &&
        buf_append_string(&text, MARK " ") == 0)
        result = json_stringn(text.data, text.length);
    buf_fini(&text);
    return result;
}

int chat_render_with(const struct chat *c, json_t *messages, const json_t *variables, bool continued,
                     struct buf *out, struct err *e)
{
    json_t *last = json_array_get(messages, json_array_size(messages) - 1);
    json_t *content = json_object_get(last, "content");
    size_t before = out->length;
    if (!continued)
        return render(c, messages, variables, out, e);
    if (!json_is_string(content))
        return err_set(e, "chat_template_failed", "the last message has no content that could be continued");
    json_incref(content);
    int result = json_object_set_new(last, "content", marked(content)) == 0 ? 0 : err_memory(e);
    if (result == 0 && (result = render(c, messages, variables, out, e)) == 0)
        result = cut_at_mark(out, before, content, e);
    if (json_object_set_new(last, "content", content) != 0 && result == 0)
        result = err_memory(e);
    return result;
}

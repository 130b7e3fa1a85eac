/* The input of a language model, whichever route it comes by: texts, and messages that a chat template makes
 * a text of. What a template is given has the names and the meaning of transformers' apply_chat_template. */
#include <stdlib.h>
#include <string.h>

#include "core/template/chat.h"
#include "core/template/message.h"
#include "server/base/fields.h"
#include "server/inference/inference.h"

/* ---- texts ---- */

struct inference_prompt *inference_add_prompt(struct inference *q, struct err *e)
{
    size_t count = (size_t)q->prompt_count;
    struct inference_prompt *prompts = realloc(q->prompts, (count + 1) * sizeof *prompts);
    if (!prompts) {
        err_memory(e);
        return NULL;
    }
    q->prompts = prompts;
    prompts[q->prompt_count] = (struct inference_prompt){0};
    return &prompts[q->prompt_count++];
}

int inference_parse_prompt(struct inference *q, const json_t *body, const json_t *text, struct err *e)
{
    bool special = true;
    if (!json_is_string(text))
        return field_wrong_type(text, "prompt", "a string", e);
    if (field_bool(body, "add_special_tokens", &special, e) < 0)
        return -1;
    struct inference_prompt *p = inference_add_prompt(q, e);
    return p ? tokenizer_encode(q->tokenizer, json_string_value(text), json_string_length(text),
                                special, &p->tokens, e)
             : -1;
}

/* ---- messages ---- */

static int check_texts(const json_t *message, struct err *e)
{
    static const char *const names[] = {"name", "tool_call_id", "reasoning_content", "reasoning", "thinking"};
    const char *text;
    size_t length;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (field_string(message, names[i], JSON_BODY_BYTES_MAX, &text, &length, e) < 0)
            return -1;
    return 0;
}

static int check_calls(const json_t *message, struct err *e)
{
    json_t *calls = json_object_get(message, "tool_calls"), *one = json_object_get(message, "function_call");
    if (calls && !json_is_array(calls))
        return field_wrong_type(calls, "tool_calls", "an array of objects", e);
    for (size_t i = 0; i < json_array_size(calls); i++)
        if (!json_is_object(json_array_get(calls, i)))
            return field_wrong_type(json_array_get(calls, i), "tool_calls", "an array of objects", e);
    if (one && !json_is_object(one))
        return field_wrong_type(one, "function_call", "an object", e);
    return 0;
}

static int read_message(json_t *message, struct err *e)
{
    static const char *const names[] = {
        "role",      "content",  "name",          "tool_calls", "tool_call_id", "reasoning_content",
        "reasoning", "thinking", "function_call", NULL};
    const char *text;
    size_t length;
    if (!json_is_object(message))
        return field_wrong_type(message, "messages", "an array of objects", e);
    if (fields_known(message, names, e) != 0)
        return -1;
    message_drop_nulls(message);
    int role = field_string(message, "role", 64, &text, &length, e);
    int content = role < 0 ? -1 : field_string(message, "content", JSON_BODY_BYTES_MAX, &text, &length, e);
    if (role < 0 || content < 0 || check_texts(message, e) != 0 || check_calls(message, e) != 0)
        return -1;
    if (role && (content || message_is_assistants(message)))
        return message_prepare(message, e);
    err_set(e, "missing_field", "each of \"messages\" needs a role and a content");
    return err_param(e, "messages");
}

static int read_messages(const json_t *list, struct err *e)
{
    if (!json_is_array(list))
        return field_wrong_type(list, "messages", "an array of objects", e);
    size_t count = json_array_size(list);
    if (count < 1 || count > INFERENCE_MESSAGES_MAX) {
        err_set(e, "out_of_range", "\"messages\" must have 1 to %d entries, found %zu",
                INFERENCE_MESSAGES_MAX, count);
        return err_param(e, "messages");
    }
    for (size_t i = 0; i < count; i++)
        if (read_message(json_array_get(list, i), e) != 0)
            return -1;
    return 0;
}

/* Templates that know no calls read the words of every message: one that has calls alone has none. */
static int add_words(const struct inference *q, const json_t *list, struct err *e)
{
    size_t length, i;
    const char *source = chat_source(inference_chat(q), &length);
    json_t *message;
    if (memmem(source, length, "tool_calls", 10))
        return 0;
    json_array_foreach(list, i, message)
    {
        if (!json_object_get(message, "content") &&
            json_object_set_new(message, "content", json_string("")) != 0)
            return err_memory(e);
    }
    return 0;
}

/* ---- variables ---- */

/* A list of objects; an empty one is none. */
static int add_objects(json_t *variables, const json_t *body, const char *name, struct err *e)
{
    json_t *list = json_object_get(body, name);
    if (!list || json_is_null(list))
        return 0;
    if (!json_is_array(list))
        return field_wrong_type(list, name, "an array of objects", e);
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!json_is_object(json_array_get(list, i)))
            return field_wrong_type(json_array_get(list, i), name, "an array of objects", e);
    if (json_array_size(list) > 0 && json_object_set(variables, name, list) != 0)
        return err_memory(e);
    return 0;
}

/* Variables of any type, under any name but that of the messages. */
static int add_variables(json_t *variables, const json_t *body, struct err *e)
{
    json_t *more = json_object_get(body, "chat_template_kwargs");
    if (!more || json_is_null(more))
        return 0;
    if (!json_is_object(more))
        return field_wrong_type(more, "chat_template_kwargs", "an object", e);
    if (json_object_get(more, "messages")) {
        err_set(e, "field_conflict", "\"chat_template_kwargs\" may not have \"messages\": they are a field");
        return err_param(e, "chat_template_kwargs");
    }
    return json_object_update(variables, more) == 0 ? 0 : err_memory(e);
}

/* *continued: the last message is not at its end. */
static int add_end(json_t *variables, const json_t *body, bool *continued, struct err *e)
{
    *continued = false;
    if (field_bool(body, "continue_final_message", continued, e) < 0)
        return -1;
    bool opened = !*continued;
    if (field_bool(body, "add_generation_prompt", &opened, e) < 0)
        return -1;
    if (opened && *continued) {
        err_set(e, "field_conflict",
                "\"continue_final_message\" and \"add_generation_prompt\" exclude each other");
        return err_param(e, "continue_final_message");
    }
    return json_object_set_new(variables, "add_generation_prompt", json_boolean(opened)) == 0 ? 0
                                                                                              : err_memory(e);
}

static json_t *read_variables(const json_t *body, bool *continued, struct err *e)
{
    json_t *variables = json_object();
    if (!variables) {
        err_memory(e);
        return NULL;
    }
    if (add_end(variables, body, continued, e) == 0 && add_objects(variables, body, "tools", e) == 0 &&
        add_objects(variables, body, "documents", e) == 0 && add_variables(variables, body, e) == 0)
        return variables;
    json_decref(variables);
    return NULL;
}

/* ---- the prompt ---- */

/* The template writes special tokens itself; more of them where they are asked for. */
static int encode(struct inference *q, const struct buf *text, const json_t *body, struct err *e)
{
    bool special = false;
    if (field_bool(body, "add_special_tokens", &special, e) < 0)
        return -1;
    struct inference_prompt *p = inference_add_prompt(q, e);
    return p ? tokenizer_encode(q->tokenizer, text->data ? text->data : "", text->length, special,
                                &p->tokens, e)
             : -1;
}

/* Where thoughts are told from words: does the answer begin within them? */
static void note_thoughts(struct inference *q, const struct buf *text)
{
    const struct thought_format *f = q->reading.form.thoughts;
    const char *prompt = text->data ? text->data : "";
    q->reading.form.thinking = f && thought_format_begun(f, prompt, text->length);
    q->reading.thoughts_over = f && thought_format_over(f, prompt, text->length);
}

const struct chat *inference_chat(const struct inference *q)
{
    return q->settings ? q->settings->chat : q->r->server->chat;
}

int inference_parse_messages(struct inference *q, json_t *body, struct err *e)
{
    json_t *list = json_object_get(body, "messages");
    bool continued;
    if (read_messages(list, e) != 0 || add_words(q, list, e) != 0)
        return -1;
    json_t *variables = read_variables(body, &continued, e);
    if (!variables)
        return -1;
    struct buf text = {0};
    int result = chat_render_with(inference_chat(q), list, variables, continued, &text, e);
    json_decref(variables);
    note_thoughts(q, &text);
    if (result == 0)
        result = encode(q, &text, body, e);
    buf_fini(&text);
    return result;
}

#include "adapters/training/dataset/messages.h"

#include <string.h>

#include "core/base/buf.h"
#include "core/template/message.h"

static const char CODE[] = "invalid_training_file";

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

bool messages_is_learnt(const json_t *message)
{
    const json_t *weight = json_object_get(message, "weight");
    return message_is_assistants(message) && (!weight || json_number_value(weight) != 0);
}

void messages_strip(json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        json_object_del(json_array_get(list, i), "weight");
}

/* ---- role and weight ---- */

static int read_role(json_t *message, struct err *e)
{
    const json_t *value = json_object_get(message, "role");
    bool known;
    if (!json_is_string(value))
        return err_set(e, CODE, value ? "the role of a message must be a text" : "a message has no role");
    if (message_know_role(message, &known, e) != 0)
        return -1;
    return known ? 0
                 : err_set(
                       e, CODE,
                       "a role may be system, developer, user, assistant, tool or function, found \"%.64s\"",
                       json_string_value(value));
}

static int check_weight(const json_t *message, struct err *e)
{
    const json_t *weight = json_object_get(message, "weight");
    double value = json_number_value(weight);
    if (!weight)
        return 0;
    if (!json_is_number(weight) || (value != 0 && value != 1))
        return err_set(e, CODE, "the weight of a message must be 0 or 1");
    if (value == 1 && !message_is_assistants(message))
        return err_set(e, CODE, "only the assistant's turns are learnt: another one has the weight 1");
    return 0;
}

/* ---- content ---- */

static int append_part(json_t *part, struct buf *text, struct err *e)
{
    const char *type = text_of(part, "type");
    const json_t *words = json_object_get(part, "text");
    if (!type)
        return err_set(e, CODE, "a part of a content must be an object with a type");
    if (strcmp(type, "text") != 0)
        return err_set(e, CODE, "parts of a content may be of the type text, found \"%.64s\"", type);
    if (!json_is_string(words))
        return err_set(e, CODE, "a part of a content has no text");
    return buf_append(text, json_string_value(words), json_string_length(words)) == 0 ? 0 : err_memory(e);
}

static int read_content(json_t *message, struct err *e)
{
    const json_t *content = json_object_get(message, "content");
    if (json_is_array(content))
        return message_join_parts(message, append_part, e);
    if (content && !json_is_string(content))
        return err_set(e, CODE, "the content of a message must be a text or a list of parts");
    if (!content && !message_is_assistants(message))
        return err_set(e, CODE, "a message has no content");
    return 0;
}

static int check_texts(const json_t *message, struct err *e)
{
    static const char *const names[] = {"name", "tool_call_id", "reasoning_content", "reasoning", "thinking"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const json_t *value = json_object_get(message, names[i]);
        if (value && !json_is_string(value))
            return err_set(e, CODE, "\"%s\" of a message must be a text", names[i]);
    }
    return 0;
}

/* ---- calls ---- */

/* OpenAI sends the arguments as a text of JSON; Hugging Face as the object that it is. */
static int check_call(const json_t *call, struct err *e)
{
    const json_t *function = json_object_get(call, "function");
    const json_t *name = json_object_get(function, "name"),
                 *arguments = json_object_get(function, "arguments");
    if (!json_is_object(function) || !json_is_string(name) || json_string_length(name) == 0)
        return err_set(e, CODE, "a tool call needs a function with a name");
    if (json_is_object(arguments))
        return 0;
    if (!json_is_string(arguments))
        return err_set(e, CODE, "the arguments of a tool call must be an object, or a text of JSON");
    json_t *read = json_loadb(json_string_value(arguments), json_string_length(arguments),
                              JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    bool is_object = json_is_object(read);
    json_decref(read);
    return is_object ? 0 : err_set(e, CODE, "the arguments of a tool call are not the text of a JSON object");
}

static int check_calls(const json_t *message, struct err *e)
{
    const json_t *calls = json_object_get(message, "tool_calls");
    if (json_object_get(message, "function_call"))
        return err_set(e, CODE, "\"function_call\" is not read: write it as one of \"tool_calls\"");
    if (!calls)
        return 0;
    if (!json_is_array(calls) || !message_is_assistants(message))
        return err_set(e, CODE, "\"tool_calls\" must be a list, of a turn of the assistant");
    for (size_t i = 0; i < json_array_size(calls); i++)
        if (check_call(json_array_get(calls, i), e) != 0)
            return -1;
    return 0;
}

/* ---- messages ---- */

static bool says_something(const json_t *message)
{
    return json_string_length(json_object_get(message, "content")) > 0 ||
           json_array_size(json_object_get(message, "tool_calls")) > 0;
}

static int read_message(json_t *message, struct err *e)
{
    if (!json_is_object(message))
        return err_set(e, CODE, "a message must be an object");
    message_drop_nulls(message);
    if (read_role(message, e) != 0 || check_weight(message, e) != 0 || read_content(message, e) != 0 ||
        check_texts(message, e) != 0 || check_calls(message, e) != 0)
        return -1;
    if (message_is_assistants(message) && !says_something(message))
        return err_set(e, CODE, "a turn of the assistant is empty: it has neither content nor tool calls");
    return message_prepare(message, e);
}

int messages_read_input(json_t *list, struct err *e)
{
    size_t count = json_array_size(list);
    if (!json_is_array(list))
        return err_set(e, CODE, "\"messages\" must be a list of objects");
    if (count < 1 || count > MESSAGES_MAX)
        return err_set(e, CODE, "\"messages\" must have 1 to %d entries, found %zu", MESSAGES_MAX, count);
    for (size_t i = 0; i < count; i++)
        if (read_message(json_array_get(list, i), e) != 0)
            return -1;
    return 0;
}

int messages_read(json_t *list, struct err *e)
{
    bool speaks = false;
    if (messages_read_input(list, e) != 0)
        return -1;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *message = json_array_get(list, i);
        if (messages_is_learnt(message))
            return 0;
        speaks = speaks || message_is_assistants(message);
    }
    return err_set(e, CODE, "there is nothing to learn: %s",
                   speaks ? "every turn of the assistant has the weight 0"
                          : "no message has the role assistant");
}

int messages_read_answer(json_t *list, const char *name, struct err *e)
{
    if (!json_is_array(list) || json_array_size(list) != 1)
        return err_set(e, CODE, "\"%s\" must be a list of one message of the assistant", name);
    json_t *message = json_array_get(list, 0);
    if (read_message(message, e) != 0)
        return -1;
    if (!messages_is_learnt(message))
        return err_set(e, CODE, "\"%s\" must be a message of the assistant%s", name,
                       message_is_assistants(message) ? " whose weight is not 0" : "");
    return 0;
}

int messages_read_tools(const json_t *tools, struct err *e)
{
    if (tools && !json_is_array(tools))
        return err_set(e, CODE, "\"tools\" must be a list of objects");
    for (size_t i = 0; i < json_array_size(tools); i++)
        if (!json_is_object(json_array_get(tools, i)))
            return err_set(e, CODE, "\"tools\" must be a list of objects");
    return 0;
}

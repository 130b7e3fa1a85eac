#include "core/template/message.h"

#include <string.h>

bool message_is_assistants(const json_t *message)
{
    const char *role = json_string_value(json_object_get(message, "role"));
    return role && strcmp(role, "assistant") == 0;
}

int message_know_role(json_t *message, bool *known, struct err *e)
{
    static const char *const roles[] = {"system", "user", "assistant", "tool", "function"};
    const json_t *value = json_object_get(message, "role");
    const char *role = json_is_string(value) ? json_string_value(value) : "";
    *known = strcmp(role, "developer") == 0;
    if (*known)
        return json_object_set_new(message, "role", json_string("system")) == 0 ? 0 : err_memory(e);
    for (size_t i = 0; i < sizeof roles / sizeof *roles && !*known; i++)
        *known = strcmp(role, roles[i]) == 0 && strlen(role) == json_string_length(value);
    return 0;
}

int message_join_parts(json_t *message, message_part_function *append, struct err *e)
{
    struct buf text = {0};
    const json_t *parts = json_object_get(message, "content");
    int result = 0;
    for (size_t i = 0; i < json_array_size(parts) && result == 0; i++)
        result = append(json_array_get(parts, i), &text, e);
    if (result == 0 &&
        json_object_set_new(message, "content", json_stringn(text.length ? text.data : "", text.length)) != 0)
        result = err_memory(e);
    buf_fini(&text);
    return result;
}

void message_drop_nulls(json_t *message)
{
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(message, next, key, value)
    {
        if (json_is_null(value))
            json_object_del(message, key);
    }
}

/* Templates write the arguments of a call as JSON; where they came as a text that is an object, they are that
 * object. Any other text is handed on. */
static int read_arguments(json_t *call, struct err *e)
{
    json_t *function = json_object_get(call, "function");
    json_t *arguments = json_object_get(json_is_object(function) ? function : call, "arguments");
    if (!json_is_string(arguments))
        return 0;
    json_t *read = json_loadb(json_string_value(arguments), json_string_length(arguments),
                              JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    if (!json_is_object(read)) {
        json_decref(read);
        return 0;
    }
    return json_object_set_new(json_is_object(function) ? function : call, "arguments", read) == 0
               ? 0
               : err_memory(e);
}

static int read_calls(const json_t *message, struct err *e)
{
    const json_t *calls = json_object_get(message, "tool_calls");
    for (size_t i = 0; i < json_array_size(calls); i++)
        if (read_arguments(json_array_get(calls, i), e) != 0)
            return -1;
    json_t *one = json_object_get(message, "function_call");
    return one ? read_arguments(one, e) : 0;
}

/* A message of the model's that called something needs no words: templates look whether there are any. One
 * that did not is empty. */
static int add_content(json_t *message, struct err *e)
{
    if (!message_is_assistants(message) || json_object_get(message, "content") ||
        json_array_size(json_object_get(message, "tool_calls")) > 0 ||
        json_object_get(message, "function_call"))
        return 0;
    return json_object_set_new(message, "content", json_string("")) == 0 ? 0 : err_memory(e);
}

/* Reasoning goes by three names; templates read the first or the second. */
static int name_reasoning(json_t *message, struct err *e)
{
    static const char *const names[] = {"reasoning_content", "thinking", "reasoning"};
    json_t *reasoning = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names && !reasoning; i++)
        reasoning = json_object_get(message, names[i]);
    if (!reasoning)
        return 0;
    if (json_object_set(message, "reasoning_content", reasoning) != 0 ||
        (!json_object_get(message, "thinking") && json_object_set(message, "thinking", reasoning) != 0))
        return err_memory(e);
    return 0;
}

int message_prepare(json_t *message, struct err *e)
{
    if (read_calls(message, e) != 0 || add_content(message, e) != 0)
        return -1;
    return name_reasoning(message, e);
}

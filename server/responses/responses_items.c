/* The input of a response as the messages of a chat. What the assistant thought, said and called one after
 * the other is one message there. */
#include <string.h>

#include "server/base/fields.h"
#include "server/responses/responses.h"

struct reading {
    json_t *messages;
    json_t *turn; /* the assistant's message that what follows may belong to; borrowed; NULL: none */
};

static int wrong(struct err *e, const char *code, const char *what, const char *found)
{
    err_set(e, code, "%s, found \"%.64s\"", what, found);
    return err_param(e, "input");
}

static int wrong_type(const json_t *found, const char *expected, struct err *e)
{
    return field_wrong_type(found, "input", expected, e);
}

/* ---- parts ---- */

struct parts {
    const char *const *types; /* that are taken, up to NULL */
    const char *said;         /* the same for messages */
};

static const char *const content_types[] = {"input_text", "output_text", "text", NULL};
static const char *const thought_types[] = {"reasoning_text", "text", NULL};
static const struct parts content_parts = {content_types,
                                           "parts of the input may be of the type input_text or output_text"};
static const struct parts thought_parts = {thought_types, "parts of thoughts are of the type reasoning_text"};

static int append_part(const struct parts *parts, json_t *part, struct buf *text, struct err *e)
{
    const char *type = "", *words = "";
    size_t length = 0, i = 0;
    if (!json_is_object(part))
        return wrong_type(part, "a string or an array of objects", e);
    if (field_text(part, "type", 64, &type, e) < 0)
        return -1;
    while (parts->types[i] && strcmp(parts->types[i], type) != 0)
        i++;
    if (!parts->types[i])
        return wrong(e, "unsupported_value", parts->said, type);
    if (openai_fields_check(part, OPENAI_ITEM_PART, e) != 0 ||
        field_string(part, "text", JSON_BODY_BYTES_MAX, &words, &length, e) < 0)
        return -1;
    return buf_append(text, words, length) == 0 ? 0 : err_memory(e);
}

/* A text, or parts that are joined with nothing between them. *out: a new reference. */
static int read_text(const struct parts *parts, json_t *value, json_t **out, struct err *e)
{
    struct buf text = {0};
    int result = 0;
    if (json_is_string(value)) {
        *out = json_incref(value);
        return 0;
    }
    if (!json_is_array(value))
        return wrong_type(value, "a string or an array of objects", e);
    for (size_t i = 0; i < json_array_size(value) && result == 0; i++)
        result = append_part(parts, json_array_get(value, i), &text, e);
    *out = result == 0 ? json_stringn(text.length ? text.data : "", text.length) : NULL;
    buf_fini(&text);
    return *out || result != 0 ? result : err_memory(e);
}

/* ---- messages ---- */

/* `message` is taken over; the next one to add is not its. */
static int add_message(struct reading *r, json_t *message, struct err *e)
{
    r->turn = NULL;
    return json_array_append_new(r->messages, message) == 0 ? 0 : err_memory(e);
}

/* `content` is taken over. */
static int add_text(struct reading *r, const char *role, json_t *content, struct err *e)
{
    return add_message(r, json_pack("{s:s, s:o}", "role", role, "content", content), e);
}

/* The assistant's turn goes on, or begins. */
static int take_turn(struct reading *r, struct err *e)
{
    if (r->turn)
        return 0;
    if (add_message(r, json_pack("{s:s}", "role", "assistant"), e) != 0)
        return -1;
    r->turn = json_array_get(r->messages, json_array_size(r->messages) - 1);
    return 0;
}

/* `value` is taken over. */
static int set_of_turn(struct reading *r, const char *name, json_t *value, struct err *e)
{
    return json_object_set_new(r->turn, name, value) == 0 ? 0 : err_memory(e);
}

/* Words begin a turn, but for those behind thoughts. */
static int add_words(struct reading *r, json_t *content, struct err *e)
{
    if (r->turn && (json_object_get(r->turn, "content") || json_object_get(r->turn, "tool_calls")))
        r->turn = NULL;
    if (take_turn(r, e) != 0) {
        json_decref(content);
        return -1;
    }
    return set_of_turn(r, "content", content, e);
}

/* ---- items ---- */

static int missing(const char *what, struct err *e)
{
    err_set(e, "missing_field", "%s", what);
    return err_param(e, "input");
}

static int read_message(struct reading *r, json_t *item, struct err *e)
{
    const char *role = "";
    json_t *value = json_object_get(item, "content"), *content;
    if (field_text(item, "role", 64, &role, e) < 0)
        return -1;
    if (!role[0] || !value)
        return missing("each message of the \"input\" needs a role and a content", e);
    if (read_text(&content_parts, value, &content, e) != 0)
        return -1;
    return strcmp(role, "assistant") == 0 ? add_words(r, content, e) : add_text(r, role, content, e);
}

static int read_call(struct reading *r, json_t *item, struct err *e)
{
    const char *name = "", *call_id = "";
    size_t length;
    json_t *arguments = json_object_get(item, "arguments"), *calls;
    if (field_string(item, "name", JSON_BODY_BYTES_MAX, &name, &length, e) < 0 ||
        field_string(item, "call_id", JSON_BODY_BYTES_MAX, &call_id, &length, e) < 0)
        return -1;
    if (!name[0] || !call_id[0] || !arguments)
        return missing("each function_call of the \"input\" needs call_id, name and arguments", e);
    if (!json_is_string(arguments))
        return wrong_type(arguments, "arguments that are a string", e);
    if (take_turn(r, e) != 0)
        return -1;
    if (!json_object_get(r->turn, "tool_calls") && set_of_turn(r, "tool_calls", json_array(), e) != 0)
        return -1;
    calls = json_object_get(r->turn, "tool_calls");
    json_t *call =
        json_pack("{s:O, s:s, s:{s:O, s:O}}", "id", json_object_get(item, "call_id"), "type", "function",
                  "function", "name", json_object_get(item, "name"), "arguments", arguments);
    return json_array_append_new(calls, call) == 0 ? 0 : err_memory(e);
}

static int read_result(struct reading *r, json_t *item, struct err *e)
{
    json_t *call_id = json_object_get(item, "call_id"), *output = json_object_get(item, "output"), *content;
    if (!json_is_string(call_id) || !output)
        return missing("each function_call_output of the \"input\" needs a call_id and an output", e);
    if (read_text(&content_parts, output, &content, e) != 0)
        return -1;
    return add_message(
        r, json_pack("{s:s, s:O, s:o}", "role", "tool", "tool_call_id", call_id, "content", content), e);
}

/* Thoughts that were told in the open go back to the template; those that were not have nothing to say. */
static int read_thoughts(struct reading *r, json_t *item, struct err *e)
{
    json_t *value = json_object_get(item, "content"), *content = NULL;
    if (!value)
        return 0;
    if (read_text(&thought_parts, value, &content, e) != 0)
        return -1;
    r->turn = NULL;
    if (json_string_length(content) > 0 && take_turn(r, e) == 0)
        return set_of_turn(r, "reasoning_content", content, e);
    json_decref(content);
    return 0;
}

static int read_item(struct reading *r, json_t *item, struct err *e)
{
    static const struct {
        const char *type;
        int (*read)(struct reading *r, json_t *item, struct err *e);
    } types[] = {{"message", read_message},
                 {"function_call", read_call},
                 {"function_call_output", read_result},
                 {"reasoning", read_thoughts}};
    const char *type = "message";
    if (!json_is_object(item))
        return wrong_type(item, "a string or an array of objects", e);
    json_t *said = json_object_get(item, "type");
    if (said && !json_is_null(said) && field_text(item, "type", 64, &type, e) < 0)
        return -1;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].type, type) == 0)
            return openai_fields_check(item, OPENAI_ITEM, e) == 0 ? types[i].read(r, item, e) : -1;
    return wrong(
        e, "unsupported_value",
        "an item of the \"input\" may be of the type message, function_call, function_call_output or "
        "reasoning",
        type);
}

static int read_input(struct reading *r, json_t *input, struct err *e)
{
    if (json_is_string(input))
        return add_text(r, "user", json_incref(input), e);
    if (!json_is_array(input))
        return wrong_type(input, "a string or an array of objects", e);
    for (size_t i = 0; i < json_array_size(input); i++)
        if (read_item(r, json_array_get(input, i), e) != 0)
            return -1;
    return 0;
}

json_t *responses_messages(json_t *input, json_t *instructions, struct err *e)
{
    struct reading r = {.messages = json_array()};
    int result = r.messages ? 0 : err_memory(e);
    if (result == 0 && instructions)
        result = add_text(&r, "system", json_incref(instructions), e);
    if (result == 0 && read_input(&r, input, e) == 0)
        return r.messages;
    json_decref(r.messages);
    return NULL;
}

/* The body of POST /v1/responses, made into that of a chat, and its route. */
#include <stdlib.h>
#include <string.h>

#include "server/base/fields.h"
#include "server/responses/responses.h"

static void free_own(void *own)
{
    struct responses *m = own;
    buf_fini(&m->head);
    free(m);
}

static int unsupported(const char *field, const char *what, const char *found, struct err *e)
{
    err_set(e, "unsupported_value", "%s, found \"%.64s\"", what, found);
    return err_param(e, field);
}

/* A new reference to what the body had, or else to `usual`, which is taken over. */
static json_t *or_else(const json_t *body, const char *name, json_t *usual)
{
    json_t *found = json_object_get(body, name);
    if (!found)
        return usual;
    json_decref(usual);
    return json_incref(found);
}

/* ---- what the answer repeats ---- */

/* Before the body is changed; what the model decides follows. NULL: memory ran out. */
static json_t *make_head(const json_t *body)
{
    json_t *reasoning = json_object_get(body, "reasoning"), *text = json_object_get(body, "text");
    json_t *shown = json_pack("{s:o}", "format", or_else(text, "format", json_pack("{s:s}", "type", "text")));
    json_t *verbosity = json_object_get(text, "verbosity");
    if (verbosity && json_object_set(shown, "verbosity", verbosity) != 0) {
        json_decref(shown);
        shown = NULL;
    }
    return json_pack(
        "{s:b, s:o, s:o, s:n, s:o, s:o, s:n, s:{s:o, s:n}, s:s, s:b, s:o, s:o, s:o, s:o, s:s, s:o}",
        "background", 0, "instructions", or_else(body, "instructions", json_null()), "max_output_tokens",
        or_else(body, "max_output_tokens", json_null()), "max_tool_calls", "metadata",
        or_else(body, "metadata", json_object()), "parallel_tool_calls",
        or_else(body, "parallel_tool_calls", json_true()), "previous_response_id", "reasoning", "effort",
        or_else(reasoning, "effort", json_null()), "summary", "service_tier", "default", "store", 0, "text",
        shown, "tool_choice", or_else(body, "tool_choice", json_string("auto")), "tools",
        or_else(body, "tools", json_array()), "top_logprobs", or_else(body, "top_logprobs", json_integer(0)),
        "truncation", "disabled", "user", or_else(body, "user", json_null()));
}

static int append(const char *bytes, size_t length, void *out)
{
    return buf_append(out, bytes, length);
}

/* As text, which is smaller: it waits for the answer. */
static int keep_head(struct inference *q, const json_t *body, json_t *head, struct err *e)
{
    struct responses *m = q->own;
    struct inference_defaults usual = openai_defaults(q, 0);
    int failed =
        json_object_set_new(head, "temperature", or_else(body, "temperature", json_real(usual.temperature)));
    failed |= json_object_set_new(head, "top_p", or_else(body, "top_p", json_real(usual.top_p)));
    if (failed || json_dump_callback(head, append, &m->head, JSON_COMPACT) != 0)
        return err_memory(e);
    q->kept_bytes = m->head.length;
    return 0;
}

/* ---- what is said in another way than in a chat ---- */

static int wrong_metadata(const char *what, struct err *e)
{
    err_set(e, "out_of_range", "%s", what);
    return err_param(e, "metadata");
}

static int check_metadata(json_t *body, struct err *e)
{
    json_t *all = json_object_get(body, "metadata"), *value;
    const char *name;
    if (!all)
        return 0;
    if (!json_is_object(all))
        return field_wrong_type(all, "metadata", "an object", e);
    if (json_object_size(all) > RESPONSES_METADATA_MAX)
        return wrong_metadata("\"metadata\" may have 16 entries at most", e);
    json_object_foreach(all, name, value)
    {
        if (!json_is_string(value))
            return field_wrong_type(value, "metadata", "an object of strings", e);
        if (strlen(name) > RESPONSES_METADATA_NAME_MAX ||
            json_string_length(value) > RESPONSES_METADATA_VALUE_MAX)
            return wrong_metadata("names in \"metadata\" have 64 bytes at most, and values 2048", e);
    }
    return 0;
}

/* Of what may be included, words alone can have any of it. */
static int read_include(const json_t *body, bool *logprobs, struct err *e)
{
    static const char *const others[] = {
        "code_interpreter_call.outputs", "computer_call_output.output.image_url",
        "file_search_call.results",      "message.input_image.image_url",
        "reasoning.encrypted_content",   "web_search_call.action.sources",
        "web_search_call.results"};
    json_t *list = json_object_get(body, "include"), *value;
    size_t i;
    if (list && !json_is_array(list))
        return field_wrong_type(list, "include", "an array of strings", e);
    json_array_foreach(list, i, value)
    {
        const char *name = json_string_value(value);
        bool known = false;
        if (!name)
            return field_wrong_type(value, "include", "an array of strings", e);
        for (size_t k = 0; k < sizeof others / sizeof *others; k++)
            known = known || strcmp(others[k], name) == 0;
        if (strcmp(name, "message.output_text.logprobs") == 0)
            *logprobs = true;
        else if (!known)
            return unsupported("include", "\"include\" names what no answer has", name, e);
    }
    return 0;
}

static int parse_logprobs(struct inference *q, const json_t *body, struct err *e)
{
    bool wanted = false;
    int64_t top = 0;
    if (read_include(body, &wanted, e) != 0 ||
        field_integer(body, "top_logprobs", 0, SAMPLING_LOGPROBS_MAX, &top, e) < 0)
        return -1;
    q->sampling.logprobs = wanted || top ? (int)top : -1;
    q->text_only = true; /* pieces of an answer come with their text */
    return 0;
}

static int want_schema(struct inference *q, const json_t *format, struct err *e)
{
    const json_t *schema = json_object_get(format, "schema");
    if (schema)
        return inference_want(q, "text", GRAMMARS_SCHEMA, schema, e);
    err_set(e, "missing_field", "a \"format\" of the type \"json_schema\" needs a schema");
    return err_param(e, "text");
}

/* {"type": "json_schema", "name", "schema", "strict"}: the schema is held whether or not it is called strict.
 */
static int want_format(struct inference *q, const json_t *format, struct err *e)
{
    static const char *const names[] = {"type", "name", "description", "schema", "strict", NULL};
    const char *type = "";
    if (!json_is_object(format))
        return field_wrong_type(format, "format", "an object", e);
    if (fields_known(format, names, e) != 0 || field_text(format, "type", 64, &type, e) < 0)
        return -1;
    if (strcmp(type, "text") == 0)
        return 0;
    if (strcmp(type, "json_object") == 0)
        return inference_want(q, "text", GRAMMARS_OBJECT, NULL, e);
    if (strcmp(type, "json_schema") == 0)
        return want_schema(q, format, e);
    return unsupported("text", "the type of a \"format\" may be text, json_object or json_schema", type, e);
}

/* What the answer has to be, and how much is to be said. */
static int parse_text(struct inference *q, json_t *body, struct err *e)
{
    json_t *text = json_object_get(body, "text"), *verbosity = json_object_get(text, "verbosity");
    const json_t *format = json_object_get(text, "format");
    if (verbosity && json_object_set(body, "verbosity", verbosity) != 0)
        return err_memory(e);
    return format ? want_format(q, format, e) : 0;
}

/* {"type": "function", "name", ...} becomes {"type": "function", "function": {"name", ...}}; what is none
 * stays as it is, and is refused where tools are read. */
static json_t *chat_tool(json_t *tool)
{
    const char *type = json_string_value(json_object_get(tool, "type"));
    if (!type || strcmp(type, "function") != 0 || json_object_get(tool, "function"))
        return json_incref(tool);
    json_t *function = json_copy(tool);
    json_object_del(function, "type");
    return json_pack("{s:s, s:o}", "type", "function", "function", function);
}

static int change_tools(json_t *body, struct err *e)
{
    json_t *tools = json_object_get(body, "tools"), *tool;
    size_t i;
    if (!json_is_array(tools))
        return 0;
    json_t *changed = json_array();
    int failed = 0;
    json_array_foreach(tools, i, tool) failed |= json_array_append_new(changed, chat_tool(tool));
    if (!failed && json_object_set_new(body, "tools", changed) == 0)
        return 0;
    if (failed)
        json_decref(changed);
    return err_memory(e);
}

static int change_input(json_t *body, struct err *e)
{
    json_t *instructions = json_object_get(body, "instructions");
    if (instructions && !json_is_string(instructions))
        return field_wrong_type(instructions, "instructions", "a string", e);
    json_t *messages = responses_messages(json_object_get(body, "input"), instructions, e);
    if (!messages)
        return -1;
    return json_object_set_new(body, "messages", messages) == 0 ? 0 : err_memory(e);
}

/* ---- the whole ---- */

/* As far as the context goes, unless it is said. */
static int parse_length(struct inference *q, const json_t *body, int64_t *out, struct err *e)
{
    *out = INFERENCE_MAX_TOKENS_MAX;
    int found = field_integer(body, "max_output_tokens", 0, INFERENCE_MAX_TOKENS_MAX, out, e);
    q->fill_context = found == 0;
    return found < 0 ? -1 : 0;
}

static int check_text(json_t *body, struct err *e)
{
    json_t *text = json_object_get(body, "text");
    if (!text)
        return 0;
    if (!json_is_object(text))
        return field_wrong_type(text, "text", "an object", e);
    return openai_fields_check(text, OPENAI_TEXT, e);
}

static int read_body(struct inference *q, json_t *body, struct err *e)
{
    int64_t max_tokens;
    if (check_metadata(body, e) != 0 || parse_length(q, body, &max_tokens, e) != 0 ||
        openai_parse_common(q, body, max_tokens, e) != 0 || parse_logprobs(q, body, e) != 0 ||
        openai_check_input(q, body, "input", e) != 0)
        return -1;
    if (change_input(body, e) != 0 || change_tools(body, e) != 0 || parse_text(q, body, e) != 0)
        return -1;
    return openai_parse_talk(q, body, e);
}

int responses_parse(struct inference *q, json_t *body, struct err *e)
{
    q->own = calloc(1, sizeof(struct responses));
    if (!q->own)
        return err_memory(e);
    q->own_free = free_own;
    if (openai_fields_check(body, OPENAI_RESPONSES, e) != 0 || check_text(body, e) != 0)
        return -1;
    json_t *head = make_head(body);
    if (!head)
        return err_memory(e);
    int result = read_body(q, body, e);
    if (result == 0)
        result = keep_head(q, body, head, e);
    json_decref(head);
    return result;
}

/* What the chat's reader calls by its own names. */
static void translate(const struct inference *q, struct err *e)
{
    openai_translate_field(q, "input", e);
    if (strcmp(e->param, "messages") == 0 && strcmp(e->code, "unknown_field") != 0)
        (void)err_param(e, "input");
}

void responses_handle(struct request *r)
{
    static const struct inference_dialect dialect = {.parse = responses_parse,
                                                     .resolve = openai_resolve,
                                                     .answer = responses_answer,
                                                     .event = responses_event,
                                                     .last_event = responses_last_event,
                                                     .first_event = responses_first_event,
                                                     .translate = translate};
    inference_run(r, &dialect);
}

/* Tools: which there are, which may or must be called, and what that makes of an answer: the form in which it
 * is taken apart, and the grammar that holds it. */
#include <string.h>

#include "server/base/fields.h"
#include "server/openai/openai.h"
#include "server/structured/dialogues.h"

/* ---- the tools ---- */

static int unsupported(const char *field, struct err *e, const char *what, const char *found)
{
    err_set(e, "unsupported_value", "%s, found \"%.64s\"", what, found);
    return err_param(e, field);
}

static int missing(const char *field, const char *what, struct err *e)
{
    err_set(e, "missing_field", "%s", what);
    return err_param(e, field);
}

/* Names stand in grammars and templates as they are. */
static int check_name(const char *name, struct err *e)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:/";
    size_t length = strlen(name);
    if (length > 0 && length <= OPENAI_TOOL_NAME_MAX && name[strspn(name, allowed)] == '\0')
        return 0;
    return unsupported("tools", e, "a tool's name has 1 to 128 letters, digits and _ - . : /", name);
}

/* The arguments are an object, whatever a schema forgets to say. *out: a new reference. */
static int read_schema(const json_t *function, json_t **out, struct err *e)
{
    static const char *const elsewhere[] = {"$ref", "allOf", "anyOf", "oneOf", "type"};
    json_t *parameters = json_object_get(function, "parameters");
    const char *type = json_string_value(json_object_get(parameters, "type"));
    bool said = false;
    if (parameters && !json_is_null(parameters) && !json_is_object(parameters))
        return field_wrong_type(parameters, "parameters", "an object", e);
    if (type && strcmp(type, "object") != 0)
        return unsupported("tools", e, "the \"parameters\" of a tool are of the type \"object\"", type);
    for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++)
        said = said || json_object_get(parameters, elsewhere[i]);
    *out = json_is_object(parameters) ? json_copy(parameters)
                                      : json_pack("{s:{}, s:b}", "properties", "additionalProperties", 0);
    if (*out && (said || json_object_set_new(*out, "type", json_string("object")) == 0))
        return 0;
    json_decref(*out);
    return err_memory(e);
}

/* OpenAI's form: {"type": "function", "function": {"name", "description", "parameters", "strict"}}. */
static int read_function(const json_t *tool, json_t **out, struct err *e)
{
    const char *type = "function";
    *out = json_object_get(tool, "function");
    if (!json_is_object(tool))
        return field_wrong_type(tool, "tools", "an array of objects", e);
    if (field_text(tool, "type", 64, &type, e) < 0)
        return -1;
    if (strcmp(type, "function") != 0)
        return unsupported("tools", e, "a tool is of the type \"function\"", type);
    return json_is_object(*out) ? 0 : missing("tools", "each of \"tools\" needs a \"function\"", e);
}

static int read_strict(const json_t *function, bool *out, struct err *e)
{
    const json_t *value = json_object_get(function, "strict");
    *out = false;
    return !value || json_is_null(value) || field_bool(function, "strict", out, e) >= 0 ? 0 : -1;
}

static int add_tool(struct inference *q, const json_t *tool, struct err *e)
{
    const char *name = "";
    bool strict;
    json_t *function, *schema = NULL;
    if (read_function(tool, &function, e) != 0 ||
        field_text(function, "name", JSON_BODY_BYTES_MAX, &name, e) < 0 || check_name(name, e) != 0 ||
        read_strict(function, &strict, e) != 0 || read_schema(function, &schema, e) != 0)
        return -1;
    json_t *entry = json_pack("{s:s, s:o, s:b}", "name", name, "schema", schema, "strict", strict);
    return json_array_append_new(q->reading.tools, entry) == 0 ? 0 : err_memory(e);
}

static int read_tools(struct inference *q, const json_t *list, struct err *e)
{
    size_t count = json_array_size(list);
    if (!json_is_array(list))
        return field_wrong_type(list, "tools", "an array of objects", e);
    if (count > DIALOGUES_TOOLS_MAX) {
        err_set(e, "out_of_range", "\"tools\" may have %d entries at most, found %zu", DIALOGUES_TOOLS_MAX,
                count);
        return err_param(e, "tools");
    }
    for (size_t i = 0; i < count; i++)
        if (add_tool(q, json_array_get(list, i), e) != 0)
            return -1;
    return 0;
}

static json_t *find_tool(const json_t *tools, const char *name, size_t length)
{
    for (size_t i = 0; i < json_array_size(tools); i++) {
        json_t *tool = json_array_get(tools, i);
        const json_t *own = json_object_get(tool, "name");
        if (json_string_length(own) == length && memcmp(json_string_value(own), name, length) == 0)
            return tool;
    }
    return NULL;
}

static bool is_tool(const void *tools, const char *name, size_t length)
{
    return find_tool(tools, name, length) != NULL;
}

/* ---- the choice among them ---- */

enum choice { CHOICE_NONE, CHOICE_AUTO, CHOICE_MUST };

static int read_mode(const char *mode, enum choice *out, struct err *e)
{
    static const char *const modes[] = {"none", "auto", "required"};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (strcmp(mode, modes[i]) == 0) {
            *out = (enum choice)i;
            return 0;
        }
    return unsupported("tool_choice", e,
                       "\"tool_choice\" may be \"none\", \"auto\", \"required\" or one tool", mode);
}

/* {"type": "function", "function": {"name"}}, or the name beside the type. */
static int allow_tool(struct inference *q, const json_t *choice, json_t *allowed, struct err *e)
{
    const json_t *function = json_object_get(choice, "function");
    const char *name = "", *type = "";
    if (field_text(choice, "type", 64, &type, e) < 0 ||
        field_text(json_is_object(function) ? function : choice, "name", JSON_BODY_BYTES_MAX, &name, e) < 0)
        return -1;
    if (strcmp(type, "function") != 0)
        return unsupported("tool_choice", e, "the type of a \"tool_choice\" may be function or allowed_tools",
                           type);
    json_t *tool = find_tool(q->reading.tools, name, strlen(name));
    if (!tool)
        return unsupported("tool_choice", e, "\"tool_choice\" names a tool that is not among \"tools\"",
                           name);
    return json_array_append(allowed, tool) == 0 ? 0 : err_memory(e);
}

/* {"type": "allowed_tools", "allowed_tools": {"mode", "tools"}}, or these beside the type. */
static int allow_tools(struct inference *q, const json_t *choice, enum choice *out, json_t *allowed,
                       struct err *e)
{
    const char *mode = "auto";
    const json_t *inner = json_object_get(choice, "allowed_tools");
    if (json_is_object(inner))
        choice = inner;
    const json_t *list = json_object_get(choice, "tools");
    if (field_text(choice, "mode", 64, &mode, e) < 0 || read_mode(mode, out, e) != 0)
        return -1;
    if (!json_is_array(list) || json_array_size(list) == 0)
        return missing("tool_choice", "a \"tool_choice\" of allowed tools needs a list of \"tools\"", e);
    for (size_t i = 0; i < json_array_size(list); i++)
        if (allow_tool(q, json_array_get(list, i), allowed, e) != 0)
            return -1;
    return 0;
}

/* `allowed` is empty where it is any of them. */
static int read_choice(struct inference *q, const json_t *body, enum choice *out, json_t *allowed,
                       struct err *e)
{
    const json_t *choice = json_object_get(body, "tool_choice");
    const char *type = json_string_value(json_object_get(choice, "type"));
    *out = CHOICE_AUTO;
    if (!choice)
        return 0;
    if (json_is_string(choice))
        return read_mode(json_string_value(choice), out, e);
    if (!json_is_object(choice))
        return field_wrong_type(choice, "tool_choice", "a string or an object", e);
    if (type && strcmp(type, "allowed_tools") == 0)
        return allow_tools(q, choice, out, allowed, e);
    *out = CHOICE_MUST;
    return allow_tool(q, choice, allowed, e);
}

/* ---- the form of the answer ---- */

static void add_mark(struct inference *q, const char *mark)
{
    const struct tokenizer *t = q->tokenizer;
    int32_t id = mark ? tokenizer_find(t, mark) : -1;
    if (id >= 0 && tokenizer_is_special(t, id) && q->reading.mark_count < OUTPUT_MARKS_MAX)
        q->reading.marks[q->reading.mark_count++] = id;
}

static void find_thoughts(struct inference *q)
{
    size_t length;
    const char *source = chat_source(inference_chat(q), &length);
    if (q->r->server->config.thoughts_unread)
        return;
    q->reading.form.thoughts = thought_format_of(source, length);
    if (q->reading.form.thoughts) {
        add_mark(q, q->reading.form.thoughts->open);
        add_mark(q, q->reading.form.thoughts->close);
    }
}

/* Where a call must come, any model can be held to one. */
static void find_calls(struct inference *q, bool must)
{
    const struct config *config = &q->r->server->config;
    const char *marks[CALL_MARKS_MAX];
    size_t length;
    const char *source = chat_source(inference_chat(q), &length);
    const struct call_format *f = config->tool_format;
    if (!f && !config->tools_unread)
        f = call_format_of(source, length);
    if (!f && must)
        f = call_format_named("json", 4);
    q->reading.form.calls = f;
    q->reading.form.is_tool = is_tool;
    q->reading.form.arg = q->reading.tools;
    for (int i = 0, count = f ? call_format_marks(f, marks) : 0; i < count; i++)
        add_mark(q, marks[i]);
}

/* ---- the grammar ---- */

static bool any_strict(const json_t *tools)
{
    for (size_t i = 0; i < json_array_size(tools); i++)
        if (json_is_true(json_object_get(json_array_get(tools, i), "strict")))
            return true;
    return false;
}

/* Those that do not ask for it are held to their schema only where one must be called. */
static void fill_tools(struct dialogue_plan *plan, struct dialogue_tool *out, const json_t *tools,
                       const json_t *any_object)
{
    plan->tools = out;
    for (; plan->tool_count < json_array_size(tools); plan->tool_count++) {
        const json_t *tool = json_array_get(tools, plan->tool_count);
        bool held = plan->must || json_is_true(json_object_get(tool, "strict"));
        out[plan->tool_count].name = json_string_value(json_object_get(tool, "name"));
        out[plan->tool_count].schema = held ? json_object_get(tool, "schema") : any_object;
    }
}

/* The plan takes the place of what was wanted of the answer, which becomes a part of it. */
static int want_plan(struct inference *q, const struct dialogue_plan *plan, struct err *e)
{
    const struct dialogues_content content = {q->structure.kind, q->structure.value};
    json_t *value = dialogues_value(plan, &content);
    if (!value)
        return err_memory(e);
    json_decref(q->structure.value);
    q->structure.value = value;
    q->structure.kind = GRAMMARS_DIALOGUE;
    if (plan->calls)
        q->structure.field = "tools";
    return 0;
}

/* A schema says what a client wants to read; a grammar, an expression or choices say what the model writes,
 * to the letter. */
static bool is_literal(const struct inference *q)
{
    enum grammars_kind kind = q->structure.kind;
    return kind != GRAMMARS_NONE && kind != GRAMMARS_OBJECT && kind != GRAMMARS_SCHEMA;
}

int openai_tools_hold(struct inference *q, const struct openai_tools *t, struct err *e)
{
    struct dialogue_tool tools[DIALOGUES_TOOLS_MAX];
    const struct answer_form *form = &q->reading.form;
    bool formed = q->structure.kind != GRAMMARS_NONE, literal = is_literal(q) && !t->must;
    bool held = t->must || formed || !t->several || t->fewer || any_strict(t->allowed);
    bool calls = form->calls && held && !literal;
    bool thoughts = form->thoughts && !q->reading.thoughts_over && (form->thinking || !literal);
    struct dialogue_plan plan = {.calls = calls ? form->calls : NULL,
                                 .must = t->must,
                                 .several = t->several,
                                 .thoughts = thoughts ? form->thoughts : NULL,
                                 .thinking = form->thinking};
    if (!calls && (!formed || !thoughts))
        return 0;
    json_t *any_object = json_pack("{s:s}", "type", "object");
    if (!any_object)
        return err_memory(e);
    if (calls)
        fill_tools(&plan, tools, t->allowed, any_object);
    int result = want_plan(q, &plan, e);
    json_decref(any_object);
    return result;
}

/* ---- the whole ---- */

static int read_all(struct inference *q, json_t *body, struct openai_tools *t, struct err *e)
{
    const json_t *list = json_object_get(body, "tools");
    enum choice choice;
    if ((list && read_tools(q, list, e) != 0) || read_choice(q, body, &choice, t->allowed, e) != 0 ||
        field_bool(body, "parallel_tool_calls", &t->several, e) < 0)
        return -1;
    if (choice == CHOICE_MUST && json_array_size(q->reading.tools) == 0)
        return unsupported("tool_choice", e, "\"tool_choice\" needs \"tools\" to choose from", "required");
    t->must = choice == CHOICE_MUST;
    t->fewer = json_array_size(t->allowed) > 0;
    if (!t->fewer && json_array_extend(t->allowed, q->reading.tools) != 0)
        return err_memory(e);
    if (choice == CHOICE_NONE)
        json_object_del(body, "tools");
    else if (json_array_size(q->reading.tools) > 0)
        find_calls(q, t->must);
    return 0;
}

int openai_tools_parse(struct inference *q, json_t *body, struct openai_tools *t, struct err *e)
{
    *t = (struct openai_tools){.allowed = json_array(), .several = true};
    q->reading.tools = json_array();
    if (!t->allowed || !q->reading.tools)
        return err_memory(e);
    find_thoughts(q);
    return read_all(q, body, t, e);
}

void openai_tools_fini(struct openai_tools *t)
{
    json_decref(t->allowed);
}

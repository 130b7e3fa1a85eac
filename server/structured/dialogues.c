#include "server/structured/dialogues.h"

#include <string.h>

static json_t *tools_value(const struct dialogue_plan *plan)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < plan->tool_count; i++) {
        json_t *tool = json_pack("{s:s, s:O}", "name", plan->tools[i].name, "schema", plan->tools[i].schema);
        if (json_array_append_new(list, tool) == 0)
            continue;
        json_decref(list);
        list = NULL;
    }
    return list;
}

json_t *dialogues_value(const struct dialogue_plan *plan, const struct dialogues_content *content)
{
    return json_pack("{s:s?, s:b, s:b, s:o, s:s?, s:b, s:i, s:O*}", "calls",
                     plan->calls ? plan->calls->name : NULL, "must", plan->must, "several", plan->several,
                     "tools", tools_value(plan), "thoughts", plan->thoughts ? plan->thoughts->open : NULL,
                     "thinking", plan->thinking, "kind", content->kind, "content", content->value);
}

void dialogues_content(const json_t *value, struct dialogues_content *out)
{
    out->kind = (int)json_integer_value(json_object_get(value, "kind"));
    out->value = json_object_get(value, "content");
}

static bool is_true(const json_t *value, const char *name)
{
    return json_is_true(json_object_get(value, name));
}

int dialogues_write(struct grammar *g, const json_t *value, int content,
                    bool (*is_special)(const void *arg, const char *mark), const void *arg, struct err *e)
{
    struct dialogue_tool tools[DIALOGUES_TOOLS_MAX];
    const json_t *list = json_object_get(value, "tools");
    const char *calls = json_string_value(json_object_get(value, "calls"));
    const char *thoughts = json_string_value(json_object_get(value, "thoughts"));
    struct dialogues_content form;
    struct dialogue_plan plan = {.calls = calls ? call_format_named(calls, strlen(calls)) : NULL,
                                 .must = is_true(value, "must"),
                                 .several = is_true(value, "several"),
                                 .tools = tools,
                                 .thoughts = thoughts ? thought_format_named(thoughts) : NULL,
                                 .thinking = is_true(value, "thinking"),
                                 .content = content,
                                 .is_special = is_special,
                                 .arg = arg};
    dialogues_content(value, &form);
    plan.formed = form.kind != 0;
    for (; plan.tool_count < json_array_size(list) && plan.tool_count < DIALOGUES_TOOLS_MAX;
         plan.tool_count++) {
        const json_t *tool = json_array_get(list, plan.tool_count);
        tools[plan.tool_count].name = json_string_value(json_object_get(tool, "name"));
        tools[plan.tool_count].schema = json_object_get(tool, "schema");
    }
    return dialogue_grammar(g, &plan, e);
}

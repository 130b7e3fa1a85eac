#include "core/dialogue/call_format.h"

#include <stdio.h>
#include <string.h>

/* In the order in which they are looked for: what is in two templates stands behind what tells them apart. */
static const struct call_format formats[] = {
    {.name = "mistral-named",
     .recognized = {"[TOOL_CALLS]", "[ARGS]"},
     .open = "[TOOL_CALLS]",
     .body = CALL_NAMED,
     .after_name = "[ARGS]",
     .short_id = true},
    {.name = "mistral",
     .recognized = {"[TOOL_CALLS]"},
     .open = "[TOOL_CALLS]",
     .body = CALL_LIST,
     .short_id = true},
    {.name = "phi4",
     .recognized = {"<|tool_call|>", "<|/tool_call|>"},
     .open = "<|tool_call|>",
     .close = "<|/tool_call|>",
     .body = CALL_LIST},
    {.name = "granite", .recognized = {"<|tool_call|>"}, .open = "<|tool_call|>", .body = CALL_LIST},
    {.name = "deepseek",
     .recognized = {"<｜tool▁call▁begin｜>", "```json"},
     .begin = "<｜tool▁calls▁begin｜>",
     .end = "<｜tool▁calls▁end｜>",
     .open = "<｜tool▁call▁begin｜>",
     .close = "<｜tool▁call▁end｜>",
     .between = "\n",
     .body = CALL_NAMED,
     .before_name = "function<｜tool▁sep｜>",
     .after_name = "\n```json\n",
     .after = "\n```"},
    {.name = "deepseek-plain",
     .recognized = {"<｜tool▁call▁begin｜>"},
     .begin = "<｜tool▁calls▁begin｜>",
     .end = "<｜tool▁calls▁end｜>",
     .open = "<｜tool▁call▁begin｜>",
     .close = "<｜tool▁call▁end｜>",
     .body = CALL_NAMED,
     .after_name = "<｜tool▁sep｜>"},
    {.name = "nemotron",
     .recognized = {"<TOOLCALL>"},
     .open = "<TOOLCALL>",
     .close = "</TOOLCALL>",
     .body = CALL_LIST},
    {.name = "command",
     .recognized = {"<|START_ACTION|>"},
     .open = "<|START_ACTION|>",
     .close = "<|END_ACTION|>",
     .body = CALL_LIST,
     .name_key = "tool_name",
     .arguments_key = "parameters"},
    {.name = "hermes",
     .recognized = {"<tool_call>"},
     .open = "<tool_call>",
     .close = "</tool_call>",
     .between = "\n",
     .body = CALL_OBJECT},
    {.name = "llama3",
     .recognized = {"<|python_tag|>"},
     .open = "<|python_tag|>",
     .between = "; ",
     .body = CALL_OBJECT,
     .arguments_key = "parameters",
     .bare = true},
    {.name = "llama3",
     .recognized = {"{\"name\": function name, \"parameters\":"},
     .open = "<|python_tag|>",
     .between = "; ",
     .body = CALL_OBJECT,
     .arguments_key = "parameters",
     .bare = true},
    /* of models that know no calls, but can be held to one by a grammar */
    {.name = "json", .between = "; ", .body = CALL_OBJECT, .bare = true},
};

/* Thoughts stand at the beginning of an answer. */
static const struct thought_format thoughts[] = {
    {"<think>", "</think>"},
    {"[THINK]", "[/THINK]"},
};

enum {
    FORMATS = sizeof formats / sizeof *formats,
    THOUGHTS = sizeof thoughts / sizeof *thoughts,
};

const struct call_format *call_format_named(const char *name, size_t length)
{
    for (size_t i = 0; i < FORMATS; i++)
        if (strlen(formats[i].name) == length && memcmp(formats[i].name, name, length) == 0)
            return &formats[i];
    return NULL;
}

static bool has(const char *text, size_t length, const char *mark)
{
    return !mark || memmem(text, length, mark, strlen(mark));
}

const struct call_format *call_format_of(const char *text, size_t length)
{
    for (size_t i = 0; i < FORMATS; i++)
        if (formats[i].recognized[0] && has(text, length, formats[i].recognized[0]) &&
            has(text, length, formats[i].recognized[1]))
            return &formats[i];
    return NULL;
}

void call_format_names(char *out, size_t size)
{
    size_t length = 0;
    out[0] = '\0';
    for (size_t i = 0; i < FORMATS && length < size; i++)
        if (i == 0 || strcmp(formats[i].name, formats[i - 1].name) != 0)
            length += (size_t)snprintf(out + length, size - length, "%s%s", i ? ", " : "", formats[i].name);
}

int call_format_marks(const struct call_format *f, const char *out[CALL_MARKS_MAX])
{
    const char *const all[CALL_MARKS_MAX] = {f->begin, f->end,         f->open,
                                             f->close, f->before_name, f->after_name};
    int count = 0;
    for (int i = 0; i < CALL_MARKS_MAX; i++)
        if (all[i])
            out[count++] = all[i];
    return count;
}

/* ---- thoughts ---- */

const struct thought_format *thought_format_of(const char *text, size_t length)
{
    for (size_t i = 0; i < THOUGHTS; i++)
        if (has(text, length, thoughts[i].close))
            return &thoughts[i];
    return NULL;
}

const struct thought_format *thought_format_named(const char *open)
{
    for (size_t i = 0; i < THOUGHTS; i++)
        if (strcmp(thoughts[i].open, open) == 0)
            return &thoughts[i];
    return NULL;
}

/* But for space at its end. */
static bool ends_with(const char *text, size_t length, const char *mark)
{
    size_t size = strlen(mark);
    while (length > 0 && strchr(" \t\r\n", text[length - 1]) && text[length - 1])
        length--;
    return length >= size && memcmp(text + length - size, mark, size) == 0;
}

bool thought_format_begun(const struct thought_format *f, const char *prompt, size_t length)
{
    return ends_with(prompt, length, f->open);
}

bool thought_format_over(const struct thought_format *f, const char *prompt, size_t length)
{
    return ends_with(prompt, length, f->close);
}

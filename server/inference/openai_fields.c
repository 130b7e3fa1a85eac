/* Which fields the bodies of OpenAI's routes may have, and which values of those that the daemon does not do.
 */
#include <string.h>

#include "server/base/fields.h"
#include "server/inference/openai.h"

/* `only`: the values that change nothing, as a JSON array; all others are refused. NULL: the parser looks at
 * it, or it cannot change the answer. null is as good as absent everywhere. */
static const struct field {
    const char *name;
    unsigned where;
    const char *only;
} fields[] = {
    {"model", OPENAI_BOTH, NULL},
    {"tenant", OPENAI_BOTH, NULL},
    {"prompt", OPENAI_COMPLETIONS, NULL},
    {"messages", OPENAI_CHAT, NULL},
    {"max_tokens", OPENAI_BOTH, NULL},
    {"max_completion_tokens", OPENAI_CHAT, NULL},
    {"temperature", OPENAI_BOTH, NULL},
    {"top_p", OPENAI_BOTH, NULL},
    {"top_k", OPENAI_BOTH, NULL},
    {"min_p", OPENAI_BOTH, NULL},
    {"seed", OPENAI_BOTH, NULL},
    {"stop", OPENAI_BOTH, NULL},
    {"ignore_eos", OPENAI_BOTH, NULL},
    {"logprobs", OPENAI_BOTH, NULL},
    {"top_logprobs", OPENAI_CHAT, NULL},
    {"echo", OPENAI_COMPLETIONS, NULL},
    {"stream", OPENAI_BOTH, NULL},
    {"stream_options", OPENAI_BOTH, NULL},
    {"user", OPENAI_BOTH, NULL},

    {"metadata", OPENAI_BOTH, NULL},
    {"parallel_tool_calls", OPENAI_CHAT, NULL},
    {"prediction", OPENAI_CHAT, NULL}, /* of the answer, to be faster */
    {"prompt_cache_key", OPENAI_BOTH, NULL},
    {"prompt_cache_retention", OPENAI_BOTH, NULL},
    {"safety_identifier", OPENAI_BOTH, NULL},
    {"service_tier", OPENAI_BOTH, NULL},
    {"store", OPENAI_BOTH, NULL},

    {"best_of", OPENAI_COMPLETIONS, "[1]"},
    {"suffix", OPENAI_COMPLETIONS, "[\"\"]"},
    {"n", OPENAI_BOTH, "[1]"},
    {"presence_penalty", OPENAI_BOTH, "[0]"},
    {"frequency_penalty", OPENAI_BOTH, "[0]"},
    {"logit_bias", OPENAI_BOTH, "[{}]"},
    {"repetition_penalty", OPENAI_BOTH, "[1]"},
    {"min_tokens", OPENAI_BOTH, "[0]"},
    {"stop_token_ids", OPENAI_BOTH, "[[]]"},
    {"skip_special_tokens", OPENAI_BOTH, "[true]"},
    {"function_call", OPENAI_CHAT, "[\"none\", \"auto\"]"},
    {"functions", OPENAI_CHAT, "[[]]"},
    {"tool_choice", OPENAI_CHAT, "[\"none\", \"auto\"]"},
    {"tools", OPENAI_CHAT, "[[]]"},
    {"modalities", OPENAI_CHAT, "[[\"text\"]]"},
    {"reasoning_effort", OPENAI_CHAT, "[\"none\"]"},
    {"response_format", OPENAI_CHAT, "[{\"type\": \"text\"}]"},
    {"verbosity", OPENAI_CHAT, "[\"medium\"]"},

    {"role", OPENAI_MESSAGE, NULL},
    {"content", OPENAI_MESSAGE, NULL},
    {"annotations", OPENAI_MESSAGE, "[[]]"},
    {"audio", OPENAI_MESSAGE, "[]"},
    {"function_call", OPENAI_MESSAGE, "[]"},
    {"name", OPENAI_MESSAGE, "[]"},
    {"refusal", OPENAI_MESSAGE, "[]"},
    {"tool_calls", OPENAI_MESSAGE, "[[]]"},

    {"type", OPENAI_PART, NULL},
    {"text", OPENAI_PART, NULL},

    {"include_usage", OPENAI_STREAM_OPTIONS, NULL},
    {"include_obfuscation", OPENAI_STREAM_OPTIONS, NULL},
};

static const struct field *find_field(const char *name, unsigned where)
{
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if ((fields[i].where & where) && strcmp(fields[i].name, name) == 0)
            return &fields[i];
    return NULL;
}

static int unsupported(const struct field *f, const json_t *value, struct err *e)
{
    char found[48];
    size_t length =
        json_dumpb(value, found, sizeof found, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
    bool any = strlen(f->only) > 2, whole = length <= sizeof found;
    err_set(e, "unsupported_value", "\"%s\" %s%.*s, found %.*s%s", f->name,
            any ? "may only be " : "is not supported", (int)strlen(f->only) - 2, f->only + 1,
            (int)(whole ? length : sizeof found), found, whole ? "" : "...");
    return err_param(e, f->name);
}

static bool same(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b))
        return json_number_value(a) == json_number_value(b);
    return json_equal(a, b);
}

static int check_value(const struct field *f, const json_t *value, struct err *e)
{
    bool harmless = false;
    json_t *only = json_loads(f->only, 0, NULL);
    if (!only)
        return err_memory(e);
    for (size_t i = 0; i < json_array_size(only); i++)
        harmless = harmless || same(json_array_get(only, i), value);
    json_decref(only);
    return harmless ? 0 : unsupported(f, value, e);
}

int openai_fields_check(json_t *object, unsigned where, struct err *e)
{
    const char *key;
    void *next;
    json_t *value;
    json_object_foreach_safe(object, next, key, value)
    {
        const struct field *f = find_field(key, where);
        if (!f) {
            err_set(e, "unknown_field", "unknown field \"%.64s\"", key);
            return err_param(e, key);
        }
        if (f->only && !json_is_null(value) && check_value(f, value, e) != 0)
            return -1;
        if (f->only || json_is_null(value))
            json_object_del(object, key);
    }
    return 0;
}

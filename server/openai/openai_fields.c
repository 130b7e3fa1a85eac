/* Which fields the bodies of OpenAI's routes may have, which of them are of no account here, and which values
 * of those that the daemon does not do. */
#include <string.h>

#include "server/base/fields.h"
#include "server/openai/openai.h"

/* What becomes of a field. */
#define TAKEN NULL /* the parser looks at it */
#define IGNORED "" /* it cannot change the text of an answer */
/* Otherwise: the values that change nothing, as a JSON array; all others are refused. null is as good as
 * absent everywhere. */
static const struct field {
    const char *name;
    unsigned where;
    const char *only;
} fields[] = {
    {"model", OPENAI_ALL, TAKEN},
    {"tenant", OPENAI_ALL, TAKEN},
    {"prompt", OPENAI_COMPLETIONS, TAKEN},
    {"messages", OPENAI_CHAT, TAKEN},
    {"n", OPENAI_BOTH, TAKEN},
    {"best_of", OPENAI_COMPLETIONS, TAKEN},
    {"max_tokens", OPENAI_BOTH, TAKEN},
    {"max_completion_tokens", OPENAI_CHAT, TAKEN},
    {"min_tokens", OPENAI_ALL, TAKEN},
    {"temperature", OPENAI_ALL, TAKEN},
    {"top_p", OPENAI_ALL, TAKEN},
    {"top_k", OPENAI_ALL, TAKEN},
    {"min_p", OPENAI_ALL, TAKEN},
    {"seed", OPENAI_ALL, TAKEN},
    {"presence_penalty", OPENAI_ALL, TAKEN},
    {"frequency_penalty", OPENAI_ALL, TAKEN},
    {"repetition_penalty", OPENAI_ALL, TAKEN},
    {"logit_bias", OPENAI_ALL, TAKEN},
    {"bad_words", OPENAI_ALL, TAKEN},
    {"stop", OPENAI_ALL, TAKEN},
    {"stop_token_ids", OPENAI_ALL, TAKEN},
    {"ignore_eos", OPENAI_ALL, TAKEN},
    {"skip_special_tokens", OPENAI_ALL, TAKEN},
    {"add_special_tokens", OPENAI_ALL, TAKEN},
    {"add_generation_prompt", OPENAI_CHAT, TAKEN},
    {"continue_final_message", OPENAI_CHAT, TAKEN},
    {"chat_template_kwargs", OPENAI_TALK, TAKEN},
    {"documents", OPENAI_TALK, TAKEN},
    {"enable_thinking", OPENAI_TALK, TAKEN},
    {"reasoning", OPENAI_TALK, TAKEN},
    {"reasoning_effort", OPENAI_CHAT, TAKEN},
    {"verbosity", OPENAI_CHAT, TAKEN},
    {"tools", OPENAI_TALK, TAKEN},
    {"tool_choice", OPENAI_TALK, TAKEN},
    {"parallel_tool_calls", OPENAI_TALK, TAKEN},
    {"response_format", OPENAI_BOTH, TAKEN},
    {"grammar", OPENAI_ALL, TAKEN},
    {"regex", OPENAI_ALL, TAKEN},
    {"choice", OPENAI_ALL, TAKEN},
    {"guided_json", OPENAI_BOTH, TAKEN},
    {"guided_grammar", OPENAI_BOTH, TAKEN},
    {"guided_regex", OPENAI_BOTH, TAKEN},
    {"guided_choice", OPENAI_BOTH, TAKEN},
    {"structured_outputs", OPENAI_ALL, TAKEN},
    {"json_schema", OPENAI_BOTH, TAKEN},
    {"logprobs", OPENAI_BOTH, TAKEN},
    {"top_logprobs", OPENAI_TALK, TAKEN},
    {"echo", OPENAI_COMPLETIONS, TAKEN},
    {"stream", OPENAI_ALL, TAKEN},
    {"stream_options", OPENAI_ALL, TAKEN},
    {"user", OPENAI_ALL, TAKEN},

    /* OpenAI's own, for billing, storing and caching */
    {"metadata", OPENAI_BOTH, IGNORED},
    {"prediction", OPENAI_CHAT, IGNORED}, /* of the answer, to be faster */
    {"prompt_cache_key", OPENAI_ALL, IGNORED},
    {"prompt_cache_retention", OPENAI_ALL, IGNORED},
    {"safety_identifier", OPENAI_ALL, IGNORED},
    {"service_tier", OPENAI_ALL, IGNORED},
    {"store", OPENAI_ALL, IGNORED},
    /* what clients keep their own books with */
    {"background_tasks", OPENAI_ALL, IGNORED},
    {"chat_id", OPENAI_ALL, IGNORED},
    {"conversation_id", OPENAI_ALL, IGNORED},
    {"features", OPENAI_ALL, IGNORED},
    {"filter_ids", OPENAI_ALL, IGNORED},
    {"id", OPENAI_ALL, IGNORED},
    {"message_id", OPENAI_ALL, IGNORED},
    {"model_item", OPENAI_ALL, IGNORED},
    {"parent_id", OPENAI_ALL, IGNORED},
    {"request_id", OPENAI_ALL, IGNORED},
    {"session_id", OPENAI_ALL, IGNORED},
    {"tags", OPENAI_ALL, IGNORED},
    {"title", OPENAI_ALL, IGNORED},
    {"tool_ids", OPENAI_ALL, IGNORED},
    {"trace_id", OPENAI_ALL, IGNORED},
    {"usage", OPENAI_ALL, IGNORED},
    /* how other servers plan, place and cache what they run */
    {"cache_prompt", OPENAI_ALL, IGNORED},
    {"cache_salt", OPENAI_ALL, IGNORED},
    {"id_slot", OPENAI_ALL, IGNORED},
    {"keep_alive", OPENAI_ALL, IGNORED},
    {"kv_transfer_params", OPENAI_ALL, IGNORED},
    {"priority", OPENAI_ALL, IGNORED},
    {"provider", OPENAI_ALL, IGNORED},
    {"slot_id", OPENAI_ALL, IGNORED},
    {"ttl", OPENAI_ALL, IGNORED},
    /* more members of the answer, or its form */
    {"return_progress", OPENAI_ALL, IGNORED},
    {"return_token_ids", OPENAI_ALL, IGNORED},
    {"return_tokens", OPENAI_ALL, IGNORED},
    {"timings_per_token", OPENAI_ALL, IGNORED},
    /* what goes with samplers that are refused below, and alone does nothing */
    {"dry_allowed_length", OPENAI_BOTH, IGNORED},
    {"dry_base", OPENAI_BOTH, IGNORED},
    {"dry_penalty_last_n", OPENAI_BOTH, IGNORED},
    {"dry_sequence_breakers", OPENAI_BOTH, IGNORED},
    {"dynatemp_exponent", OPENAI_BOTH, IGNORED},
    {"guided_decoding_backend", OPENAI_BOTH, IGNORED},
    {"guided_whitespace_pattern", OPENAI_BOTH, IGNORED},
    {"mirostat_eta", OPENAI_BOTH, IGNORED},
    {"mirostat_tau", OPENAI_BOTH, IGNORED},
    {"repeat_last_n", OPENAI_BOTH, IGNORED},
    {"xtc_threshold", OPENAI_BOTH, IGNORED},

    {"suffix", OPENAI_COMPLETIONS, "[\"\"]"},
    {"echo", OPENAI_CHAT, "[false]"},
    {"function_call", OPENAI_CHAT, "[\"none\", \"auto\"]"},
    {"functions", OPENAI_CHAT, "[[]]"},
    {"modalities", OPENAI_CHAT, "[[\"text\"]]"},
    {"include_reasoning", OPENAI_CHAT, "[true]"},
    {"include_stop_str_in_output", OPENAI_BOTH, "[false]"},
    {"spaces_between_special_tokens", OPENAI_BOTH, "[true]"},
    {"detokenize", OPENAI_BOTH, "[true]"},
    {"prompt_logprobs", OPENAI_BOTH, "[false, 0]"},
    {"return_tokens_as_token_ids", OPENAI_BOTH, "[false]"},
    {"use_beam_search", OPENAI_BOTH, "[false]"},
    {"early_stopping", OPENAI_BOTH, "[false]"},
    {"length_penalty", OPENAI_BOTH, "[1]"},
    {"no_repeat_ngram_size", OPENAI_BOTH, "[0]"},
    {"repeat_penalty", OPENAI_BOTH, "[1]"},
    {"typical_p", OPENAI_BOTH, "[1]"},
    {"typ_p", OPENAI_BOTH, "[1]"},
    {"tfs_z", OPENAI_BOTH, "[1]"},
    {"top_a", OPENAI_BOTH, "[0]"},
    {"epsilon_cutoff", OPENAI_BOTH, "[0]"},
    {"eta_cutoff", OPENAI_BOTH, "[0]"},
    {"mirostat", OPENAI_BOTH, "[0]"},
    {"dynatemp_range", OPENAI_BOTH, "[0]"},
    {"xtc_probability", OPENAI_BOTH, "[0]"},
    {"dry_multiplier", OPENAI_BOTH, "[0]"},

    {"model", OPENAI_EMBEDDINGS, TAKEN},
    {"tenant", OPENAI_EMBEDDINGS, TAKEN},
    {"input", OPENAI_EMBEDDINGS, TAKEN},
    {"encoding_format", OPENAI_EMBEDDINGS, TAKEN},
    {"dimensions", OPENAI_EMBEDDINGS, TAKEN},
    {"pooling", OPENAI_EMBEDDINGS, TAKEN},
    {"normalize", OPENAI_EMBEDDINGS, TAKEN},
    {"add_special_tokens", OPENAI_EMBEDDINGS, TAKEN},
    {"user", OPENAI_EMBEDDINGS, TAKEN},
    {"cache_salt", OPENAI_EMBEDDINGS, IGNORED},
    {"metadata", OPENAI_EMBEDDINGS, IGNORED},
    {"priority", OPENAI_EMBEDDINGS, IGNORED},
    {"request_id", OPENAI_EMBEDDINGS, IGNORED},

    {"input", OPENAI_RESPONSES, TAKEN},
    {"instructions", OPENAI_RESPONSES, TAKEN},
    {"max_output_tokens", OPENAI_RESPONSES, TAKEN},
    {"text", OPENAI_RESPONSES, TAKEN},
    {"include", OPENAI_RESPONSES, TAKEN},
    {"metadata", OPENAI_RESPONSES, TAKEN},
    {"access_programs", OPENAI_RESPONSES, IGNORED},
    {"background_options", OPENAI_RESPONSES, IGNORED},
    {"client_metadata", OPENAI_RESPONSES, IGNORED},
    {"image", OPENAI_RESPONSES, IGNORED},          /* how images are read, of which there are none */
    {"max_tool_calls", OPENAI_RESPONSES, IGNORED}, /* of tools that the server calls by itself */
    {"prompt_cache_options", OPENAI_RESPONSES, IGNORED},
    /* an input that is too long is refused under either of them */
    {"truncation", OPENAI_RESPONSES, "[\"auto\", \"disabled\"]"},
    /* nothing is stored here that an answer could go on from */
    {"background", OPENAI_RESPONSES, "[false]"},
    {"conversation", OPENAI_RESPONSES, "[]"},
    {"previous_response_id", OPENAI_RESPONSES, "[]"},
    {"prompt", OPENAI_RESPONSES, "[]"},
    {"context_management", OPENAI_RESPONSES, "[[]]"},
    {"moderation", OPENAI_RESPONSES, "[]"},

    {"type", OPENAI_ITEM, TAKEN},
    {"role", OPENAI_ITEM, TAKEN},
    {"content", OPENAI_ITEM, TAKEN},
    {"call_id", OPENAI_ITEM, TAKEN},
    {"name", OPENAI_ITEM, TAKEN},
    {"arguments", OPENAI_ITEM, TAKEN},
    {"output", OPENAI_ITEM, TAKEN},
    {"caller", OPENAI_ITEM, IGNORED},
    {"created_by", OPENAI_ITEM, IGNORED},
    {"encrypted_content", OPENAI_ITEM, IGNORED}, /* thoughts that only their own server can read */
    {"id", OPENAI_ITEM, IGNORED},
    {"parsed_arguments", OPENAI_ITEM, IGNORED},
    {"phase", OPENAI_ITEM, IGNORED},
    {"status", OPENAI_ITEM, IGNORED},
    {"summary", OPENAI_ITEM, IGNORED},
    {"async", OPENAI_ITEM, "[false]"},
    {"namespace", OPENAI_ITEM, "[\"\"]"},

    {"type", OPENAI_ITEM_PART, TAKEN},
    {"text", OPENAI_ITEM_PART, TAKEN},
    {"annotations", OPENAI_ITEM_PART, IGNORED},
    {"logprobs", OPENAI_ITEM_PART, IGNORED},
    {"parsed", OPENAI_ITEM_PART, IGNORED},
    {"prompt_cache_breakpoint", OPENAI_ITEM_PART, IGNORED},

    {"format", OPENAI_TEXT, TAKEN},
    {"verbosity", OPENAI_TEXT, TAKEN},

    {"role", OPENAI_MESSAGE, TAKEN},
    {"content", OPENAI_MESSAGE, TAKEN},
    {"name", OPENAI_MESSAGE, TAKEN},
    {"tool_calls", OPENAI_MESSAGE, TAKEN},
    {"tool_call_id", OPENAI_MESSAGE, TAKEN},
    {"function_call", OPENAI_MESSAGE, TAKEN},
    {"reasoning_content", OPENAI_MESSAGE, TAKEN},
    {"reasoning", OPENAI_MESSAGE, TAKEN},
    {"thinking", OPENAI_MESSAGE, TAKEN},
    {"annotations", OPENAI_MESSAGE, IGNORED},
    {"cache_control", OPENAI_MESSAGE, IGNORED},
    {"created_at", OPENAI_MESSAGE, IGNORED},
    {"id", OPENAI_MESSAGE, IGNORED},
    {"metadata", OPENAI_MESSAGE, IGNORED},
    {"provider_specific_fields", OPENAI_MESSAGE, IGNORED},
    {"reasoning_details", OPENAI_MESSAGE, IGNORED},
    {"thinking_blocks", OPENAI_MESSAGE, IGNORED},
    {"timestamp", OPENAI_MESSAGE, IGNORED},
    {"audio", OPENAI_MESSAGE, "[]"},
    {"images", OPENAI_MESSAGE, "[[]]"},
    {"prefix", OPENAI_MESSAGE, "[false]"},
    {"refusal", OPENAI_MESSAGE, "[\"\"]"},

    {"type", OPENAI_PART, TAKEN},
    {"text", OPENAI_PART, TAKEN},
    {"annotations", OPENAI_PART, IGNORED},
    {"cache_control", OPENAI_PART, IGNORED},
    {"id", OPENAI_PART, IGNORED},

    {"json", OPENAI_STRUCTURED, TAKEN},
    {"grammar", OPENAI_STRUCTURED, TAKEN},
    {"regex", OPENAI_STRUCTURED, TAKEN},
    {"choice", OPENAI_STRUCTURED, TAKEN},
    {"json_object", OPENAI_STRUCTURED, TAKEN},
    {"disable_any_whitespace", OPENAI_STRUCTURED, "[false]"},
    {"disable_fallback", OPENAI_STRUCTURED, IGNORED},

    {"effort", OPENAI_REASONING, TAKEN},
    {"generate_summary", OPENAI_REASONING, IGNORED},
    {"summary", OPENAI_REASONING, IGNORED},
    {"context", OPENAI_REASONING, "[\"auto\"]"},
    {"mode", OPENAI_REASONING, "[\"standard\"]"},

    {"include_usage", OPENAI_STREAM_OPTIONS, TAKEN},
    {"include_obfuscation", OPENAI_STREAM_OPTIONS, IGNORED}, /* padding against listeners */
    {"continuous_usage_stats", OPENAI_STREAM_OPTIONS, IGNORED},
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

static int check_field(json_t *object, const char *key, const json_t *value, unsigned where, struct err *e)
{
    const struct field *f = find_field(key, where);
    if (!f && !json_is_null(value)) {
        err_set(e, "unknown_field", "unknown field \"%.64s\"", key);
        return err_param(e, key);
    }
    if (f && f->only == TAKEN && !json_is_null(value))
        return 0;
    if (f && f->only && *f->only && !json_is_null(value) && check_value(f, value, e) != 0)
        return -1;
    json_object_del(object, key);
    return 0;
}

int openai_fields_check(json_t *object, unsigned where, struct err *e)
{
    const char *key;
    void *next;
    json_t *value;
    json_object_foreach_safe(object, next, key, value)
    {
        if (check_field(object, key, value, where, e) != 0)
            return -1;
    }
    return 0;
}

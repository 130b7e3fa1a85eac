/* The bodies of POST /v1/completions and POST /v1/chat/completions. */
#include <string.h>

#include "core/system/clock.h"
#include "server/base/fields.h"
#include "server/inference/openai.h"

/* ---- what both have ---- */

static int parse_model(struct inference *q, const json_t *body, struct err *e)
{
    const char *name = q->r->tenant.default_adapter;
    size_t length = strlen(name);
    int found = field_string(body, "model", JSON_BODY_BYTES_MAX, &name, &length, e);
    if (found < 0 || (!found && length == 0))
        return found;
    q->openai.named = found;
    if (inference_parse_reference(q, name, length, 1, e) == 0)
        return 0;
    err_set(e, "model_not_found", "there is no model of that name");
    return err_param(e, "model");
}

/* The same user gets the same version of a name that has a canary. */
static int parse_user(struct inference *q, const json_t *body, struct err *e)
{
    const char *user = "";
    size_t length = 0;
    if (field_string(body, "user", INFERENCE_AFFINITY_MAX, &user, &length, e) < 0)
        return -1;
    memcpy(q->affinity, user, length);
    q->affinity_length = length;
    return 0;
}

static int parse_stream_options(struct inference *q, const json_t *body, struct err *e)
{
    json_t *options = json_object_get(body, "stream_options");
    bool obfuscation; /* padding against listeners, which is left out */
    if (!options)
        return 0;
    if (!json_is_object(options))
        return field_wrong_type(options, "stream_options", "an object", e);
    if (openai_fields_check(options, OPENAI_STREAM_OPTIONS, e) != 0 ||
        field_bool(options, "include_obfuscation", &obfuscation, e) < 0)
        return -1;
    return field_bool(options, "include_usage", &q->openai.usage_wanted, e) < 0 ? -1 : 0;
}

static int parse_common(struct inference *q, json_t *body, int64_t max_tokens, struct err *e)
{
    q->openai.created_s = clock_unix_ms() / 1000;
    const json_t *top_k = json_object_get(body, "top_k");
    if (json_is_integer(top_k) && json_integer_value(top_k) == -1) /* how others say that it is off */
        json_object_del(body, "top_k");
    if (request_body_tenant(q->r, body, e) != 0 || parse_model(q, body, e) != 0 ||
        inference_parse_sampling(q, body, max_tokens, 1, e) != 0 || parse_user(q, body, e) != 0)
        return -1;
    return parse_stream_options(q, body, e);
}

/* `name`, the text that the model goes on with, is there and this is a model of texts. */
static int check_input(const struct inference *q, const json_t *body, const char *name, struct err *e)
{
    if (q->r->server->info->numeric)
        err_set(e, "input_unsupported", "the model \"%s\" takes rows of numbers, not \"%s\"",
                q->r->server->model_name, name);
    else if (!json_object_get(body, name))
        err_set(e, "input_required", "\"%s\" is required", name);
    else
        return 0;
    return err_param(e, name);
}

/* ---- completions ---- */

/* An array of one prompt is that prompt. */
static int parse_prompt(struct inference *q, json_t *body, struct err *e)
{
    const json_t *prompt = json_object_get(body, "prompt");
    json_t *first = json_array_get(prompt, 0);
    if (json_is_string(first) || json_is_array(first)) {
        if (json_array_size(prompt) > 1) {
            err_set(e, "unsupported_value", "\"prompt\" may be one prompt, found an array of %zu",
                    json_array_size(prompt));
            return err_param(e, "prompt");
        }
        json_object_set(body, "prompt", first);
        prompt = first;
    }
    if (json_is_string(prompt))
        return inference_parse_prompt(q, prompt, e);
    if (!json_is_array(prompt))
        return field_wrong_type(prompt, "prompt", "a string or an array of token ids", e);
    return field_tokens(body, "prompt", q->r->server->info->vocab_size, &q->tokens, e) < 0 ? -1 : 0;
}

static int decode_prompt(struct inference *q, struct buf *out, struct err *e)
{
    return tokenizer_decode(q->r->server->tokenizer, q->tokens.ids, q->tokens.count, false, out, e);
}

/* A text is echoed as it is: special tokens that the tokenizer added are no part of it. */
static int echo_text(struct inference *q, const json_t *prompt, struct err *e)
{
    struct buf decoded = {0}, *text = &q->openai.prompt;
    if (buf_append(text, json_string_value(prompt), json_string_length(prompt)) != 0)
        return err_memory(e);
    int result = decode_prompt(q, &decoded, e);
    q->openai.echo_special = decoded.length == text->length &&
                             (!text->length || memcmp(decoded.data, text->data, text->length) == 0);
    buf_fini(&decoded);
    return result;
}

static int parse_echo(struct inference *q, const json_t *body, struct err *e)
{
    const json_t *prompt = json_object_get(body, "prompt");
    if (!q->openai.echo)
        return 0;
    q->prompt_logprobs = q->sampling.logprobs >= 0;
    if (json_is_string(prompt))
        return echo_text(q, prompt, e);
    q->openai.echo_special = true;
    return decode_prompt(q, &q->openai.prompt, e);
}

int openai_parse_completions(struct inference *q, json_t *body, struct err *e)
{
    int64_t logprobs = -1;
    if (openai_fields_check(body, OPENAI_COMPLETIONS, e) != 0 ||
        parse_common(q, body, OPENAI_COMPLETIONS_TOKENS_DEFAULT, e) != 0 ||
        field_bool(body, "echo", &q->openai.echo, e) < 0 ||
        field_integer(body, "logprobs", 0, q->openai.echo ? OPENAI_ECHO_LOGPROBS_MAX : SAMPLING_LOGPROBS_MAX,
                      &logprobs, e) < 0)
        return -1;
    q->sampling.logprobs = (int)logprobs;
    q->text_only = logprobs < 0;
    if (check_input(q, body, "prompt", e) != 0 || parse_prompt(q, body, e) != 0)
        return -1;
    return parse_echo(q, body, e);
}

/* ---- chat ---- */

static int append_part(json_t *part, struct buf *text, struct err *e)
{
    const char *type = "", *part_text = "";
    size_t length = 0;
    if (!json_is_object(part))
        return field_wrong_type(part, "content", "a string or an array of objects", e);
    if (field_text(part, "type", 64, &type, e) < 0)
        return -1;
    if (strcmp(type, "text") != 0) {
        err_set(e, "unsupported_value", "parts of a \"content\" may be of the type \"text\", found \"%s\"",
                type);
        return err_param(e, "messages");
    }
    if (openai_fields_check(part, OPENAI_PART, e) != 0 ||
        field_string(part, "text", JSON_BODY_BYTES_MAX, &part_text, &length, e) < 0)
        return -1;
    return buf_append(text, part_text, length) == 0 ? 0 : err_memory(e);
}

/* Parts become one text, nothing between them. */
static int join_content(json_t *message, struct err *e)
{
    struct buf text = {0};
    const json_t *parts = json_object_get(message, "content");
    int result = 0;
    if (!json_is_array(parts))
        return 0;
    for (size_t i = 0; i < json_array_size(parts) && result == 0; i++)
        result = append_part(json_array_get(parts, i), &text, e);
    if (result == 0 &&
        json_object_set_new(message, "content", json_stringn(text.length ? text.data : "", text.length)) != 0)
        result = err_memory(e);
    buf_fini(&text);
    return result;
}

/* Templates know the role that OpenAI calls "developer" by its older name. */
static int check_role(json_t *message, struct err *e)
{
    static const char *const roles[] = {"system", "user", "assistant"};
    const json_t *value = json_object_get(message, "role");
    if (!json_is_string(value))
        return 0; /* refused where messages are read */
    const char *role = json_string_value(value);
    if (strcmp(role, "developer") == 0)
        return json_object_set_new(message, "role", json_string("system")) == 0 ? 0 : err_memory(e);
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (strcmp(role, roles[i]) == 0 && strlen(role) == json_string_length(value))
            return 0;
    err_set(e, "unsupported_value", "a \"role\" may be system, developer, user or assistant, found \"%.64s\"",
            role);
    return err_param(e, "messages");
}

static int parse_messages(struct inference *q, const json_t *body, struct err *e)
{
    const json_t *list = json_object_get(body, "messages");
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *message = json_array_get(list, i);
        if (json_is_object(message) && (openai_fields_check(message, OPENAI_MESSAGE, e) != 0 ||
                                        check_role(message, e) != 0 || join_content(message, e) != 0))
            return -1;
    }
    return inference_parse_messages(q, list, e);
}

/* Two names for the same; by default, as far as the context goes. */
static int parse_max_tokens(const json_t *body, int64_t *out, struct err *e)
{
    int64_t older;
    *out = INFERENCE_MAX_TOKENS_MAX;
    int found = field_integer(body, "max_completion_tokens", 0, INFERENCE_MAX_TOKENS_MAX, out, e);
    int both = found <= 0 ? found : field_integer(body, "max_tokens", 0, INFERENCE_MAX_TOKENS_MAX, &older, e);
    if (both <= 0 || older == *out)
        return both < 0 ? -1 : 0;
    err_set(e, "field_conflict", "\"max_completion_tokens\" is %lld, \"max_tokens\" %lld", (long long)*out,
            (long long)older);
    return err_param(e, "max_tokens");
}

static int parse_chat_logprobs(struct inference *q, const json_t *body, struct err *e)
{
    bool wanted = false;
    int64_t top = 0;
    if (field_bool(body, "logprobs", &wanted, e) < 0 ||
        field_integer(body, "top_logprobs", 0, SAMPLING_LOGPROBS_MAX, &top, e) < 0)
        return -1;
    if (top && !wanted) {
        err_set(e, "field_conflict", "\"top_logprobs\" needs \"logprobs\": true");
        return err_param(e, "top_logprobs");
    }
    q->sampling.logprobs = wanted ? (int)top : -1;
    q->text_only = !wanted;
    return 0;
}

int openai_parse_chat(struct inference *q, json_t *body, struct err *e)
{
    int64_t max_tokens;
    if (openai_fields_check(body, OPENAI_CHAT, e) != 0 || parse_max_tokens(body, &max_tokens, e) != 0 ||
        parse_common(q, body, max_tokens, e) != 0 || parse_chat_logprobs(q, body, e) != 0)
        return -1;
    return check_input(q, body, "messages", e) != 0 ? -1 : parse_messages(q, body, e);
}

/* ---- the model ---- */

int openai_resolve(struct inference *q, struct err *e)
{
    if (inference_resolve(q, e) == 0)
        return 0;
    if (q->openai.named && strcmp(e->code, "adapter_not_found") == 0) {
        const char *base = q->r->server->model_name;
        if (strcmp(q->parts[0].reference, base) == 0) {
            q->part_count = 0;
            return 0;
        }
        err_set(e, "model_not_found", "there is no model \"%s\": neither an adapter nor the base, \"%s\"",
                q->parts[0].reference, base);
    }
    return err_param(e, "model");
}

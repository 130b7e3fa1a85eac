/* The bodies of POST /v1/completions and POST /v1/chat/completions. */
#include <string.h>

#include "core/system/clock.h"
#include "core/template/message.h"
#include "server/base/fields.h"
#include "server/openai/openai.h"

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
    if (!options)
        return 0;
    if (!json_is_object(options))
        return field_wrong_type(options, "stream_options", "an object", e);
    if (openai_fields_check(options, OPENAI_STREAM_OPTIONS, e) != 0)
        return -1;
    return field_bool(options, "include_usage", &q->openai.usage_wanted, e) < 0 ? -1 : 0;
}

static bool is_minus_one(const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) == -1;
}

/* How others say that a number is not set: no limit, any seed. */
static void drop_minus_one(json_t *body, const char *name)
{
    if (is_minus_one(json_object_get(body, name)))
        json_object_del(body, name);
}

static int parse_choices(struct inference *q, const json_t *body, struct err *e)
{
    int64_t count = 1, best = 0;
    if (field_integer(body, "n", 1, INFERENCE_CHOICES_MAX, &count, e) < 0 ||
        field_integer(body, "best_of", 1, INFERENCE_CHOICES_MAX, &best, e) < 0)
        return -1;
    q->openai.kept = (int)count;
    q->choices_each = (int)(best ? best : count);
    if (q->choices_each == q->openai.kept)
        return 0;
    if (best < count)
        err_set(e, "out_of_range", "\"best_of\" must be at least \"n\", %d, found %d", (int)count, (int)best);
    else if (q->stream)
        err_set(e, "field_conflict", "which answers are the best shows at their end: \"stream\" excludes it");
    else
        return 0;
    return err_param(e, "best_of");
}

struct inference_defaults openai_defaults(const struct inference *q, int64_t max_tokens)
{
    const struct generation *g =
        q->settings ? &q->settings->generation : model_generation(q->r->server->model);
    return (struct inference_defaults){.max_tokens = max_tokens,
                                       .temperature = generation_or(g->temperature, 1),
                                       .top_p = generation_or(g->top_p, 1),
                                       .min_p = generation_or(g->min_p, 0),
                                       .top_k = (int64_t)generation_or(g->top_k, 0),
                                       .repetition_penalty = generation_or(g->repetition_penalty, 1)};
}

int openai_parse_who(struct inference *q, const json_t *body, struct err *e)
{
    q->openai.created_s = clock_unix_ms() / 1000;
    if (request_body_tenant(q->r, body, e) != 0 || parse_model(q, body, e) != 0 ||
        parse_user(q, body, e) != 0)
        return -1;
    return inference_settle(q, e);
}

int openai_parse_common(struct inference *q, json_t *body, int64_t max_tokens, struct err *e)
{
    drop_minus_one(body, "seed");
    if (is_minus_one(json_object_get(body, "top_k")) && /* no filter */
        json_object_set_new(body, "top_k", json_integer(0)) != 0)
        return err_memory(e);
    if (openai_parse_who(q, body, e) != 0)
        return -1;
    const struct inference_defaults defaults = openai_defaults(q, max_tokens);
    if (inference_parse_sampling(q, body, &defaults, e) != 0 || openai_parse_structure(q, body, e) != 0 ||
        parse_choices(q, body, e) != 0)
        return -1;
    return parse_stream_options(q, body, e);
}

int openai_check_input(const struct inference *q, const json_t *body, const char *name, struct err *e)
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

static int decode_prompt(struct inference *q, const struct inference_prompt *p, struct buf *out,
                         struct err *e)
{
    return tokenizer_decode(q->tokenizer, p->tokens.ids, p->tokens.count, false, out, e);
}

/* A text is echoed as it is: special tokens that the tokenizer added are no part of it. */
static int echo_text(struct inference *q, struct inference_prompt *p, const json_t *prompt, struct err *e)
{
    struct buf decoded = {0}, *text = &p->text;
    if (buf_append(text, json_string_value(prompt), json_string_length(prompt)) != 0)
        return err_memory(e);
    int result = decode_prompt(q, p, &decoded, e);
    p->text_special = decoded.length == text->length &&
                      (!text->length || memcmp(decoded.data, text->data, text->length) == 0);
    buf_fini(&decoded);
    return result;
}

static int echo(struct inference *q, const json_t *prompt, struct err *e)
{
    struct inference_prompt *p = &q->prompts[q->prompt_count - 1];
    if (!q->openai.echo)
        return 0;
    q->prompt_logprobs = q->sampling.logprobs >= 0;
    if (json_is_string(prompt))
        return echo_text(q, p, prompt, e);
    p->text_special = true;
    return decode_prompt(q, p, &p->text, e);
}

static int parse_ids(struct inference *q, json_t *list, struct err *e)
{
    struct inference_prompt *p = inference_add_prompt(q, e);
    json_t *object = p ? json_pack("{s:O}", "prompt", list) : NULL;
    if (!object)
        return err_memory(e);
    int found = field_tokens(object, "prompt", q->vocab_size, &p->tokens, e);
    json_decref(object);
    return found < 0 ? -1 : 0;
}

/* A text or an array of token ids. */
static int parse_prompt(struct inference *q, const json_t *body, json_t *prompt, struct err *e)
{
    if (!json_is_string(prompt) && !json_is_array(prompt))
        return field_wrong_type(prompt, "prompt", "a string, an array of token ids, or an array of these", e);
    int result =
        json_is_string(prompt) ? inference_parse_prompt(q, body, prompt, e) : parse_ids(q, prompt, e);
    return result == 0 ? echo(q, prompt, e) : -1;
}

/* One prompt, or several in an array. */
static int parse_prompts(struct inference *q, const json_t *body, struct err *e)
{
    json_t *prompt = json_object_get(body, "prompt"), *first = json_array_get(prompt, 0);
    size_t count = json_array_size(prompt);
    if (!json_is_string(first) && !json_is_array(first))
        return parse_prompt(q, body, prompt, e);
    if (count > INFERENCE_CHOICES_MAX / (size_t)q->choices_each) {
        err_set(e, "out_of_range", "a request may have %d answers at most, found %zu prompts with %d each",
                INFERENCE_CHOICES_MAX, count, q->choices_each);
        return err_param(e, "prompt");
    }
    for (size_t i = 0; i < count; i++)
        if (parse_prompt(q, body, json_array_get(prompt, i), e) != 0)
            return -1;
    return 0;
}

int openai_parse_completions(struct inference *q, json_t *body, struct err *e)
{
    int64_t logprobs = -1, max_tokens = OPENAI_COMPLETIONS_TOKENS_DEFAULT;
    if (openai_fields_check(body, OPENAI_COMPLETIONS, e) != 0)
        return -1;
    if (is_minus_one(json_object_get(body, "max_tokens"))) {
        max_tokens = INFERENCE_MAX_TOKENS_MAX;
        q->fill_context = true;
    }
    drop_minus_one(body, "max_tokens");
    if (openai_parse_common(q, body, max_tokens, e) != 0 ||
        field_bool(body, "echo", &q->openai.echo, e) < 0 ||
        field_integer(body, "logprobs", 0, q->openai.echo ? OPENAI_ECHO_LOGPROBS_MAX : SAMPLING_LOGPROBS_MAX,
                      &logprobs, e) < 0)
        return -1;
    q->sampling.logprobs = (int)logprobs;
    q->text_only = logprobs < 0;
    if (openai_check_input(q, body, "prompt", e) != 0 || parse_prompts(q, body, e) != 0)
        return -1;
    if (q->choices_each > q->openai.kept && logprobs < 0) {
        q->sampling.logprobs = 0; /* to know the best ones by */
        q->openai.logprobs_unasked = true;
    }
    return 0;
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

static int join_content(json_t *message, struct err *e)
{
    return json_is_array(json_object_get(message, "content")) ? message_join_parts(message, append_part, e)
                                                              : 0;
}

static int check_role(json_t *message, struct err *e)
{
    const json_t *value = json_object_get(message, "role");
    bool known;
    if (!json_is_string(value))
        return 0; /* refused where messages are read */
    if (message_know_role(message, &known, e) != 0)
        return -1;
    if (known)
        return 0;
    err_set(e, "unsupported_value",
            "a \"role\" may be system, developer, user, assistant, tool or function, found \"%.64s\"",
            json_string_value(value));
    return err_param(e, "messages");
}

/* What is said of the answer in fields of its own is a variable of the template, which may or may not read
 * it; one of chat_template_kwargs comes before it. */
static int add_variables(json_t *body, struct err *e)
{
    static const char *const names[] = {"enable_thinking", "reasoning_effort", "verbosity"};
    json_t *variables = json_object_get(body, "chat_template_kwargs");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        json_t *value = json_object_get(body, names[i]);
        if (!value || (variables && (!json_is_object(variables) || json_object_get(variables, names[i]))))
            continue;
        if (!variables) {
            variables = json_object();
            if (json_object_set_new(body, "chat_template_kwargs", variables) != 0)
                return err_memory(e);
        }
        if (json_object_set(variables, names[i], value) != 0)
            return err_memory(e);
    }
    return 0;
}

/* {"effort": ...} is another way to say reasoning_effort, which comes before it. */
static int read_reasoning(json_t *body, struct err *e)
{
    json_t *reasoning = json_object_get(body, "reasoning");
    if (!reasoning)
        return 0;
    if (!json_is_object(reasoning))
        return field_wrong_type(reasoning, "reasoning", "an object", e);
    if (openai_fields_check(reasoning, OPENAI_REASONING, e) != 0)
        return -1;
    json_t *effort = json_object_get(reasoning, "effort");
    if (!effort || json_object_get(body, "reasoning_effort"))
        return 0;
    return json_object_set(body, "reasoning_effort", effort) == 0 ? 0 : err_memory(e);
}

static int check_variables(const json_t *body, struct err *e)
{
    const char *text;
    bool thinks;
    if (field_text(body, "reasoning_effort", 64, &text, e) < 0 ||
        field_text(body, "verbosity", 64, &text, e) < 0 ||
        field_bool(body, "enable_thinking", &thinks, e) < 0)
        return -1;
    return 0;
}

static int parse_messages(struct inference *q, json_t *body, struct err *e)
{
    const json_t *list = json_object_get(body, "messages");
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *message = json_array_get(list, i);
        if (json_is_object(message) && (openai_fields_check(message, OPENAI_MESSAGE, e) != 0 ||
                                        check_role(message, e) != 0 || join_content(message, e) != 0))
            return -1;
    }
    if (read_reasoning(body, e) != 0 || check_variables(body, e) != 0 || add_variables(body, e) != 0)
        return -1;
    return inference_parse_messages(q, body, e);
}

/* The tools come before the prompt that they are written into, what they make of the answer behind it. */
int openai_parse_talk(struct inference *q, json_t *body, struct err *e)
{
    struct openai_tools tools;
    int result = openai_tools_parse(q, body, &tools, e);
    if (result == 0)
        result = parse_messages(q, body, e);
    if (result == 0)
        result = openai_tools_hold(q, &tools, e);
    openai_tools_fini(&tools);
    return result;
}

/* Two names for the same; by default, as far as the context goes. */
static int parse_max_tokens(struct inference *q, json_t *body, int64_t *out, struct err *e)
{
    int64_t older;
    drop_minus_one(body, "max_tokens");
    drop_minus_one(body, "max_completion_tokens");
    *out = INFERENCE_MAX_TOKENS_MAX;
    q->fill_context = !json_object_get(body, "max_tokens") && !json_object_get(body, "max_completion_tokens");
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
    if (openai_fields_check(body, OPENAI_CHAT, e) != 0 || parse_max_tokens(q, body, &max_tokens, e) != 0 ||
        openai_parse_common(q, body, max_tokens, e) != 0 || parse_chat_logprobs(q, body, e) != 0)
        return -1;
    return openai_check_input(q, body, "messages", e) != 0 ? -1 : openai_parse_talk(q, body, e);
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
            return inference_resolve(q, e) == 0 ? 0 : err_param(e, "model");
        }
        err_set(e, "model_not_found", "there is no model \"%s\": neither an adapter nor the base, \"%s\"",
                q->parts[0].reference, base);
    }
    return err_param(e, "model");
}

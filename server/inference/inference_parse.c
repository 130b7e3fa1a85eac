/* The body of POST /infer, and what others have in common with it. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/fields.h"
#include "server/inference/inference.h"

static const char *const known[] = {
    /* who, and with what */
    "tenant", "adapter", "affinity",
    /* the input */
    "prompt", "messages", "tokens", "input", "add_special_tokens", "chat_template_kwargs", "tools",
    "documents", "add_generation_prompt", "continue_final_message",
    /* the choice of tokens */
    "temperature", "top_p", "top_k", "min_p", "seed", "repetition_penalty", "frequency_penalty",
    "presence_penalty", "logit_bias", "bad_words", "response_format", "grammar", "regex", "choice",
    /* the end */
    "max_tokens", "min_tokens", "stop", "stop_token_ids", "ignore_eos",
    /* the answer */
    "stream", "logprobs", "prompt_logprobs", "skip_special_tokens", NULL};

/* ---- with which adapter ---- */

int inference_parse_reference(struct inference *q, const char *name, size_t length, double scale,
                              struct err *e)
{
    if (length < 1 || length > INFERENCE_REFERENCE_MAX || strlen(name) != length) {
        err_set(e, "adapter_not_found", "no adapter of that name");
        return err_param(e, "adapter");
    }
    struct inference_part *p = &q->parts[q->part_count++];
    memcpy(p->reference, name, length + 1);
    p->scale = scale;
    return 0;
}

static int parse_part(struct inference *q, const json_t *value, struct err *e)
{
    static const char *const names[] = {"adapter", "scale", NULL};
    if (!json_is_object(value))
        return field_wrong_type(value, "adapter", "a list of objects", e);
    if (fields_known(value, names, e) != 0)
        return -1;
    const char *name;
    size_t length;
    double scale = 1;
    int found = field_string(value, "adapter", JSON_BODY_BYTES_MAX, &name, &length, e);
    if (found < 0 || field_number(value, "scale", -INFERENCE_SCALE_MAX, INFERENCE_SCALE_MAX, &scale, e) < 0)
        return -1;
    if (found)
        return inference_parse_reference(q, name, length, scale, e);
    err_set(e, "missing_field", "each entry of the list \"adapter\" needs an adapter");
    return err_param(e, "adapter");
}

static int parse_parts(struct inference *q, const json_t *list, struct err *e)
{
    size_t count = json_array_size(list);
    if (count < 1 || count > INFERENCE_ADAPTERS_MAX) {
        err_set(e, "out_of_range", "\"adapter\" may be a list of 1 to %d entries, found %zu",
                INFERENCE_ADAPTERS_MAX, count);
        return err_param(e, "adapter");
    }
    q->listed = true;
    for (size_t i = 0; i < count; i++)
        if (parse_part(q, json_array_get(list, i), e) != 0)
            return -1;
    return 0;
}

static int parse_adapter(struct inference *q, const json_t *body, struct err *e)
{
    const json_t *value = json_object_get(body, "adapter");
    const char *usual = q->r->tenant.default_adapter;
    if (!value && usual[0])
        return inference_parse_reference(q, usual, strlen(usual), 1, e);
    if (!value || json_is_null(value))
        return 0;
    if (json_is_array(value))
        return parse_parts(q, value, e);
    if (!json_is_string(value))
        return field_wrong_type(value, "adapter", "a name, null or a list", e);
    return inference_parse_reference(q, json_string_value(value), json_string_length(value), 1, e);
}

/* ---- log-probabilities ---- */

static int parse_logprobs(struct inference *q, const json_t *body, struct err *e)
{
    int64_t logprobs = 0;
    if (field_integer(body, "logprobs", 0, SAMPLING_LOGPROBS_MAX, &logprobs, e) < 0 ||
        field_bool(body, "prompt_logprobs", &q->prompt_logprobs, e) < 0)
        return -1;
    if (logprobs)
        q->sampling.logprobs = (int)logprobs;
    return 0;
}

/* ---- the input of a language model ---- */

static int parse_tokens(struct inference *q, const json_t *body, struct err *e)
{
    struct inference_prompt *p = inference_add_prompt(q, e);
    return p && field_tokens(body, "tokens", q->vocab_size, &p->tokens, e) >= 0 ? 0 : -1;
}

/* ---- the input of a numeric model ---- */

static int parse_row(const json_t *row, int size, float *out, struct err *e)
{
    if (!json_is_array(row))
        return field_wrong_type(row, "input", "an array of numbers, or of arrays of numbers", e);
    if (json_array_size(row) != (size_t)size) {
        err_set(e, "out_of_range", "each row of \"input\" must have %d numbers, found %zu", size,
                json_array_size(row));
        return err_param(e, "input");
    }
    for (int i = 0; i < size; i++) {
        const json_t *value = json_array_get(row, (size_t)i);
        if (!json_is_number(value))
            return field_wrong_type(value, "input", "an array of numbers, or of arrays of numbers", e);
        double number = json_number_value(value);
        if (!(fabs(number) <= FLT_MAX)) {
            err_set(e, "out_of_range", "the numbers of \"input\" must fit a 32-bit float, found %g", number);
            return err_param(e, "input");
        }
        out[i] = (float)number;
    }
    return 0;
}

static int parse_input(struct inference *q, const json_t *value, struct err *e)
{
    if (!json_is_array(value))
        return field_wrong_type(value, "input", "an array of numbers, or of arrays of numbers", e);
    bool many = json_is_array(json_array_get(value, 0));
    size_t count = many ? json_array_size(value) : 1;
    int size = q->r->server->info->input_size;
    if (count > INFERENCE_ROWS_MAX) {
        err_set(e, "out_of_range", "\"input\" may have %d rows at most, found %zu", INFERENCE_ROWS_MAX,
                count);
        return err_param(e, "input");
    }
    q->rows = malloc(count * (size_t)size * sizeof *q->rows);
    if (!q->rows)
        return err_memory(e);
    q->row_count = count;
    for (size_t i = 0; i < count; i++)
        if (parse_row(many ? json_array_get(value, i) : value, size, q->rows + i * (size_t)size, e) != 0)
            return -1;
    return 0;
}

/* ---- the input ---- */

static int choose_input(const struct inference *q, const json_t *body, const char **name, struct err *e)
{
    static const char *const kinds[] = {"prompt", "messages", "tokens", "input"};
    *name = NULL;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!json_object_get(body, kinds[i]))
            continue;
        if (*name)
            return err_set(e, "input_conflict", "\"%s\" and \"%s\" exclude each other", *name, kinds[i]);
        *name = kinds[i];
    }
    bool numeric = q->r->server->info->numeric;
    if (!*name)
        return err_set(e, "input_required", "%s",
                       numeric ? "\"input\" is required"
                               : "exactly one of \"prompt\", \"messages\" and \"tokens\" is required");
    if (numeric == (strcmp(*name, "input") == 0))
        return 0;
    err_set(e, "input_unsupported", "the model \"%s\" takes %s, not \"%s\"", q->r->server->model_name,
            numeric ? "\"input\", rows of numbers" : "\"prompt\", \"messages\" or \"tokens\"", *name);
    return err_param(e, *name);
}

static int parse_content(struct inference *q, json_t *body, struct err *e)
{
    const char *name;
    if (choose_input(q, body, &name, e) != 0)
        return -1;
    const json_t *value = json_object_get(body, name);
    switch (name[0]) {
    case 'p':
        return inference_parse_prompt(q, body, value, e);
    case 'm':
        return inference_parse_messages(q, body, e);
    case 't':
        return parse_tokens(q, body, e);
    default:
        return parse_input(q, value, e);
    }
}

/* Which of a name's versions serves it, while there is a canary. */
static int parse_affinity(struct inference *q, const json_t *body, struct err *e)
{
    const char *key;
    size_t length;
    int found = field_string(body, "affinity", INFERENCE_AFFINITY_MAX, &key, &length, e);
    if (found <= 0)
        return found;
    if (length == 0) {
        err_set(e, "out_of_range", "\"affinity\" must have 1 to %d bytes", INFERENCE_AFFINITY_MAX);
        return err_param(e, "affinity");
    }
    memcpy(q->affinity, key, length);
    q->affinity_length = length;
    return 0;
}

int inference_parse_who(struct inference *q, const json_t *body, struct err *e)
{
    if (request_body_tenant(q->r, body, e) != 0 || parse_adapter(q, body, e) != 0)
        return -1;
    return parse_affinity(q, body, e) < 0 ? -1 : inference_settle(q, e);
}

int inference_parse(struct inference *q, json_t *body, struct err *e)
{
    static const struct inference_defaults defaults = {
        .max_tokens = INFERENCE_MAX_TOKENS_DEFAULT, .top_p = 1, .repetition_penalty = 1};
    if (fields_known(body, known, e) != 0 || inference_parse_who(q, body, e) != 0 ||
        inference_parse_sampling(q, body, &defaults, e) != 0 || inference_parse_structure(q, body, e) != 0 ||
        parse_logprobs(q, body, e) != 0)
        return -1;
    if (parse_content(q, body, e) != 0)
        return -1;
    if (q->stream && q->r->server->info->numeric) {
        err_set(e, "input_unsupported", "the answer of a model that takes numbers cannot be streamed");
        return err_param(e, "stream");
    }
    return 0;
}

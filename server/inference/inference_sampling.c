/* How to choose tokens: what the bodies of all routes that run the model have in common. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/sha256.h"
#include "server/base/fields.h"
#include "server/inference/inference.h"

/* ---- numbers ---- */

static int parse_lengths(struct sampling *s, const json_t *body, int64_t max_tokens, struct err *e)
{
    int64_t min_tokens = 0;
    if (field_integer(body, "max_tokens", 0, INFERENCE_MAX_TOKENS_MAX, &max_tokens, e) < 0 ||
        field_integer(body, "min_tokens", 0, INFERENCE_MAX_TOKENS_MAX, &min_tokens, e) < 0)
        return -1;
    s->max_tokens = (int)max_tokens;
    s->min_tokens = (int)min_tokens;
    return 0;
}

/* Numbers above 0, up to `high`. */
static int parse_positive(const json_t *body, const char *name, double high, double *out, struct err *e)
{
    if (field_number(body, name, 0, high, out, e) < 0)
        return -1;
    if (*out > 0)
        return 0;
    err_set(e, "out_of_range", "\"%s\" must be greater than 0, up to %g", name, high);
    return err_param(e, name);
}

static int parse_distribution(struct sampling *s, const json_t *body, const struct inference_defaults *d,
                              struct err *e)
{
    double temperature = d->temperature, top_p = d->top_p, min_p = d->min_p;
    int64_t top_k = d->top_k, seed;
    random_bytes(&seed, sizeof seed);
    seed &= INFERENCE_SEED_MAX;
    if (field_integer(body, "top_k", 0, INFERENCE_TOP_K_MAX, &top_k, e) < 0 ||
        field_integer(body, "seed", 0, INFERENCE_SEED_MAX, &seed, e) < 0 ||
        field_number(body, "temperature", 0, INFERENCE_TEMPERATURE_MAX, &temperature, e) < 0 ||
        parse_positive(body, "top_p", 1, &top_p, e) != 0 || field_number(body, "min_p", 0, 1, &min_p, e) < 0)
        return -1;
    s->temperature = (float)temperature;
    s->top_p = fmaxf((float)top_p, FLT_MIN);
    s->min_p = (float)min_p;
    s->top_k = (int)top_k;
    s->seed = (uint64_t)seed;
    return 0;
}

static int parse_penalties(struct sampling *s, const json_t *body, double repetition, struct err *e)
{
    const double most = INFERENCE_PENALTY_MAX;
    double frequency = 0, presence = 0;
    if (field_number(body, "frequency_penalty", -most, most, &frequency, e) < 0 ||
        field_number(body, "presence_penalty", -most, most, &presence, e) < 0 ||
        parse_positive(body, "repetition_penalty", INFERENCE_REPETITION_MAX, &repetition, e) != 0)
        return -1;
    s->frequency_penalty = (float)frequency;
    s->presence_penalty = (float)presence;
    s->repetition_penalty = fmaxf((float)repetition, FLT_MIN);
    return 0;
}

/* ---- biases ---- */

/* A token's id, as JSON writes it when it has to be a key. */
static bool parse_id(const char *key, int vocab_size, int32_t *out)
{
    char *end;
    if (*key < '0' || *key > '9' || strlen(key) > 9)
        return false;
    *out = (int32_t)strtol(key, &end, 10);
    return *end == '\0' && *out < vocab_size;
}

static int parse_bias(const char *key, const json_t *value, int vocab_size, struct sampling_bias *out,
                      struct err *e)
{
    if (!parse_id(key, vocab_size, &out->token)) {
        err_set(e, "token_out_of_range",
                "\"logit_bias\" has the key \"%.32s\"; ids of this model go from 0 to %d", key,
                vocab_size - 1);
        return err_param(e, "logit_bias");
    }
    double bias = json_number_value(value);
    if (!json_is_number(value))
        return field_wrong_type(value, "logit_bias", "an object of numbers", e);
    if (!(fabs(bias) <= INFERENCE_BIAS_MAX)) {
        err_set(e, "out_of_range", "the numbers of \"logit_bias\" must be from %d to %d, found %g",
                -INFERENCE_BIAS_MAX, INFERENCE_BIAS_MAX, bias);
        return err_param(e, "logit_bias");
    }
    out->bias = (float)bias;
    return 0;
}

static int parse_biases(struct inference *q, const json_t *body, struct err *e)
{
    json_t *all = json_object_get(body, "logit_bias"), *value;
    const char *key;
    size_t count = json_object_size(all);
    if (!all)
        return 0;
    if (!json_is_object(all))
        return field_wrong_type(all, "logit_bias", "an object", e);
    if (count > SAMPLING_BIASES_MAX) {
        err_set(e, "out_of_range", "\"logit_bias\" may have %d tokens at most, found %zu",
                SAMPLING_BIASES_MAX, count);
        return err_param(e, "logit_bias");
    }
    q->biases = calloc(count + 1, sizeof *q->biases);
    if (!q->biases)
        return err_memory(e);
    q->sampling.biases = q->biases;
    json_object_foreach(all, key, value)
    {
        if (parse_bias(key, value, q->vocab_size, &q->biases[q->sampling.bias_count], e) !=
            0)
            return -1;
        q->sampling.bias_count++;
    }
    return 0;
}

/* ---- where to stop ---- */

static int add_stop_token(struct inference *q, const char *field, int32_t token, struct err *e)
{
    struct sampling *s = &q->sampling;
    if (s->stop_token_count == SAMPLING_STOP_TOKENS_MAX) {
        err_set(e, "out_of_range", "\"%s\" may be up to %d tokens", field, SAMPLING_STOP_TOKENS_MAX);
        return err_param(e, field);
    }
    q->stop_tokens[s->stop_token_count++] = token;
    s->stop_tokens = q->stop_tokens;
    return 0;
}

static int parse_stop_tokens(struct inference *q, const json_t *body, struct err *e)
{
    struct token_list list = {0};
    int result = field_tokens(body, "stop_token_ids", q->vocab_size, &list, e) < 0 ? -1 : 0;
    for (size_t i = 0; i < list.count && result == 0; i++)
        result = add_stop_token(q, "stop_token_ids", list.ids[i], e);
    token_list_fini(&list);
    return result;
}

/* A special token has no text in the answer in which it could be found. One that is a whole stop string stops
 * as a token; for those that are a part of one the text is searched with them. */
static int add_stop_special(struct inference *q, const char *text, size_t length, struct err *e)
{
    const struct tokenizer *t = q->tokenizer;
    struct token_list ids = {0};
    int result = t ? tokenizer_encode(t, text, length, false, &ids, e) : 0;
    bool special = false;
    for (size_t i = 0; i < ids.count; i++)
        special = special || tokenizer_is_special(t, ids.ids[i]);
    if (result == 0 && special && ids.count == 1)
        result = add_stop_token(q, "stop", ids.ids[0], e);
    else
        q->stops_special = q->stops_special || special;
    token_list_fini(&ids);
    return result;
}

static int parse_stop_string(struct inference *q, const json_t *value, struct err *e)
{
    if (!json_is_string(value))
        return field_wrong_type(value, "stop", "a string or an array of strings", e);
    if (stops_add(&q->stops, json_string_value(value), json_string_length(value)))
        return add_stop_special(q, json_string_value(value), json_string_length(value), e);
    err_set(e, "out_of_range", "\"stop\" may be up to %d strings of 1 to %d bytes each", STOPS_MAX,
            STOP_BYTES_MAX);
    return err_param(e, "stop");
}

static int parse_stop(struct inference *q, const json_t *body, struct err *e)
{
    const json_t *value = json_object_get(body, "stop");
    if (!value)
        return 0;
    if (!json_is_array(value))
        return parse_stop_string(q, value, e);
    for (size_t i = 0; i < json_array_size(value); i++)
        if (parse_stop_string(q, json_array_get(value, i), e) != 0)
            return -1;
    return 0;
}

/* ---- all of it ---- */

int inference_parse_sampling(struct inference *q, const json_t *body, const struct inference_defaults *d,
                             struct err *e)
{
    struct sampling *s = &q->sampling;
    bool hide_special = true;
    s->logprobs = -1;
    if (parse_lengths(s, body, d->max_tokens, e) != 0 || parse_distribution(s, body, d, e) != 0 ||
        parse_penalties(s, body, d->repetition_penalty, e) != 0 || parse_biases(q, body, e) != 0 ||
        inference_parse_bans(q, body, e) != 0 || parse_stop_tokens(q, body, e) != 0 ||
        parse_stop(q, body, e) != 0 || field_bool(body, "ignore_eos", &s->ignore_eos, e) < 0 ||
        field_bool(body, "skip_special_tokens", &hide_special, e) < 0 ||
        field_bool(body, "stream", &q->stream, e) < 0)
        return -1;
    q->show_special = !hide_special;
    return 0;
}

/* The answer of POST /infer: as a whole, or as server-sent events. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "core/base/hex.h"
#include "core/base/sha256.h"
#include "server/http/adapter_json.h"
#include "server/inference/inference.h"
#include "server/http/list.h"
#include "server/http/reply.h"

static json_t *milliseconds(double ms)
{
    return json_real(round(ms * 1000) / 1000);
}

/* No model that computes finite numbers has others. */
json_t *inference_answer_number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *text_json(const char *text, size_t length)
{
    return json_stringn(length ? text : "", length);
}

json_t *inference_answer_token_text(const struct inference *q, int32_t token)
{
    struct buf text = {0};
    struct err ignored;
    json_t *result = NULL;
    if (token >= tokenizer_vocab_size(q->tokenizer))
        return json_string(""); /* many bases have more ids than their tokenizer has tokens */
    if (tokenizer_decode(q->tokenizer, &token, 1, false, &text, &ignored) == 0)
        result = text_json(text.data, text.length);
    buf_fini(&text);
    return result;
}

static json_t *tokens_json(const struct output *o, size_t from, size_t to)
{
    json_t *list = json_array();
    for (size_t i = from; i < to; i++)
        list_add(&list, json_integer(o->tokens[i].id));
    return list;
}

/* ---- log-probabilities ---- */

static json_t *top_json(const struct inference *q, const struct engine_token *t)
{
    json_t *list = json_array();
    for (int i = 0; i < t->top_count; i++) {
        json_t *entry = json_pack("{s:i, s:o, s:o}", "token", (int)t->top[i].token, "text",
                                  inference_answer_token_text(q, t->top[i].token), "logprob",
                                  inference_answer_number(t->top[i].logprob));
        list_add(&list, entry);
    }
    return list;
}

static json_t *logprobs_json(const struct inference_choice *c, size_t from, size_t to)
{
    const struct inference *q = c->q;
    json_t *list = json_array();
    for (size_t i = from; i < to; i++) {
        const struct engine_token *t = &c->output.logprobs[i];
        json_t *entry = json_pack("{s:i, s:o, s:o, s:o}", "token", (int)t->token, "text",
                                  inference_answer_token_text(q, t->token), "logprob",
                                  inference_answer_number(t->logprob), "top", top_json(q, t));
        list_add(&list, entry);
    }
    return list;
}

static json_t *prompt_logprobs_json(const struct inference_prompt *p)
{
    json_t *list = json_array();
    for (size_t i = 0; i < p->tokens.count; i++) {
        json_t *entry = i == 0 ? json_null()
                               : json_pack("{s:i, s:o}", "token", (int)p->tokens.ids[i], "logprob",
                                           inference_answer_number(p->logprob[i]));
        list_add(&list, entry);
    }
    return list;
}

/* ---- the parts ---- */

static const char *finish_name(enum engine_finish f)
{
    return f == ENGINE_STOP ? "stop" : f == ENGINE_LENGTH ? "length" : "cancelled";
}

static json_t *usage_json(const struct inference *q)
{
    if (q->r->server->info->numeric)
        return json_pack("{s:I}", "rows", (json_int_t)q->row_count);
    return json_pack("{s:I, s:I, s:I}", "prompt_tokens", (json_int_t)inference_prompt_tokens(q),
                     "completion_tokens", (json_int_t)inference_answer_tokens(q), "cached_tokens",
                     (json_int_t)inference_cached_tokens(q));
}

static json_t *timing_json(const struct inference *q)
{
    const struct engine_done *d = &q->choices[0].result;
    return json_pack("{s:o, s:o, s:o, s:o}", "queue", milliseconds(d->queue_ms), "load",
                     milliseconds(q->load_ms), "prefill", milliseconds(d->prefill_ms), "decode",
                     milliseconds(d->decode_ms));
}

static json_t *output_json(const struct inference *q)
{
    json_t *rows = json_array();
    int size = q->vocab_size;
    for (size_t i = 0; rows && i < q->row_count && q->choices[0].result.finish != ENGINE_CANCELLED; i++) {
        json_t *row = json_array();
        for (int k = 0; k < size; k++)
            json_array_append_new(row, json_real((double)q->numeric[i * (size_t)size + (size_t)k]));
        if (json_array_size(row) != (size_t)size || json_array_append_new(rows, row) != 0) {
            json_decref(rows);
            return NULL;
        }
    }
    return rows;
}

json_t *inference_answer_adapters(const struct inference *q)
{
    if (q->part_count == 0)
        return json_null();
    if (!q->listed)
        return adapter_json_reference(q->parts[0].version);
    json_t *list = json_array();
    for (int i = 0; list && i < q->part_count; i++) {
        json_t *entry = adapter_json_reference(q->parts[i].version);
        if (!entry || json_object_set_new(entry, "scale", json_real(q->parts[i].scale)) != 0 ||
            json_array_append(list, entry) != 0) {
            json_decref(list);
            list = NULL;
        }
        json_decref(entry);
    }
    return list;
}

static json_t *head_json(const struct inference *q)
{
    return json_pack("{s:s, s:s, s:o, s:s}", "id", q->r->id, "tenant", q->r->tenant.id, "adapter",
                     inference_answer_adapters(q), "model", q->r->server->model_name);
}

/* The end of an answer, the same in both forms. -1: memory ran out. */
static int add_end(const struct inference *q, json_t *answer)
{
    const struct inference_choice *c = &q->choices[0];
    int failed = json_object_set_new(answer, "finish_reason", json_string(finish_name(c->result.finish)));
    if (!q->r->server->info->numeric)
        failed |= json_object_set_new(answer, "seed", json_integer((json_int_t)q->sampling.seed));
    failed |= json_object_set_new(answer, "usage", usage_json(q));
    failed |= json_object_set_new(answer, "timing_ms", timing_json(q));
    if (c->prompt && c->prompt->logprob)
        failed |= json_object_set_new(answer, "prompt_logprobs", prompt_logprobs_json(c->prompt));
    return failed;
}

static int add_text(const struct inference_choice *c, json_t *answer, size_t text_from, size_t tokens_from)
{
    const struct output *o = &c->output;
    const char *text = o->text.data ? o->text.data + text_from : "";
    int failed = json_object_set_new(answer, "text", text_json(text, o->text_ready - text_from));
    failed |= json_object_set_new(answer, "tokens", tokens_json(o, tokens_from, o->tokens_ready));
    if (o->options.want_logprobs)
        failed |= json_object_set_new(answer, "logprobs", logprobs_json(c, tokens_from, o->tokens_ready));
    return failed;
}

int inference_answer(struct inference *q, json_t **out, struct err *e)
{
    json_t *answer = head_json(q);
    if (!answer)
        return err_memory(e);
    int failed = q->r->server->info->numeric ? json_object_set_new(answer, "output", output_json(q))
                                             : add_text(&q->choices[0], answer, 0, 0);
    if (!failed && add_end(q, answer) == 0) {
        *out = answer;
        return 0;
    }
    json_decref(answer);
    return err_memory(e);
}

/* ---- events ---- */

void inference_answer_digits(const struct inference *q, const int *place, int count,
                             char out[INFERENCE_DIGITS + 1])
{
    static_assert(INFERENCE_DIGITS == 2 * SHA256_BYTES, "a whole digest");
    uint8_t digest[SHA256_BYTES];
    struct sha256 hash;
    sha256_init(&hash);
    sha256_update(&hash, q->r->id, strlen(q->r->id));
    sha256_update(&hash, place, (size_t)count * sizeof *place);
    sha256_final(&hash, digest);
    hex_encode(digest, SHA256_BYTES, out);
}

int inference_answer_add_event(struct inference *q, json_t *data)
{
    return reply_print_event(&q->event, data);
}

/* There is one choice: what is said at its end is said at the end of all. */
int inference_answer_event(struct inference *q, struct inference_choice *c, bool last)
{
    json_t *data = last ? NULL : json_object();
    if (last)
        return 0;
    if (!data || add_text(c, data, c->sent_text, c->sent_tokens) != 0) {
        json_decref(data);
        return -1;
    }
    c->sent_text = c->output.text_ready;
    c->sent_tokens = c->output.tokens_ready;
    return inference_answer_add_event(q, data);
}

static int add_error_event(struct inference *q, const struct err *e)
{
    if (buf_append_string(&q->event, "event: error\ndata: ") != 0 ||
        reply_format_error(q->r, e, &q->event) != 0)
        return -1;
    return buf_append_string(&q->event, "\n\n");
}

int inference_answer_last_event(struct inference *q)
{
    const struct inference_choice *c = &q->choices[0];
    if (c->failed)
        return add_error_event(q, &c->error);
    json_t *data = head_json(q);
    if (!data || add_text(c, data, c->sent_text, c->sent_tokens) != 0 || add_end(q, data) != 0) {
        json_decref(data);
        return -1;
    }
    if (inference_answer_add_event(q, data) != 0)
        return -1;
    return buf_append_string(&q->event, "data: [DONE]\n\n");
}

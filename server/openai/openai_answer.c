/* What the answers of OpenAI's routes have in common, and those of POST /v1/completions: as a whole, or as
 * server-sent events. */
#include <string.h>

#include "server/http/adapter_json.h"
#include "server/http/list.h"
#include "server/openai/openai.h"
#include "server/http/reply.h"

/* ---- the parts ---- */

/* Thoughts are counted where the model may have some. */
static json_t *answer_usage(const struct inference *q)
{
    json_int_t prompt = inference_prompt_tokens(q), answer = inference_answer_tokens(q);
    json_t *details = q->reading.form.thoughts ? json_pack("{s:I}", "reasoning_tokens",
                                                           (json_int_t)openai_message_thought_tokens(q))
                                               : NULL;
    return json_pack("{s:I, s:I, s:I, s:{s:I}, s:o*}", "prompt_tokens", prompt, "completion_tokens", answer,
                     "total_tokens", prompt + answer, "prompt_tokens_details", "cached_tokens",
                     (json_int_t)inference_cached_tokens(q), "completion_tokens_details", details);
}

const char *openai_answer_model(const struct inference *q)
{
    return q->part_count ? q->parts[0].reference : q->r->server->model_name;
}

static json_t *answer_head(const struct inference *q, const char *object, json_t *choices)
{
    const struct server *s = q->r->server;
    char fingerprint[VERSION_TEXT_BYTES];
    if (q->part_count)
        adapter_json_version_text(q->parts[0].version, fingerprint);
    else
        hex_encode(s->info->fingerprint, SHA256_BYTES, fingerprint);
    return json_pack("{s:s, s:s, s:I, s:s, s:s, s:o}", "id", q->r->id, "object", object, "created",
                     (json_int_t)q->openai.created_s, "model", openai_answer_model(q), "system_fingerprint",
                     fingerprint, "choices", choices);
}

const char *openai_answer_finish(const struct inference_choice *c)
{
    if (c->result.finish != ENGINE_STOP)
        return "length";
    return answer_reader_calls(&c->reader) > 0 ? "tool_calls" : "stop";
}

json_t *openai_answer_choice(const struct inference_choice *c, const char *finish)
{
    return json_pack("{s:i, s:s?}", "index", c->index, "finish_reason", finish);
}

int openai_answer_check_end(const struct inference *q, struct err *e)
{
    const struct inference_choice *failed = inference_failed(q);
    if (failed) {
        *e = failed->error;
        return -1;
    }
    for (int i = 0; i < q->choice_count; i++)
        if (q->choices[i].result.finish == ENGINE_CANCELLED)
            return err_set(e, "shutting_down", "the daemon was stopped before the answer was complete");
    return 0;
}

int openai_answer_whole(const struct inference *q, const char *object, json_t *choices, json_t **out,
                        struct err *e)
{
    json_t *body = answer_head(q, object, choices);
    if (body && json_object_set_new(body, "usage", answer_usage(q)) == 0) {
        *out = body;
        return 0;
    }
    json_decref(body);
    return err_memory(e);
}

/* ---- events ---- */

/* Where usage is wanted, all events have the member. */
int openai_answer_add_chunk(struct inference *q, const char *object, json_t *choices, json_t *usage)
{
    json_t *data = answer_head(q, object, choices);
    if (!usage)
        usage = q->openai.usage_wanted ? json_null() : NULL;
    if (!usage || json_object_set_new(data, "usage", usage) == 0)
        return inference_answer_add_event(q, data);
    json_decref(data);
    return -1;
}

/* As OpenAI's clients find it: they look at the data, not at the event's name. */
static int add_error(struct inference *q, const struct err *e)
{
    if (buf_append_string(&q->event, "data: ") != 0 || reply_format_error(q->r, e, &q->event) != 0)
        return -1;
    return buf_append_string(&q->event, "\n\n");
}

int openai_answer_add_end(struct inference *q, const char *object)
{
    struct err e;
    if (openai_answer_check_end(q, &e) != 0)
        return add_error(q, &e);
    if (q->openai.usage_wanted && openai_answer_add_chunk(q, object, json_array(), answer_usage(q)) != 0)
        return -1;
    return buf_append_string(&q->event, "data: [DONE]\n\n");
}

/* ---- completions ---- */

static const char object[] = "text_completion";

/* What is ready of the answer behind `from` bytes, with the prompt in front where it is echoed. */
static json_t *text_json(const struct inference_choice *c, size_t from)
{
    const struct output *o = &c->output;
    const struct buf *prompt = &c->prompt->text;
    struct buf text = {0};
    int failed = openai_echoes(c) && prompt->length && buf_append(&text, prompt->data, prompt->length) != 0;
    if (!failed && o->text_ready > from)
        failed = buf_append(&text, o->text.data + from, o->text_ready - from);
    json_t *json = failed ? NULL : json_stringn(text.length ? text.data : "", text.length);
    buf_fini(&text);
    return json;
}

/* What is ready of the answer behind `text` bytes and `token` tokens. */
static json_t *choice_json(const struct inference_choice *c, size_t text, size_t token, size_t offset[2],
                           bool finished)
{
    const struct output *o = &c->output;
    json_t *choice = openai_answer_choice(c, finished ? openai_answer_finish(c) : NULL);
    json_t *content = text_json(c, text);
    bool wanted = o->options.want_logprobs && !c->q->openai.logprobs_unasked;
    json_t *logprobs = wanted && (!c->q->stream || openai_echoes(c) || o->tokens_ready > token)
                           ? openai_logprobs_completions(c, token, o->tokens_ready, offset)
                           : json_null();
    int failed = json_object_set_new(choice, "text", content);
    failed |= json_object_set_new(choice, "logprobs", logprobs);
    if (!failed)
        return choice;
    json_decref(choice);
    return NULL;
}

static json_t *numbered(const struct inference_choice *c, int index)
{
    size_t offset[2] = {0};
    json_t *choice = choice_json(c, 0, 0, offset, true);
    if (choice && json_object_set_new(choice, "index", json_integer(index)) == 0)
        return choice;
    json_decref(choice);
    return NULL;
}

int openai_answer_completions(struct inference *q, json_t **out, struct err *e)
{
    if (openai_answer_check_end(q, e) != 0)
        return -1;
    const struct inference_choice *sorted[INFERENCE_CHOICES_MAX];
    json_t *choices = json_array();
    for (int i = 0; i < q->choice_count; i += q->choices_each) {
        openai_best_sort(q, i, sorted);
        for (int k = 0; k < q->openai.kept; k++)
            list_add(&choices, numbered(sorted[k], (int)json_array_size(choices)));
    }
    return openai_answer_whole(q, object, choices, out, e);
}

int openai_answer_completions_event(struct inference *q, struct inference_choice *c, bool last)
{
    json_t *choice = choice_json(c, c->sent_text, c->sent_tokens, c->offset, last);
    c->sent_text = c->output.text_ready;
    c->sent_tokens = c->output.tokens_ready;
    c->begun = true;
    return openai_answer_add_chunk(q, object, json_pack("[o]", choice), NULL);
}

int openai_answer_completions_last_event(struct inference *q)
{
    return openai_answer_add_end(q, object);
}

/* ---- errors ---- */

static long long longest_prompt(const struct inference *q)
{
    size_t longest = 0;
    for (int i = 0; i < q->prompt_count; i++)
        if (q->prompts[i].tokens.count > longest)
            longest = q->prompts[i].tokens.count;
    return (long long)longest;
}

/* Under the names that OpenAI's clients act upon: they shorten the history where the context is said to be
 * exceeded. Some look at the code, some for words in the message ("maximum context length", "prompt is too
 * long") and for both numbers. */
void openai_translate_field(const struct inference *q, const char *field, struct err *e)
{
    struct engine_stats stats;
    if (strcmp(e->code, "prompt_too_long") != 0)
        return;
    engine_stats(q->r->server->engine, &stats);
    err_set(e, "context_length_exceeded",
            "This model's maximum context length is %d tokens. However, your %s resulted in %lld tokens: the "
            "prompt is too long. Please reduce the length of the %s.",
            stats.context_length, field, longest_prompt(q), field);
    err_param(e, field);
}

void openai_translate_completions(const struct inference *q, struct err *e)
{
    openai_translate_field(q, "prompt", e);
}

void openai_translate_chat(const struct inference *q, struct err *e)
{
    openai_translate_field(q, "messages", e);
}

/* The answers of POST /v1/completions and POST /v1/chat/completions: as a whole, or as server-sent events. */
#include <string.h>

#include "server/http/adapter_json.h"
#include "server/http/list.h"
#include "server/openai/openai.h"
#include "server/http/reply.h"

/* What a choice is called and consists of; the two routes differ in nothing else. */
struct shape {
    const char *object, *chunk;
    /* The member that has the text, whole or a piece of it; `first`: nothing of it was sent before. */
    int (*add_text)(json_t *choice, json_t *text, bool piece, bool first);
    json_t *(*logprobs)(const struct inference_choice *c, size_t from, size_t to, size_t offset[2]);
};

/* ---- texts ---- */

static int completions_add_text(json_t *choice, json_t *text, bool piece, bool first)
{
    (void)piece;
    (void)first;
    return json_object_set_new(choice, "text", text);
}

static int chat_add_text(json_t *choice, json_t *text, bool piece, bool first)
{
    const char *name = piece ? "delta" : "message";
    if (!piece || first)
        return json_object_set_new(
            choice, name, json_pack("{s:s, s:o, s:n}", "role", "assistant", "content", text, "refusal"));
    if (json_string_length(text) > 0)
        return json_object_set_new(choice, name, json_pack("{s:o}", "content", text));
    json_decref(text);
    return json_object_set_new(choice, name, json_object());
}

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

static const struct shape completions = {"text_completion", "text_completion", completions_add_text,
                                         openai_logprobs_completions},
                          chat = {"chat.completion", "chat.completion.chunk", chat_add_text,
                                  openai_logprobs_chat};

/* ---- the parts ---- */

static json_t *usage_json(const struct inference *q)
{
    json_int_t prompt = inference_prompt_tokens(q), answer = inference_answer_tokens(q);
    return json_pack("{s:I, s:I, s:I, s:{s:I}}", "prompt_tokens", prompt, "completion_tokens", answer,
                     "total_tokens", prompt + answer, "prompt_tokens_details", "cached_tokens",
                     (json_int_t)inference_cached_tokens(q));
}

static json_t *head_json(const struct inference *q, const char *object, json_t *choices)
{
    const struct server *s = q->r->server;
    char fingerprint[VERSION_TEXT_BYTES];
    if (q->part_count)
        adapter_json_version_text(q->parts[0].version, fingerprint);
    else
        hex_encode(s->info->fingerprint, SHA256_BYTES, fingerprint);
    return json_pack("{s:s, s:s, s:I, s:s, s:s, s:o}", "id", q->r->id, "object", object, "created",
                     (json_int_t)q->openai.created_s, "model",
                     q->part_count ? q->parts[0].reference : s->model_name, "system_fingerprint", fingerprint,
                     "choices", choices);
}

static const char *finish_name(const struct inference_choice *c)
{
    return c->result.finish == ENGINE_STOP ? "stop" : "length";
}

/* What is ready of the answer behind `text` bytes and `token` tokens. */
static json_t *choice_json(const struct inference_choice *c, const struct shape *shape, size_t text,
                           size_t token, size_t offset[2], bool finished)
{
    const struct output *o = &c->output;
    bool piece = c->q->stream;
    json_t *choice =
        json_pack("{s:i, s:s?}", "index", c->index, "finish_reason", finished ? finish_name(c) : NULL);
    json_t *content = text_json(c, text);
    json_t *logprobs = o->options.want_logprobs && (!piece || openai_echoes(c) || o->tokens_ready > token)
                           ? shape->logprobs(c, token, o->tokens_ready, offset)
                           : json_null();
    int failed = shape->add_text(choice, content, piece, !c->begun);
    failed |= json_object_set_new(choice, "logprobs", logprobs);
    if (!failed)
        return choice;
    json_decref(choice);
    return NULL;
}

/* OpenAI's clients know no answer that ends before its end. */
static int check_end(const struct inference *q, struct err *e)
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

/* ---- the whole answer ---- */

static int answer(const struct inference *q, const struct shape *shape, json_t **out, struct err *e)
{
    if (check_end(q, e) != 0)
        return -1;
    json_t *choices = json_array();
    for (int i = 0; i < q->choice_count; i++) {
        size_t offset[2] = {0};
        list_add(&choices, choice_json(&q->choices[i], shape, 0, 0, offset, true));
    }
    json_t *body = head_json(q, shape->object, choices);
    if (body && json_object_set_new(body, "usage", usage_json(q)) == 0) {
        *out = body;
        return 0;
    }
    json_decref(body);
    return err_memory(e);
}

int openai_answer_completions(const struct inference *q, json_t **out, struct err *e)
{
    return answer(q, &completions, out, e);
}

int openai_answer_chat(const struct inference *q, json_t **out, struct err *e)
{
    return answer(q, &chat, out, e);
}

/* ---- events ---- */

/* `usage`: NULL where it is not known yet. Where it is wanted, all events have the member. */
static int add_chunk(struct inference *q, const struct shape *shape, json_t *choices, json_t *usage)
{
    json_t *data = head_json(q, shape->chunk, choices);
    if (!usage)
        usage = q->openai.usage_wanted ? json_null() : NULL;
    if (!usage || json_object_set_new(data, "usage", usage) == 0)
        return inference_answer_add_event(q, data);
    json_decref(data);
    return -1;
}

static int event(struct inference *q, struct inference_choice *c, const struct shape *shape, bool last)
{
    json_t *choice = choice_json(c, shape, c->sent_text, c->sent_tokens, c->offset, last);
    c->sent_text = c->output.text_ready;
    c->sent_tokens = c->output.tokens_ready;
    c->begun = true;
    return add_chunk(q, shape, json_pack("[o]", choice), NULL);
}

/* As OpenAI's clients find it: they look at the data, not at the event's name. */
static int add_error(struct inference *q, const struct err *e)
{
    if (buf_append_string(&q->event, "data: ") != 0 || reply_format_error(q->r, e, &q->event) != 0)
        return -1;
    return buf_append_string(&q->event, "\n\n");
}

static int last_event(struct inference *q, const struct shape *shape)
{
    struct err e;
    if (check_end(q, &e) != 0)
        return add_error(q, &e);
    if (q->openai.usage_wanted && add_chunk(q, shape, json_array(), usage_json(q)) != 0)
        return -1;
    return buf_append_string(&q->event, "data: [DONE]\n\n");
}

int openai_answer_completions_event(struct inference *q, struct inference_choice *c, bool last)
{
    return event(q, c, &completions, last);
}

int openai_answer_completions_last_event(struct inference *q)
{
    return last_event(q, &completions);
}

int openai_answer_chat_event(struct inference *q, struct inference_choice *c, bool last)
{
    return event(q, c, &chat, last);
}

int openai_answer_chat_last_event(struct inference *q)
{
    return last_event(q, &chat);
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

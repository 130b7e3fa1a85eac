/* The answers of POST /v1/completions and POST /v1/chat/completions: as a whole, or as server-sent events. */
#include <string.h>

#include "server/http/adapter_json.h"
#include "server/http/list.h"
#include "server/inference/openai.h"
#include "server/http/reply.h"

/* What a choice is called and consists of; the two routes differ in nothing else. */
struct shape {
    const char *object, *chunk;
    /* The member that has the text, whole or a piece of it; `first`: nothing of it was sent before. */
    int (*add_text)(json_t *choice, json_t *text, bool piece, bool first);
    json_t *(*logprobs)(const struct inference *q, size_t from, size_t to, size_t offset[2]);
};

/* Is the prompt still to come? */
static bool echoes(const struct inference *q)
{
    return q->openai.echo && !q->openai.begun;
}

/* ---- log-probabilities ---- */

static size_t characters(const char *text, size_t length)
{
    size_t count = 0;
    for (size_t i = 0; i < length; i++)
        count += ((unsigned char)text[i] & 0xC0) != 0x80;
    return count;
}

/* Where the token's text begins, in characters; the offset of the one before is {bytes, characters}. */
static size_t move_offset(const struct output *o, size_t token, size_t offset[2])
{
    size_t begin = o->tokens[token].begin;
    if (begin > offset[0])
        offset[1] += characters(o->text.data + offset[0], begin - offset[0]);
    offset[0] = begin;
    return offset[1];
}

/* By the tokens' texts: of two with the same text the likelier one. */
static json_t *likeliest_by_text(const struct inference *q, const struct engine_token *t)
{
    json_t *all = json_object();
    for (int i = 0; all && i < t->top_count; i++) {
        json_t *text = inference_answer_token_text(q, t->top[i].token);
        const char *key = json_string_value(text);
        if (!key || (!json_object_get(all, key) &&
                     json_object_set_new(all, key, inference_answer_number(t->top[i].logprob)) != 0)) {
            json_decref(all);
            all = NULL;
        }
        json_decref(text);
    }
    return all;
}

struct columns {
    json_t *tokens, *own, *top, *offsets;
};

/* `known`: it was expected at all; the first token of a prompt is not. */
static void add_row(const struct inference *q, struct columns *c, int32_t token, bool known,
                    const struct engine_token *t, size_t offset)
{
    list_add(&c->tokens, inference_answer_token_text(q, token));
    list_add(&c->own, known ? inference_answer_number(t->logprob) : json_null());
    list_add(&c->top, known ? likeliest_by_text(q, t) : json_null());
    list_add(&c->offsets, json_integer((json_int_t)offset));
}

/* The prompt's tokens begin where its text does; those that the tokenizer added begin where the next one
 * does. */
static int add_prompt_rows(const struct inference *q, struct columns *c)
{
    const struct buf *prompt = &q->openai.prompt;
    struct detokenizer d;
    struct buf text = {0};
    struct err ignored;
    size_t offset[2] = {0};
    int failed = 0;
    detokenizer_init(&d, q->r->server->tokenizer, !q->openai.echo_special);
    for (size_t i = 0; i < q->tokens.count && !failed; i++) {
        size_t end = text.length < prompt->length ? text.length : prompt->length;
        if (end > offset[0])
            offset[1] += characters(prompt->data + offset[0], end - offset[0]);
        offset[0] = end;
        add_row(q, c, q->tokens.ids[i], i > 0, &q->prompt_top[i], offset[1]);
        failed = detokenizer_push(&d, q->tokens.ids[i], &text, &ignored);
    }
    detokenizer_fini(&d);
    buf_fini(&text);
    return failed;
}

static json_t *completions_logprobs(const struct inference *q, size_t from, size_t to, size_t offset[2])
{
    struct columns c = {json_array(), json_array(), json_array(), json_array()};
    size_t before = characters(q->openai.prompt.data, q->openai.prompt.length);
    if (echoes(q) && add_prompt_rows(q, &c) != 0) {
        json_decref(c.tokens);
        c.tokens = NULL;
    }
    for (size_t i = from; i < to; i++)
        add_row(q, &c, q->output.tokens[i].id, true, &q->output.logprobs[i],
                before + move_offset(&q->output, i, offset));
    return json_pack("{s:o, s:o, s:o, s:o}", "tokens", c.tokens, "token_logprobs", c.own, "top_logprobs",
                     c.top, "text_offset", c.offsets);
}

static json_t *bytes_json(const struct inference *q, int32_t token)
{
    struct buf bytes = {0};
    struct err ignored;
    json_t *list =
        tokenizer_bytes(q->r->server->tokenizer, token, &bytes, &ignored) == 0 ? json_array() : NULL;
    for (size_t i = 0; list && i < bytes.length; i++)
        list_add(&list, json_integer((unsigned char)bytes.data[i]));
    buf_fini(&bytes);
    return list;
}

static json_t *chat_logprob(const struct inference *q, int32_t token, double logprob)
{
    return json_pack("{s:o, s:o, s:o}", "token", inference_answer_token_text(q, token), "logprob",
                     inference_answer_number(logprob), "bytes", bytes_json(q, token));
}

static json_t *chat_logprobs(const struct inference *q, size_t from, size_t to, size_t offset[2])
{
    (void)offset;
    json_t *content = json_array();
    for (size_t i = from; i < to; i++) {
        const struct engine_token *t = &q->output.logprobs[i];
        json_t *entry = chat_logprob(q, t->token, t->logprob), *top = json_array();
        for (int k = 0; k < t->top_count; k++)
            list_add(&top, chat_logprob(q, t->top[k].token, t->top[k].logprob));
        if (json_object_set_new(entry, "top_logprobs", top) != 0) {
            json_decref(entry);
            entry = NULL;
        }
        list_add(&content, entry);
    }
    return json_pack("{s:o, s:n}", "content", content, "refusal");
}

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
static json_t *text_json(const struct inference *q, size_t from)
{
    const struct output *o = &q->output;
    const struct buf *prompt = &q->openai.prompt;
    struct buf text = {0};
    int failed = echoes(q) && prompt->length && buf_append(&text, prompt->data, prompt->length) != 0;
    if (!failed && o->text_ready > from)
        failed = buf_append(&text, o->text.data + from, o->text_ready - from);
    json_t *json = failed ? NULL : json_stringn(text.length ? text.data : "", text.length);
    buf_fini(&text);
    return json;
}

static const struct shape completions = {"text_completion", "text_completion", completions_add_text,
                                         completions_logprobs},
                          chat = {"chat.completion", "chat.completion.chunk", chat_add_text, chat_logprobs};

/* ---- the parts ---- */

static json_t *usage_json(const struct inference *q)
{
    json_int_t prompt = (json_int_t)q->tokens.count, answer = (json_int_t)q->output.token_count;
    return json_pack("{s:I, s:I, s:I, s:{s:i}}", "prompt_tokens", prompt, "completion_tokens", answer,
                     "total_tokens", prompt + answer, "prompt_tokens_details", "cached_tokens",
                     q->result.cached_tokens);
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

/* What is ready of the answer behind `text` bytes and `token` tokens; `finish`: NULL while it goes on. */
static json_t *choice_json(const struct inference *q, const struct shape *shape, size_t text, size_t token,
                           size_t offset[2], const char *finish)
{
    const struct output *o = &q->output;
    bool piece = q->stream;
    json_t *choice = json_pack("{s:i, s:s?}", "index", 0, "finish_reason", finish);
    json_t *content = text_json(q, text);
    json_t *logprobs = o->want_logprobs && (!piece || echoes(q) || o->tokens_ready > token)
                           ? shape->logprobs(q, token, o->tokens_ready, offset)
                           : json_null();
    int failed = shape->add_text(choice, content, piece, !q->openai.begun);
    failed |= json_object_set_new(choice, "logprobs", logprobs);
    if (!failed)
        return choice;
    json_decref(choice);
    return NULL;
}

static const char *finish_name(const struct inference *q)
{
    return q->result.finish == ENGINE_STOP ? "stop" : "length";
}

/* OpenAI's clients know no answer that ends before its end. */
static int check_end(const struct inference *q, struct err *e)
{
    if (q->failed)
        *e = q->error;
    else if (q->result.finish == ENGINE_CANCELLED)
        err_set(e, "shutting_down", "the daemon was stopped before the answer was complete");
    else
        return 0;
    return -1;
}

/* ---- the whole answer ---- */

static int answer(const struct inference *q, const struct shape *shape, json_t **out, struct err *e)
{
    size_t offset[2] = {0};
    if (check_end(q, e) != 0)
        return -1;
    json_t *body =
        head_json(q, shape->object, json_pack("[o]", choice_json(q, shape, 0, 0, offset, finish_name(q))));
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

static int event(struct inference *q, const struct shape *shape, const char *finish)
{
    json_t *choice = choice_json(q, shape, q->sent_text, q->sent_tokens, q->openai.offset, finish);
    q->sent_text = q->output.text_ready;
    q->sent_tokens = q->output.tokens_ready;
    q->openai.begun = true;
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
    if (event(q, shape, finish_name(q)) != 0 ||
        (q->openai.usage_wanted && add_chunk(q, shape, json_array(), usage_json(q)) != 0))
        return -1;
    return buf_append_string(&q->event, "data: [DONE]\n\n");
}

int openai_answer_completions_event(struct inference *q)
{
    return event(q, &completions, NULL);
}

int openai_answer_completions_last_event(struct inference *q)
{
    return last_event(q, &completions);
}

int openai_answer_chat_event(struct inference *q)
{
    return event(q, &chat, NULL);
}

int openai_answer_chat_last_event(struct inference *q)
{
    return last_event(q, &chat);
}

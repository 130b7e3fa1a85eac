/* Log-probabilities as OpenAI's clients read them. */
#include <string.h>

#include "server/http/list.h"
#include "server/openai/openai.h"

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

bool openai_echoes(const struct inference_choice *c)
{
    return c->q->openai.echo && !c->begun;
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
static int add_prompt_rows(const struct inference *q, const struct inference_prompt *p, struct columns *c)
{
    struct detokenizer d;
    struct buf text = {0};
    struct err ignored;
    size_t offset[2] = {0};
    int failed = 0;
    detokenizer_init(&d, q->tokenizer, !p->text_special);
    for (size_t i = 0; i < p->tokens.count && !failed; i++) {
        size_t end = text.length < p->text.length ? text.length : p->text.length;
        if (end > offset[0])
            offset[1] += characters(p->text.data + offset[0], end - offset[0]);
        offset[0] = end;
        add_row(q, c, p->tokens.ids[i], i > 0, &p->top[i], offset[1]);
        failed = detokenizer_push(&d, p->tokens.ids[i], &text, &ignored);
    }
    detokenizer_fini(&d);
    buf_fini(&text);
    return failed;
}

json_t *openai_logprobs_completions(const struct inference_choice *c, size_t from, size_t to,
                                    size_t offset[2])
{
    const struct output *o = &c->output;
    struct columns all = {json_array(), json_array(), json_array(), json_array()};
    size_t before = characters(c->prompt->text.data, c->prompt->text.length);
    if (openai_echoes(c) && add_prompt_rows(c->q, c->prompt, &all) != 0) {
        json_decref(all.tokens);
        all.tokens = NULL;
    }
    for (size_t i = from; i < to; i++)
        add_row(c->q, &all, o->tokens[i].id, true, &o->logprobs[i], before + move_offset(o, i, offset));
    return json_pack("{s:o, s:o, s:o, s:o}", "tokens", all.tokens, "token_logprobs", all.own, "top_logprobs",
                     all.top, "text_offset", all.offsets);
}

static json_t *bytes_json(const struct inference *q, int32_t token)
{
    struct buf bytes = {0};
    struct err ignored;
    json_t *list =
        tokenizer_bytes(q->tokenizer, token, &bytes, &ignored) == 0 ? json_array() : NULL;
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

json_t *openai_logprobs_chat(const struct inference_choice *c, size_t from, size_t to, size_t offset[2])
{
    const struct inference *q = c->q;
    (void)offset;
    json_t *content = json_array();
    for (size_t i = from; i < to; i++) {
        const struct engine_token *t = &c->output.logprobs[i];
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

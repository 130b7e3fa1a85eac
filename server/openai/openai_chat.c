/* The answers of POST /v1/chat/completions: as a whole, or as server-sent events. */
#include "server/http/list.h"
#include "server/openai/openai.h"

static const char object[] = "chat.completion", chunk[] = "chat.completion.chunk";

/* ---- the whole ---- */

static json_t *whole_choice(const struct inference_choice *c)
{
    const struct output *o = &c->output;
    size_t offset[2] = {0};
    json_t *choice = openai_answer_choice(c, openai_answer_finish(c));
    int failed = json_object_set_new(choice, "message", openai_message_whole(c));
    failed |= json_object_set_new(
        choice, "logprobs",
        o->options.want_logprobs ? openai_logprobs_chat(c, 0, o->tokens_ready, offset) : json_null());
    if (!failed)
        return choice;
    json_decref(choice);
    return NULL;
}

int openai_chat_answer(struct inference *q, json_t **out, struct err *e)
{
    if (openai_answer_check_end(q, e) != 0)
        return -1;
    json_t *choices = json_array();
    for (int i = 0; i < q->choice_count; i++) {
        if (openai_message_read(&q->choices[i], true, e) != 0) {
            json_decref(choices);
            return -1;
        }
        list_add(&choices, whole_choice(&q->choices[i]));
    }
    return openai_answer_whole(q, object, choices, out, e);
}

/* ---- events ---- */

/* The tokens since the last event, with the first that is said of them. */
static json_t *news_logprobs(struct inference_choice *c)
{
    const struct output *o = &c->output;
    size_t from = c->sent_tokens;
    c->sent_tokens = o->tokens_ready;
    return o->options.want_logprobs && o->tokens_ready > from
               ? openai_logprobs_chat(c, from, o->tokens_ready, c->offset)
               : json_null();
}

/* `delta` is taken over. */
static int add_delta(struct inference *q, struct inference_choice *c, json_t *delta, const char *finish)
{
    json_t *choice = openai_answer_choice(c, finish);
    int failed = json_object_set_new(choice, "delta", delta);
    failed |= json_object_set_new(choice, "logprobs", news_logprobs(c));
    if (!failed)
        return openai_answer_add_chunk(q, chunk, json_pack("[o]", choice), NULL);
    json_decref(choice);
    return -1;
}

/* One that was not begun says at least whose it is. */
static json_t *empty_delta(struct inference_choice *c)
{
    bool begun = c->begun;
    c->begun = true;
    return begun ? json_object()
                 : json_pack("{s:s, s:s, s:n}", "role", "assistant", "content", "", "refusal");
}

int openai_chat_event(struct inference *q, struct inference_choice *c, bool last)
{
    struct err ignored;
    int failed = openai_message_read(c, last, &ignored);
    json_t *news = failed ? NULL : openai_message_news(c);
    for (size_t i = 0; !failed && i < json_array_size(news); i++)
        failed = add_delta(q, c, json_incref(json_array_get(news, i)), NULL);
    bool unsaid = c->output.options.want_logprobs && c->output.tokens_ready > c->sent_tokens;
    if (!failed && news && !last && unsaid)
        failed = add_delta(q, c, empty_delta(c), NULL);
    else if (!failed && news && last)
        failed = add_delta(q, c, empty_delta(c), openai_answer_finish(c));
    c->sent_tokens = c->output.tokens_ready;
    json_decref(news);
    return failed || !news ? -1 : 0;
}

int openai_chat_last_event(struct inference *q)
{
    return openai_answer_add_end(q, chunk);
}

/* What a chat's answer consists of, as OpenAI's clients read it: thoughts, words and calls; as a whole
 * message, or as what is new of it. */
#include <stdio.h>
#include <string.h>

#include "server/http/list.h"
#include "server/openai/openai.h"

enum { CALL_ID_DIGITS = 24, CALL_ID_SHORT = 9 };

static json_t *text_json(const struct buf *text, size_t from)
{
    return json_stringn(text->length ? text->data + from : "", text->length - from);
}

/* ---- calls ---- */

void openai_message_call_id(const struct inference_choice *c, int call, char out[OPENAI_CALL_ID_MAX + 1])
{
    const struct call_format *f = c->q->reading.form.calls;
    char digits[INFERENCE_DIGITS + 1];
    inference_answer_digits(c->q, (const int[]){c->index, call}, 2, digits);
    if (f && f->short_id)
        snprintf(out, OPENAI_CALL_ID_MAX + 1, "%.*s", CALL_ID_SHORT, digits);
    else
        snprintf(out, OPENAI_CALL_ID_MAX + 1, "call_%.*s", CALL_ID_DIGITS, digits);
}

static json_t *call_json(const struct inference_choice *c, int index)
{
    char id[OPENAI_CALL_ID_MAX + 1];
    const struct call *call = &c->reader.calls.of[index];
    openai_message_call_id(c, index, id);
    return json_pack("{s:s, s:s, s:{s:o, s:o}}", "id", id, "type", "function", "function", "name",
                     text_json(&call->name, 0), "arguments", text_json(&call->arguments, 0));
}

/* ---- the whole ---- */

json_t *openai_message_whole(const struct inference_choice *c)
{
    const struct answer_reader *r = &c->reader;
    int calls = answer_reader_calls(r);
    bool silent = r->words.length == 0 && (calls > 0 || r->thoughts.length > 0);
    json_t *message = json_pack("{s:s, s:o, s:n}", "role", "assistant", "content",
                                silent ? json_null() : text_json(&r->words, 0), "refusal");
    int failed = !message;
    if (r->thoughts.length > 0)
        failed |= json_object_set_new(message, "reasoning_content", text_json(&r->thoughts, 0));
    json_t *list = calls ? json_array() : NULL;
    for (int i = 0; i < calls; i++)
        list_add(&list, call_json(c, i));
    if (calls)
        failed |= json_object_set_new(message, "tool_calls", list);
    if (!failed)
        return message;
    json_decref(message);
    return NULL;
}

/* ---- what is new ---- */

/* A delta of one member; the first of a choice says whose it is. */
static void add_delta(struct inference_choice *c, json_t **list, const char *name, json_t *value)
{
    json_t *delta =
        c->begun ? json_object() : json_pack("{s:s, s:n, s:n}", "role", "assistant", "content", "refusal");
    c->begun = true;
    if (!delta || json_object_set_new(delta, name, value) != 0) {
        json_decref(delta);
        delta = NULL;
    }
    list_add(list, delta);
}

static void add_text(struct inference_choice *c, json_t **list, const char *name, const struct buf *text,
                     size_t *told)
{
    if (text->length == *told)
        return;
    add_delta(c, list, name, text_json(text, *told));
    *told = text->length;
}

/* A call that is new comes with its id and name, and with the arguments as far as they are there. */
static void add_new_call(struct inference_choice *c, json_t **list)
{
    json_t *call = call_json(c, c->told.calls);
    if (call && json_object_set_new(call, "index", json_integer(c->told.calls)) != 0) {
        json_decref(call);
        call = NULL;
    }
    c->told.arguments = c->reader.calls.of[c->told.calls++].arguments.length;
    add_delta(c, list, "tool_calls", json_pack("[o]", call));
}

static void add_arguments(struct inference_choice *c, json_t **list)
{
    const struct buf *arguments = c->told.calls ? &c->reader.calls.of[c->told.calls - 1].arguments : NULL;
    if (!arguments || arguments->length == c->told.arguments)
        return;
    json_t *call = json_pack("{s:i, s:{s:o}}", "index", c->told.calls - 1, "function", "arguments",
                             text_json(arguments, c->told.arguments));
    c->told.arguments = arguments->length;
    add_delta(c, list, "tool_calls", json_pack("[o]", call));
}

int openai_message_read(struct inference_choice *c, bool last, struct err *e)
{
    const struct output *o = &c->output;
    size_t length = o->text_ready - c->sent_text;
    if (length && answer_reader_feed(&c->reader, o->text.data + c->sent_text, length, e) != 0)
        return -1;
    c->sent_text = o->text_ready;
    return last ? answer_reader_finish(&c->reader, e) : 0;
}

static int64_t thought_tokens(const struct inference_choice *c)
{
    const struct output *o = &c->output;
    size_t count = 0;
    if (c->reader.state == ANSWER_THOUGHTS) /* it came no further */
        return (int64_t)o->token_count;
    while (count < o->token_count && o->tokens[count].begin < c->reader.thoughts_end)
        count++;
    return (int64_t)count;
}

int64_t openai_message_thought_tokens(const struct inference *q)
{
    int64_t count = 0;
    for (int i = 0; i < q->choice_count; i++)
        count += thought_tokens(&q->choices[i]);
    return count;
}

json_t *openai_message_news(struct inference_choice *c)
{
    json_t *list = json_array();
    int calls = answer_reader_calls(&c->reader);
    add_text(c, &list, "reasoning_content", &c->reader.thoughts, &c->told.thoughts);
    add_text(c, &list, "content", &c->reader.words, &c->told.words);
    add_arguments(c, &list);
    while (c->told.calls < calls)
        add_new_call(c, &list);
    return list;
}

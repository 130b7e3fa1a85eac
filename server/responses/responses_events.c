/* A response as server-sent events: each item is announced, told in pieces and closed before the next. */
#include "server/responses/responses.h"

/* `data` is taken over. */
static int add_event(struct inference *q, const char *type, json_t *data)
{
    struct responses *m = q->own;
    json_t *event = json_pack("{s:s, s:i}", "type", type, "sequence_number", m->sequence++);
    int failed = !data || !event || json_object_update(event, data) != 0 ||
                 buf_append_string(&q->event, "event: ") != 0 || buf_append_string(&q->event, type) != 0 ||
                 buf_append_string(&q->event, "\n") != 0;
    json_decref(data);
    if (!failed)
        return inference_answer_add_event(q, event);
    json_decref(event);
    return -1;
}

static int add_response(struct inference *q, const char *type, const char *status, const struct err *error)
{
    return add_event(q, type, json_pack("{s:o}", "response", responses_object(q, status, error)));
}

int responses_first_event(struct inference *q)
{
    if (add_response(q, "response.created", "in_progress", NULL) != 0)
        return -1;
    return add_response(q, "response.in_progress", "in_progress", NULL);
}

/* ---- items ---- */

/* Of an item or of its part; `value` is taken over. */
static json_t *about(const struct inference_choice *c, const struct responses_item *item, const char *name,
                     json_t *value)
{
    char id[RESPONSES_ID_MAX + 1];
    responses_item_id(c, item, id);
    json_t *data = json_pack("{s:i, s:s, s:o}", "output_index", item->index, "item_id", id, name, value);
    if (data && item->kind != RESPONSES_CALL &&
        json_object_set_new(data, "content_index", json_integer(0)) != 0) {
        json_decref(data);
        return NULL;
    }
    return data;
}

static int add_item(struct inference *q, const struct inference_choice *c, const struct responses_item *item,
                    const char *type, const char *status)
{
    return add_event(
        q, type,
        json_pack("{s:i, s:o}", "output_index", item->index, "item", responses_item_json(c, item, status)));
}

static int add_part(struct inference *q, const struct inference_choice *c, const struct responses_item *item,
                    const char *type)
{
    if (item->kind == RESPONSES_CALL)
        return 0;
    return add_event(q, type, about(c, item, "part", responses_part_json(c, item)));
}

static int open_item(struct inference *q, const struct inference_choice *c, const struct responses_item *item)
{
    struct responses *m = q->own;
    struct responses_item begun = *item;
    begun.to = begun.from;
    begun.end = begun.begin;
    m->open = true;
    m->told = item->from;
    m->told_tokens = item->begin;
    if (add_item(q, c, item, "response.output_item.added", NULL) != 0)
        return -1;
    return add_part(q, c, &begun, "response.content_part.added");
}

/* The text from `from` on, or its end. */
static int add_text(struct inference *q, const struct inference_choice *c, const struct responses_item *item,
                    bool done, size_t from, size_t first_token)
{
    static const struct {
        const char *delta, *done, *name;
    } types[] = {
        {"response.reasoning_text.delta", "response.reasoning_text.done", "text"},
        {"response.output_text.delta", "response.output_text.done", "text"},
        {"response.function_call_arguments.delta", "response.function_call_arguments.done", "arguments"},
    };
    const char *type = done ? types[item->kind].done : types[item->kind].delta;
    json_t *data = about(c, item, done ? types[item->kind].name : "delta",
                         responses_text_json(item->text, from, item->to));
    int failed = !data;
    if (item->kind == RESPONSES_MESSAGE)
        failed |= json_object_set_new(data, "logprobs", responses_logprobs(c, first_token, item->end));
    if (item->kind == RESPONSES_CALL && done)
        failed |= json_object_set_new(data, "name",
                                      responses_text_json(&item->call->name, 0, item->call->name.length));
    if (!failed)
        return add_event(q, type, data);
    json_decref(data);
    return -1;
}

static int tell(struct inference *q, const struct inference_choice *c, const struct responses_item *item)
{
    struct responses *m = q->own;
    if (item->to == m->told)
        return 0;
    int result = add_text(q, c, item, false, m->told, m->told_tokens);
    m->told = item->to;
    m->told_tokens = item->end;
    return result;
}

static int close_item(struct inference *q, const struct inference_choice *c,
                      const struct responses_item *item)
{
    struct responses *m = q->own;
    m->open = false;
    m->item++;
    if (add_text(q, c, item, true, item->from, item->begin) != 0 ||
        add_part(q, c, item, "response.content_part.done") != 0)
        return -1;
    return add_item(q, c, item, "response.output_item.done", responses_item_end(c, item));
}

/* ---- the stream ---- */

int responses_event(struct inference *q, struct inference_choice *c, bool last)
{
    struct responses *m = q->own;
    struct responses_item item;
    struct err ignored;
    int failed = openai_message_read(c, last, &ignored);
    while (!failed && responses_item_at(c, m->item, last, &item)) {
        failed = (!m->open && open_item(q, c, &item) != 0) || tell(q, c, &item) != 0;
        if (failed || !item.ended)
            break;
        failed = close_item(q, c, &item);
    }
    c->sent_tokens = c->output.tokens_ready;
    return failed ? -1 : 0;
}

int responses_last_event(struct inference *q)
{
    struct err e;
    if (openai_answer_check_end(q, &e) != 0)
        return add_response(q, "response.failed", "failed", &e);
    const char *end = responses_end(&q->choices[0]);
    return add_response(q, end[0] == 'c' ? "response.completed" : "response.incomplete", end, NULL);
}

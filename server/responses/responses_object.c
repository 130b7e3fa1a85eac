/* A response as one object, its items, and the whole answer. */
#include <stdio.h>
#include <string.h>

#include "core/system/clock.h"
#include "server/http/list.h"
#include "server/http/reply.h"
#include "server/responses/responses.h"

enum { ID_DIGITS = 24 };

/* ---- items ---- */

/* The same each time it is asked for, and in no other answer. */
void responses_item_id(const struct inference_choice *c, const struct responses_item *item,
                       char out[RESPONSES_ID_MAX + 1])
{
    static const char *const kinds[] = {"rs", "msg", "fc"};
    char digits[INFERENCE_DIGITS + 1];
    inference_answer_digits(c->q, &item->index, 1, digits);
    snprintf(out, RESPONSES_ID_MAX + 1, "%s_%.*s", kinds[item->kind], ID_DIGITS, digits);
}

json_t *responses_text_json(const struct buf *text, size_t from, size_t to)
{
    return json_stringn(to > from ? text->data + from : "", to - from);
}

json_t *responses_logprobs(const struct inference_choice *c, size_t from, size_t to)
{
    size_t offset[2] = {0};
    if (!c->output.options.want_logprobs)
        return json_array();
    json_t *both = openai_logprobs_chat(c, from, to, offset);
    json_t *list = json_incref(json_object_get(both, "content"));
    json_decref(both);
    return list;
}

json_t *responses_part_json(const struct inference_choice *c, const struct responses_item *item)
{
    json_t *text = responses_text_json(item->text, item->from, item->to);
    if (item->kind == RESPONSES_REASONING)
        return json_pack("{s:s, s:o}", "type", "reasoning_text", "text", text);
    return json_pack("{s:s, s:[], s:o, s:o}", "type", "output_text", "annotations", "logprobs",
                     responses_logprobs(c, item->begin, item->end), "text", text);
}

static json_t *call_json(const struct inference_choice *c, const struct responses_item *item, const char *id,
                         const char *status)
{
    char call_id[OPENAI_CALL_ID_MAX + 1];
    openai_message_call_id(c, item->call_index, call_id);
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "id", id, "type", "function_call", "status",
                     status ? status : "in_progress", "call_id", call_id, "name",
                     responses_text_json(&item->call->name, 0, item->call->name.length), "arguments",
                     responses_text_json(item->text, item->from, status ? item->to : item->from));
}

json_t *responses_item_json(const struct inference_choice *c, const struct responses_item *item,
                            const char *status)
{
    char id[RESPONSES_ID_MAX + 1];
    responses_item_id(c, item, id);
    if (item->kind == RESPONSES_CALL)
        return call_json(c, item, id, status);
    json_t *content = status ? json_pack("[o]", responses_part_json(c, item)) : json_array();
    const char *said = status ? status : "in_progress";
    if (item->kind == RESPONSES_REASONING)
        return json_pack("{s:s, s:s, s:[], s:o, s:s}", "id", id, "type", "reasoning", "summary", "content",
                         content, "status", said);
    return json_pack("{s:s, s:s, s:s, s:s, s:o}", "id", id, "type", "message", "status", said, "role",
                     "assistant", "content", content);
}

/* ---- the response ---- */

const char *responses_end(const struct inference_choice *c)
{
    return c->done && c->result.finish == ENGINE_STOP ? "completed" : "incomplete";
}

const char *responses_item_end(const struct inference_choice *c, const struct responses_item *item)
{
    return item->whole ? "completed" : responses_end(c);
}

static json_t *output_json(const struct inference_choice *c)
{
    struct responses_item item;
    json_t *list = json_array();
    for (int i = 0; c && responses_item_at(c, i, true, &item); i++)
        list_add(&list, responses_item_json(c, &item, responses_item_end(c, &item)));
    return list;
}

static json_t *usage_json(const struct inference *q)
{
    json_int_t input = inference_prompt_tokens(q), output = inference_answer_tokens(q);
    return json_pack("{s:I, s:{s:I, s:i}, s:I, s:{s:I}, s:I}", "input_tokens", input, "input_tokens_details",
                     "cached_tokens", (json_int_t)inference_cached_tokens(q), "cache_write_tokens", 0,
                     "output_tokens", output, "output_tokens_details", "reasoning_tokens",
                     (json_int_t)openai_message_thought_tokens(q), "total_tokens", input + output);
}

/* These clients know few codes: ours is in the message. */
static json_t *error_json(const struct err *e)
{
    struct buf message = {0};
    if (!e)
        return json_null();
    int failed = buf_printf(&message, "%s: %s", e->code, e->message);
    json_t *text = failed ? NULL : json_stringn(message.data, message.length);
    buf_fini(&message);
    return json_pack("{s:s, s:o}", "code", "server_error", "message", text ? text : json_string(e->code));
}

json_t *responses_object(const struct inference *q, const char *status, const struct err *error)
{
    const struct responses *m = q->own;
    bool running = strcmp(status, "in_progress") == 0, ended = strcmp(status, "completed") == 0;
    const char *reason = strcmp(status, "incomplete") == 0 ? "max_output_tokens" : NULL;
    json_t *head = json_loadb(m->head.data, m->head.length, 0, NULL);
    json_t *object =
        json_pack("{s:s, s:s, s:I, s:s, s:o, s:o, s:o, s:s, s:o, s:o}", "id", q->r->id, "object", "response",
                  "created_at", (json_int_t)q->openai.created_s, "status", status, "completed_at",
                  ended ? json_integer(clock_unix_ms() / 1000) : json_null(), "error", error_json(error),
                  "incomplete_details", reason ? json_pack("{s:s}", "reason", reason) : json_null(), "model",
                  openai_answer_model(q), "output", output_json(running ? NULL : &q->choices[0]), "usage",
                  running ? json_null() : usage_json(q));
    int failed = !head || !object || json_object_update(object, head) != 0;
    json_decref(head);
    if (!failed)
        return object;
    json_decref(object);
    return NULL;
}

int responses_answer(struct inference *q, json_t **out, struct err *e)
{
    struct inference_choice *c = &q->choices[0];
    if (openai_answer_check_end(q, e) != 0 || openai_message_read(c, true, e) != 0)
        return -1;
    *out = responses_object(q, responses_end(c), NULL);
    return *out ? 0 : err_memory(e);
}

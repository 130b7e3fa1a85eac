#include "cli/training/exact.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWER_TOKENS_MAX = 1024, NO_LABEL = -100 };

/* One line as a request and what should come of it. */
struct question {
    json_t *body, *expected; /* owned; `expected` is a text or a list of tokens */
};

static void question_fini(struct question *q)
{
    json_decref(q->body);
    json_decref(q->expected);
    *q = (struct question){0};
}

static void ask_chat(const json_t *line, struct question *q)
{
    json_t *messages = json_deep_copy(json_object_get(line, "messages")),
           *tools = json_object_get(line, "tools");
    size_t count = json_array_size(messages), i;
    json_t *last = json_array_get(messages, count - 1), *content = json_object_get(last, "content"), *message;
    const char *role = json_string_value(json_object_get(last, "role"));
    if (count > 1 && role && strcmp(role, "assistant") == 0 && json_is_string(content)) {
        q->expected = json_incref(content);
        json_array_remove(messages, count - 1);
        json_array_foreach(messages, i, message) json_object_del(message, "weight");
        q->body = json_pack("{s:O}", "messages", messages);
        if (json_is_array(tools))
            json_object_set(q->body, "tools", tools);
    }
    json_decref(messages);
}

static void ask_completion(const json_t *line, struct question *q)
{
    q->body = json_pack("{s:O}", "prompt", json_object_get(line, "prompt"));
    q->expected = json_incref(json_object_get(line, "completion"));
}

static json_int_t label_at(const json_t *labels, size_t i)
{
    return json_integer_value(json_array_get(labels, i));
}

static json_t *slice(const json_t *list, size_t from, size_t to)
{
    json_t *part = json_array();
    for (size_t i = from; part && i < to; i++)
        json_array_append(part, json_array_get(list, i));
    return part;
}

static void ask_tokens(const json_t *line, struct question *q)
{
    const json_t *tokens = json_object_get(line, "tokens"), *labels = json_object_get(line, "labels");
    size_t end = json_array_size(labels);
    while (end > 0 && label_at(labels, end - 1) == NO_LABEL)
        end--;
    size_t begin = end;
    while (begin > 0 && label_at(labels, begin - 1) != NO_LABEL)
        begin--;
    if (begin == 0 || begin == end)
        return; /* nothing to ask */
    q->body = json_pack("{s:o}", "tokens", slice(tokens, 0, begin));
    q->expected = slice(tokens, begin, end);
}

/* False: the line has no answer of its own. */
static bool read_question(const char *text, size_t length, struct question *q)
{
    json_t *line = json_loadb(text, length, JSON_ALLOW_NUL, NULL);
    if (json_is_array(json_object_get(line, "messages")))
        ask_chat(line, q);
    else if (json_is_string(json_object_get(line, "prompt")) &&
             json_is_string(json_object_get(line, "completion")))
        ask_completion(line, q);
    else if (json_is_array(json_object_get(line, "labels")))
        ask_tokens(line, q);
    json_decref(line);
    return q->body && q->expected;
}

/* A token has a byte at least, but for the one that ends it. */
static json_int_t tokens_at_most(const json_t *expected)
{
    size_t most = json_is_string(expected) ? json_string_length(expected) : json_array_size(expected);
    return most < ANSWER_TOKENS_MAX ? (json_int_t)most + 1 : ANSWER_TOKENS_MAX;
}

/* Tokens without the one that ended the run, which the answer leaves out. */
static bool is_right(const json_t *answer, const json_t *expected)
{
    if (json_is_string(expected))
        return json_equal(json_object_get(answer, "text"), expected);
    const json_t *found = json_object_get(answer, "tokens");
    size_t count = json_array_size(found), wanted = json_array_size(expected);
    if (count != wanted && count + 1 != wanted)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!json_equal(json_array_get(found, i), json_array_get(expected, i)))
            return false;
    return true;
}

static int ask(struct context *c, const char *tenant, const char *adapter, const struct question *q,
               int *right, struct err *e)
{
    struct answer answer;
    json_t *body = q->body;
    if (json_object_set_new(body, "adapter", json_string(adapter)) != 0 ||
        json_object_set_new(body, "max_tokens", json_integer(tokens_at_most(q->expected))) != 0 ||
        json_object_set_new(body, "temperature", json_integer(0)) != 0 ||
        (tenant && json_object_set_new(body, "tenant", json_string(tenant)) != 0))
        return err_memory(e);
    if (client_call_long(c->client, "POST", "/infer", body, &answer, e) != 0)
        return -1;
    *right += is_right(answer.json, q->expected);
    answer_fini(&answer);
    return 0;
}

int exact_count(struct context *c, const char *tenant, const char *adapter, const char *path, int *right,
                int *all, struct err *e)
{
    FILE *f = fopen(path, "re");
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;
    int result = f ? 0 : err_errno(e, "cannot read %s", path);
    *right = *all = 0;
    while (f && result == 0 && *all < EXACT_EXAMPLES_MAX && (length = getline(&line, &capacity, f)) > 0) {
        struct question q = {0};
        if (read_question(line, (size_t)length, &q)) {
            ++*all;
            result = ask(c, tenant, adapter, &q, right, e);
        }
        question_fini(&q);
    }
    free(line);
    if (f)
        fclose(f);
    return result;
}

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/lib/commands.h"
#include "cli/commands/infer_body.h"
#include "cli/lib/sse.h"

/* One run as its stream comes in. */
struct run {
    struct context *context;
    struct sse sse;
    json_t *last;      /* the event with finish_reason; owned */
    char newline_last; /* the text ended with a line feed */
    char done;         /* [DONE] was seen */
};

static void print_piece(struct run *r, const json_t *text)
{
    size_t length = json_string_length(text);
    if (length == 0)
        return;
    const char *bytes = json_string_value(text);
    print_output(stdout, bytes, length);
    fflush(stdout);
    r->newline_last = bytes[length - 1] == '\n';
}

static int on_event(void *arg, const char *name, const char *data, size_t length, struct err *e)
{
    struct run *r = arg;
    if (length == 6 && memcmp(data, "[DONE]", 6) == 0) {
        r->done = 1;
        return 0;
    }
    json_t *event = json_loadb(data, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    const json_t *error = json_object_get(event, "error");
    int result = 0;
    if (!json_is_object(event))
        result = err_set(e, "not_json", "an event of the stream is not a JSON object");
    else if (error || strcmp(name, "error") == 0)
        result = client_refusal(r->context->client, error ? error : event, e);
    else
        print_piece(r, json_object_get(event, "text"));
    if (result == 0 && json_object_get(event, "finish_reason")) {
        json_decref(r->last);
        r->last = json_incref(event);
    }
    json_decref(event);
    return result;
}

static int on_data(void *arg, const char *data, size_t length, struct err *e)
{
    struct run *r = arg;
    return sse_feed(&r->sse, data, length, on_event, r, e);
}

/* One line for the person in front of it. */
static void print_summary(const json_t *answer)
{
    const json_t *usage = json_object_get(answer, "usage"), *time = json_object_get(answer, "timing_ms");
    const char *reason = json_string_value(json_object_get(answer, "finish_reason"));
    if (!isatty(STDERR_FILENO) || !reason)
        return;
    fprintf(stderr, "[");
    print_text(stderr, reason, strlen(reason), 0);
    fprintf(stderr, ", %lld + %lld tokens, %.0f ms to the first, %.0f ms after]\n",
            (long long)json_integer_value(json_object_get(usage, "prompt_tokens")),
            (long long)json_integer_value(json_object_get(usage, "completion_tokens")),
            json_number_value(json_object_get(time, "queue")) +
                json_number_value(json_object_get(time, "load")) +
                json_number_value(json_object_get(time, "prefill")),
            json_number_value(json_object_get(time, "decode")));
}

static int run_streamed(struct context *c, const json_t *body, struct err *e)
{
    struct run r = {.context = c};
    int result = client_stream(c->client, "/infer", body, on_data, &r, e);
    if (!r.newline_last &&
        (result == 0 || r.sse.line.data)) /* the shell's prompt goes on a line of its own */
        putchar('\n');
    if (result == 0 && !r.done)
        result =
            err_set(e, "stream_broken", "the stream from %s ended before its end", client_url(c->client));
    if (result == 0)
        print_summary(r.last);
    json_decref(r.last);
    sse_fini(&r.sse);
    return result;
}

static int print_logprobs(const json_t *rows, struct err *e)
{
    struct table t;
    size_t i;
    const json_t *row;
    table_init(&t, ">TOKEN|>LOGPROB|TEXT");
    json_array_foreach(rows, i, row)
    {
        table_add_member(&t, row, "token");
        table_add_member(&t, row, "logprob");
        char *text = json_dumps(json_object_get(row, "text"), JSON_ENCODE_ANY);
        table_add(&t, text);
        free(text);
    }
    return table_print(&t, e);
}

static int print_whole(const struct answer *a, struct err *e)
{
    const json_t *text = json_object_get(a->json, "text"), *output = json_object_get(a->json, "output");
    const json_t *logprobs = json_object_get(a->json, "logprobs");
    if (output)
        return print_json(output, e);
    if (!json_is_string(text))
        return err_set(e, "not_adapterd", "the answer has neither text nor output");
    print_output(stdout, json_string_value(text), json_string_length(text));
    putchar('\n');
    if (logprobs && print_logprobs(logprobs, e) != 0)
        return -1;
    print_summary(a->json);
    return 0;
}

static int run_whole(struct context *c, const json_t *body, struct err *e)
{
    struct answer a;
    if (client_call_long(c->client, "POST", "/infer", body, &a, e) != 0)
        return -1;
    int result = 0;
    if (c->json)
        print_answer(&a);
    else
        result = print_whole(&a, e);
    answer_fini(&a);
    return result;
}

int infer_run(struct context *c, const struct args *a, struct err *e)
{
    int whole = c->json || args_get(a, "--no-stream") || args_get(a, "--logprobs") || args_get(a, "--input");
    json_t *body;
    if (infer_body_new(&body, a, e) != 0)
        return -1;
    int result;
    if (!whole && json_object_set_new(body, "stream", json_true()) != 0)
        result = err_memory(e);
    else
        result = whole ? run_whole(c, body, e) : run_streamed(c, body, e);
    json_decref(body);
    return result;
}

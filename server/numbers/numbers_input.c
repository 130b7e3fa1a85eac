/* The texts that numbers are asked about. */
#include <string.h>

#include "server/base/fields.h"
#include "server/numbers/numbers.h"

static int parse_ids(struct inference *q, json_t *list, const char *name, struct err *e)
{
    struct inference_prompt *p = inference_add_prompt(q, e);
    json_t *object = p ? json_pack("{s:O}", name, list) : NULL;
    if (!object)
        return err_memory(e);
    int found = field_tokens(object, name, q->vocab_size, &p->tokens, e);
    json_decref(object);
    return found < 0 ? -1 : 0;
}

static int parse_text(struct inference *q, const json_t *body, json_t *input, const char *name, struct err *e)
{
    if (json_is_array(input))
        return parse_ids(q, input, name, e);
    if (!json_is_string(input))
        return field_wrong_type(input, name, "a string, an array of token ids, or an array of these", e);
    return inference_parse_prompt(q, body, input, e) == 0 ? 0 : err_param(e, name);
}

/* No tokens are asked for. */
static void want_no_text(struct inference *q)
{
    q->sampling = (struct sampling){.top_p = 1, .logprobs = -1};
}

static int check_input(const struct inference *q, const json_t *input, const char *name, struct err *e)
{
    size_t count = json_array_size(input);
    if (q->r->server->info->numeric)
        err_set(e, "input_unsupported", "the model \"%s\" takes rows of numbers, not \"%s\"",
                q->r->server->model_name, name);
    else if (!input)
        err_set(e, "input_required", "\"%s\" is required", name);
    else if (json_is_array(input) && count == 0)
        err_set(e, "prompt_empty", "\"%s\" is empty", name);
    else
        return 0;
    return err_param(e, name);
}

static int parse_many(struct inference *q, const json_t *body, json_t *list, const char *name, struct err *e)
{
    size_t i, count = json_array_size(list);
    json_t *one;
    if (count > NUMBERS_INPUTS_MAX) {
        err_set(e, "out_of_range", "\"%s\" may have %d entries at most, found %zu", name, NUMBERS_INPUTS_MAX,
                count);
        return err_param(e, name);
    }
    json_array_foreach(list, i, one)
    {
        if (parse_text(q, body, one, name, e) != 0)
            return -1;
    }
    return 0;
}

int numbers_parse_input(struct inference *q, const json_t *body, const char *name, struct err *e)
{
    json_t *input = json_object_get(body, name), *first = json_array_get(input, 0);
    want_no_text(q);
    if (check_input(q, input, name, e) != 0)
        return -1;
    bool many = json_is_array(input) && !json_is_integer(first);
    return many ? parse_many(q, body, input, name, e) : parse_text(q, body, input, name, e);
}

int numbers_check_lengths(const struct inference *q, const char *name, struct err *e)
{
    struct engine_stats stats;
    engine_stats(q->r->server->engine, &stats);
    for (int i = 0; i < q->prompt_count; i++) {
        size_t count = q->prompts[i].tokens.count;
        if (count > 0 && count <= (size_t)stats.context_length)
            continue;
        err_set(e, count ? "prompt_too_long" : "prompt_empty", "text %d has %zu tokens, the context holds %d",
                i, count, stats.context_length);
        return err_param(e, name);
    }
    return 0;
}

int numbers_check_end(const struct inference *q, struct err *e)
{
    for (int i = 0; i < q->choice_count; i++)
        if (q->choices[i].result.finish == ENGINE_CANCELLED)
            return err_set(e, "shutting_down", "the daemon was stopped before the answer was complete");
    return 0;
}

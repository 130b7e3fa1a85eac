#include "adapters/jobs/running/samples.h"

#include "core/tokenizer/detokenizer.h"

enum { PROMPT_TOKENS_MAX = 2048 };

static int decode(const struct tokenizer *t, const int32_t *tokens, int count, struct buf *out, struct err *e)
{
    struct detokenizer d;
    int result = 0;
    detokenizer_init(&d, t, true);
    for (int i = 0; result == 0 && i < count; i++)
        result = detokenizer_push(&d, tokens[i], out, e);
    if (result == 0)
        result = detokenizer_finish(&d, out, e);
    detokenizer_fini(&d);
    return result;
}

/* Tokens before the last run of labels: what its answer is an answer to. */
static int prompt_length(const struct train_sequence *s, int *answer_end)
{
    int end = s->count;
    while (end > 1 && s->labels[end - 1] == TRAIN_NO_LABEL)
        end--;
    *answer_end = end;
    while (end > 1 && s->labels[end - 1] != TRAIN_NO_LABEL)
        end--;
    return end;
}

static int set_text(json_t *o, const char *name, const struct tokenizer *t, const int32_t *tokens, int count,
                    struct err *e)
{
    struct buf text = {0};
    int result = decode(t, tokens, count, &text, e);
    if (result == 0 &&
        json_object_set_new(o, name, json_stringn(text.length ? text.data : "", text.length)) != 0)
        result = err_memory(e);
    buf_fini(&text);
    return result;
}

static int answer(struct runner *r, const struct live *l, json_t *o, const char *name, struct delta *d,
                  const struct train_sequence *s, int prompt, struct err *e)
{
    struct engine_sample found;
    if (engine_sample(r->options.engine, l->row.tenant, d, s->tokens, (size_t)prompt, &found, e) != 0)
        return -1;
    return set_text(o, name, r->options.tokenizer, found.tokens, found.count, e);
}

static json_t *sample(struct runner *r, const struct live *l, struct delta *d, const struct train_sequence *s,
                      struct err *e)
{
    int end, prompt = prompt_length(s, &end);
    const struct tokenizer *t = r->options.tokenizer;
    json_t *o = prompt <= PROMPT_TOKENS_MAX ? json_object() : NULL;
    if (o && set_text(o, "prompt", t, s->tokens, prompt, e) == 0 &&
        set_text(o, "expected", t, s->tokens + prompt, end - prompt, e) == 0 &&
        answer(r, l, o, "base", NULL, s, prompt, e) == 0 && answer(r, l, o, "adapter", d, s, prompt, e) == 0)
        return o;
    json_decref(o);
    return NULL;
}

static int put(const char *bytes, size_t length, void *out)
{
    return buf_append(out, bytes, length);
}

static int collect(struct runner *r, const struct live *l, struct delta *d, json_t *list, struct err *e)
{
    const struct train_data *data = &l->work.valid->data;
    for (size_t i = 0; i < data->count && i < SAMPLES_MAX; i++) {
        struct train_line line;
        struct err ignored;
        if (data->line(data, i, &line, e) != 0)
            return -1;
        json_t *one = sample(r, l, d, &line.sequence, &ignored);
        if (one && json_array_append_new(list, one) != 0)
            return err_memory(e);
    }
    return 0;
}

int samples_run(struct runner *r, const struct live *l, struct buf *out, struct err *e)
{
    struct delta *d;
    if (!l->work.valid || r->info->numeric)
        return 0;
    if (train_params_delta(trainer_result(l->work.trainer), &d, e) != 0)
        return -1;
    json_t *list = json_array(), *all = json_pack("{s:O}", "samples", list);
    int result = all ? collect(r, l, d, list, e) : err_memory(e);
    if (result == 0 && json_array_size(list) > 0 && json_dump_callback(all, put, out, JSON_COMPACT) != 0)
        result = err_memory(e);
    json_decref(list);
    json_decref(all);
    delta_unref(d);
    return result;
}

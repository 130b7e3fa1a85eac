#include "server/inference/output.h"

#include <stdlib.h>

static const struct stops no_stops;

void output_init(struct output *o, const struct tokenizer *t, const struct output_options *options)
{
    o->options = *options;
    if (!options->stops)
        o->options.stops = &no_stops;
    if (t) {
        detokenizer_init(&o->detokenizer, t, !options->show_special);
        o->detokenizer.started = options->continued;
    }
    if (t && options->find_special) {
        detokenizer_init(&o->special_detokenizer, t, false);
        o->special_detokenizer.started = options->continued;
    }
}

void output_fini(struct output *o)
{
    if (o->detokenizer.tokenizer)
        detokenizer_fini(&o->detokenizer);
    if (o->special_detokenizer.tokenizer)
        detokenizer_fini(&o->special_detokenizer);
    buf_fini(&o->text);
    buf_fini(&o->special);
    free(o->tokens);
    free(o->logprobs);
    *o = (struct output){0};
}

static int grow(struct output *o, struct err *e)
{
    if (o->token_count < o->token_capacity)
        return 0;
    size_t capacity = o->token_capacity ? 2 * o->token_capacity : 32;
    void *tokens = realloc(o->tokens, capacity * sizeof *o->tokens);
    if (!tokens)
        return err_memory(e);
    o->tokens = tokens;
    if (o->options.want_logprobs) {
        void *logprobs = realloc(o->logprobs, capacity * sizeof *o->logprobs);
        if (!logprobs)
            return err_memory(e);
        o->logprobs = logprobs;
    }
    o->token_capacity = capacity;
    return 0;
}

/* ---- what is searched ---- */

static const struct buf *searchable(const struct output *o)
{
    return o->options.find_special ? &o->special : &o->text;
}

/* The place in the text of a place in what is searched; within a special token, where it would be. */
static size_t shown_at(const struct output *o, size_t place)
{
    size_t i = o->token_count, end = o->text.length;
    if (!o->options.find_special)
        return place;
    for (; i > 0 && o->tokens[i - 1].search > place; i--)
        end = o->tokens[i - 1].begin;
    size_t at = i > 0 ? o->tokens[i - 1].begin + (place - o->tokens[i - 1].search) : 0;
    return at < end ? at : end;
}

/* ---- what is shown ---- */

/* A stop string begins at `cut` of what is searched: what begins there or later is not part of the answer. */
static void cut_at(struct output *o, size_t cut)
{
    size_t end = shown_at(o, cut);
    o->cut = true;
    o->text.length = end > o->text_ready ? end : o->text_ready;
    if (o->text.data)
        o->text.data[o->text.length] = '\0';
    while (o->token_count && o->tokens[o->token_count - 1].search >= cut)
        o->token_count--;
    o->text_ready = o->text.length;
    o->tokens_ready = o->token_count;
}

static void release(struct output *o)
{
    const struct stops *stops = o->options.stops;
    const struct buf *searched = searchable(o);
    size_t ready = searched->length - stops_hold(stops, searched->data, searched->length);
    size_t shown = shown_at(o, ready);
    if (shown > o->text_ready)
        o->text_ready = shown;
    if (stops->count == 0)
        o->tokens_ready = o->token_count;
    while (o->tokens_ready < o->token_count && o->tokens[o->tokens_ready].search < ready)
        o->tokens_ready++;
}

/* What was written before the shortest answer was reached may hold stop strings. */
static void settle(struct output *o)
{
    size_t cut;
    const struct buf *text = searchable(o);
    bool early = o->token_count < (size_t)o->options.least_tokens;
    if (!early && stops_find(o->options.stops, text->data, text->length, o->searched, &cut)) {
        cut_at(o, cut);
        return;
    }
    o->searched = text->length;
    release(o);
}

static int add_token(struct output *o, const struct engine_token *t, struct err *e)
{
    if (grow(o, e) != 0)
        return -1;
    if (o->options.want_logprobs)
        o->logprobs[o->token_count] = *t;
    o->tokens[o->token_count++] = (struct output_token){t->token, o->text.length, searchable(o)->length};
    return 0;
}

int output_append(struct output *o, const struct engine_token *t, const char *text, size_t length,
                  struct err *e)
{
    if (add_token(o, t, e) != 0)
        return -1;
    if (buf_append(&o->text, text, length) != 0)
        return err_memory(e);
    settle(o);
    return 0;
}

static bool is_mark(const struct output *o, int32_t token)
{
    for (int i = 0; i < o->options.mark_count; i++)
        if (o->options.marks[i] == token)
            return true;
    return false;
}

static int push_text(struct output *o, int32_t token, struct err *e)
{
    o->detokenizer.skip_special_tokens = !o->options.show_special && !is_mark(o, token);
    return detokenizer_push(&o->detokenizer, token, &o->text, e);
}

int output_push(struct output *o, const struct engine_token *t, bool *more, struct err *e)
{
    if (add_token(o, t, e) != 0 || push_text(o, t->token, e) != 0)
        return -1;
    if (o->options.find_special && detokenizer_push(&o->special_detokenizer, t->token, &o->special, e) != 0)
        return -1;
    settle(o);
    *more = !o->cut;
    return 0;
}

int output_finish(struct output *o, struct err *e)
{
    if (o->cut)
        return 0;
    if (o->detokenizer.tokenizer && detokenizer_finish(&o->detokenizer, &o->text, e) != 0)
        return -1;
    if (o->options.find_special && detokenizer_finish(&o->special_detokenizer, &o->special, e) != 0)
        return -1;
    settle(o);
    if (!o->cut) {
        o->text_ready = o->text.length;
        o->tokens_ready = o->token_count;
    }
    return 0;
}

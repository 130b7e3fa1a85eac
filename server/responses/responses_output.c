/* The items of an answer: thoughts, then words and calls in the order in which the model wrote them. They are
 * found anew each time: what was found of an answer only grows, so that a stream tells what the whole is. */
#include <string.h>

#include "server/responses/responses.h"

/* Where the next item is looked for. */
struct walk {
    const struct inference_choice *c;
    bool last;
    int items;         /* before it */
    size_t words;      /* bytes that are in items before it */
    size_t text_begin; /* bytes of the whole text before its words */
};

static bool is_space(char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* Space between calls and words is no part of either. */
static size_t skip_space(const struct buf *words, size_t from, size_t to)
{
    while (from < to && is_space(words->data[from]))
        from++;
    return from;
}

/* The first token whose text begins at `at` or behind. */
static size_t token_at(const struct output *o, size_t at)
{
    size_t low = 0, high = o->tokens_ready;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (o->tokens[middle].begin < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Words up to `to`, which end before `text_end` bytes of the whole text; 0: they are the last. */
static bool take_words(struct walk *w, size_t to, size_t text_end, struct responses_item *out)
{
    const struct answer_reader *r = &w->c->reader;
    const struct output *o = &w->c->output;
    size_t known = w->last ? SIZE_MAX : r->fed - r->held.length;
    *out = (struct responses_item){.kind = RESPONSES_MESSAGE,
                                   .index = w->items,
                                   .text = &r->words,
                                   .from = w->words,
                                   .to = to,
                                   .whole = text_end,
                                   .ended = text_end || w->last};
    if (o->options.want_logprobs) {
        out->begin = token_at(o, w->text_begin);
        out->end = token_at(o, text_end ? text_end : known);
    }
    w->words = to;
    w->items++;
    return true;
}

static bool is_open(const struct answer_reader *r, int call, int calls)
{
    return call == calls - 1 && (r->state == ANSWER_JSON || r->state == ANSWER_ARGUMENTS || r->cut);
}

static void take_call(struct walk *w, int call, int calls, struct responses_item *out)
{
    const struct answer_reader *r = &w->c->reader;
    const struct call *of = &r->calls.of[call];
    bool open = is_open(r, call, calls);
    *out = (struct responses_item){.kind = RESPONSES_CALL,
                                   .index = w->items++,
                                   .text = &of->arguments,
                                   .to = of->arguments.length,
                                   .call_index = call,
                                   .call = of,
                                   .whole = !open,
                                   .ended = w->last || !open};
    w->text_begin = of->end;
}

static void take_thoughts(struct walk *w, struct responses_item *out)
{
    const struct answer_reader *r = &w->c->reader;
    *out = (struct responses_item){.kind = RESPONSES_REASONING,
                                   .index = w->items++,
                                   .text = &r->thoughts,
                                   .to = r->thoughts.length,
                                   .whole = r->state != ANSWER_THOUGHTS,
                                   .ended = w->last || r->state != ANSWER_THOUGHTS};
}

/* Words before a call, if there are any. */
static bool take_words_before(struct walk *w, const struct call *call, bool first, struct responses_item *out)
{
    const struct answer_reader *r = &w->c->reader;
    size_t to = call ? call->words : r->words.length;
    if (!first)
        w->words = skip_space(&r->words, w->words, to);
    return w->words < to && take_words(w, to, call ? call->begin : 0, out);
}

bool responses_item_at(const struct inference_choice *c, int index, bool last, struct responses_item *out)
{
    const struct answer_reader *r = &c->reader;
    struct walk w = {.c = c, .last = last};
    int calls = answer_reader_calls(r);
    if (r->thoughts_end)
        w.text_begin = r->thoughts_end + strlen(r->form.thoughts->close);
    if (r->thoughts.length > 0) {
        take_thoughts(&w, out);
        if (index == 0)
            return true;
    }
    for (int i = 0; i < calls; i++) {
        if (take_words_before(&w, &r->calls.of[i], i == 0, out) && w.items > index)
            return true;
        take_call(&w, i, calls, out);
        if (w.items > index)
            return true;
    }
    if (take_words_before(&w, NULL, calls == 0, out))
        return w.items > index;
    return last && w.items == 0 && index == 0 && take_words(&w, 0, 0, out); /* an answer without anything */
}

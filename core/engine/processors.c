#include "core/engine/processors.h"

#include <assert.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

/* What repetition leaves in `counts` of a token that it has seen. */
enum { SEEN = 1 };

struct work {
    const struct sampling *how;
    const struct processors_history *history;
    float *logits;
    uint32_t *counts;
    int vocab_size;
};

/* Ids that the vocabulary does not have cannot come and need no penalty. */
static bool known(const struct work *w, int32_t token)
{
    return token >= 0 && token < w->vocab_size;
}

/* ---- repetition: Keskar et al., "CTRL", 2019 ---- */

static bool repetition_wanted(const struct sampling *how, const struct processors_history *h)
{
    (void)h;
    return how->repetition_penalty > 0 && how->repetition_penalty != 1;
}

/* Each token once, however often it stands there; what is likely becomes less so on either side of zero. */
static void penalize_repetition(const struct work *w)
{
    const struct processors_history *h = w->history;
    float penalty = w->how->repetition_penalty;
    for (int i = 0; i < h->prompt + h->answered; i++) {
        int32_t token = h->tokens[i];
        if (!known(w, token) || w->counts[token])
            continue;
        w->counts[token] = SEEN;
        float *logit = &w->logits[token];
        *logit = *logit < 0 ? *logit * penalty : *logit / penalty;
    }
    for (int i = 0; i < h->prompt + h->answered; i++)
        if (known(w, h->tokens[i]))
            w->counts[h->tokens[i]] = 0;
}

/* ---- frequency and presence ---- */

static bool frequency_wanted(const struct sampling *how, const struct processors_history *h)
{
    (void)h;
    return how->frequency_penalty != 0 || how->presence_penalty != 0;
}

static void penalize_frequency(const struct work *w)
{
    const int32_t *answer = w->history->tokens + w->history->prompt;
    for (int i = 0; i < w->history->answered; i++)
        if (known(w, answer[i]))
            w->counts[answer[i]]++;
    for (int i = 0; i < w->history->answered; i++) {
        uint32_t count = known(w, answer[i]) ? w->counts[answer[i]] : 0;
        if (count == 0)
            continue;
        w->counts[answer[i]] = 0;
        w->logits[answer[i]] -= w->how->frequency_penalty * (float)count;
        w->logits[answer[i]] -= w->how->presence_penalty;
    }
}

/* ---- biases ---- */

static bool biases_wanted(const struct sampling *how, const struct processors_history *h)
{
    (void)h;
    return how->bias_count > 0;
}

static void add_biases(const struct work *w)
{
    for (int i = 0; i < w->how->bias_count; i++)
        if (known(w, w->how->biases[i].token))
            w->logits[w->how->biases[i].token] += w->how->biases[i].bias;
}

/* ---- bans ---- */

static bool bans_wanted(const struct sampling *how, const struct processors_history *h)
{
    (void)h;
    return how->ban_count > 0;
}

static bool is_end(const struct processors_history *h, int32_t token)
{
    for (int i = 0; i < h->end_count; i++)
        if (h->ends[i] == token)
            return true;
    return false;
}

/* Does all of the sequence but its last token stand at the end, of the prompt, too? An end token alone is not
 * banned: as in transformers. */
static bool is_due(const struct processors_history *h, const int32_t *sequence, int count)
{
    int before = count - 1, length = h->prompt + h->answered;
    if (before == 0)
        return !is_end(h, sequence[0]);
    return before <= length &&
           memcmp(h->tokens + length - before, sequence, (size_t)before * sizeof *sequence) == 0;
}

static void bar_bans(const struct work *w)
{
    for (int i = 0; i < w->how->ban_count; i++) {
        const struct sampling_ban *ban = &w->how->bans[i];
        const int32_t *sequence = w->how->ban_tokens + ban->begin;
        int32_t last = sequence[ban->count - 1];
        if (known(w, last) && is_due(w->history, sequence, ban->count))
            w->logits[last] = -INFINITY;
    }
}

/* ---- a shortest answer ---- */

static bool minimum_wanted(const struct sampling *how, const struct processors_history *h)
{
    return h->answered < how->min_tokens;
}

static void bar_ends(const struct work *w)
{
    for (int i = 0; i < w->history->end_count; i++)
        if (known(w, w->history->ends[i]))
            w->logits[w->history->ends[i]] = -INFINITY;
}

/* ---- constraints ---- */

static bool constraint_wanted(const struct sampling *how, const struct processors_history *h)
{
    (void)how;
    return h->allowed != NULL;
}

/* Nearly all tokens are allowed, or nearly none: either way whole words of them are passed at once. */
static void bar_others(const struct work *w)
{
    for (int first = 0; first < w->vocab_size; first += 64) {
        uint64_t barred = ~w->history->allowed[first / 64];
        int count = w->vocab_size - first < 64 ? w->vocab_size - first : 64;
        for (int i = 0; barred && i < count; i++, barred >>= 1)
            if (barred & 1)
                w->logits[first + i] = -INFINITY;
    }
}

/* ---- all of them ---- */

static const struct {
    bool (*wanted)(const struct sampling *how, const struct processors_history *h);
    void (*apply)(const struct work *w);
} processors[] = {
    {repetition_wanted, penalize_repetition},
    {frequency_wanted, penalize_frequency},
    {biases_wanted, add_biases},
    {bans_wanted, bar_bans},
    {minimum_wanted, bar_ends},
    {constraint_wanted, bar_others},
};

enum { PROCESSORS = sizeof processors / sizeof *processors };

bool processors_wanted(const struct sampling *how, const struct processors_history *h)
{
    for (int i = 0; i < PROCESSORS; i++)
        if (processors[i].wanted(how, h))
            return true;
    return false;
}

void processors_apply(const struct sampling *how, const struct processors_history *h, float *logits,
                      uint32_t *counts, int vocab_size)
{
    const struct work w = {how, h, logits, counts, vocab_size};
    assert(h->answered >= 0 && h->prompt >= 0);
    for (int i = 0; i < PROCESSORS; i++)
        if (processors[i].wanted(how, h))
            processors[i].apply(&w);
}

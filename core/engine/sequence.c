/* A request as the engine keeps it, from being submitted to its end. */
#include <stdlib.h>
#include <string.h>

#include "core/system/clock.h"
#include "core/delta/delta.h"
#include "core/engine/constraint.h"
#include "core/engine/engine_private.h"
#include "core/head/head.h"

enum { INPUT_ROWS_MAX = 1 << 20 };

void sequence_free(struct sequence *q)
{
    if (!q)
        return;
    if (q->request.sampling.constraint)
        q->request.sampling.constraint->free(q->request.sampling.constraint);
    free(q->ends);
    free((void *)q->request.sampling.biases);
    free((void *)q->request.sampling.bans);
    free((void *)q->request.sampling.ban_tokens);
    draft_free(&q->draft);
    delta_unref(q->request.delta);
    free((void *)q->request.tokens);
    free((void *)q->request.input);
    free(q);
}

int sequence_length(const struct engine *g, const struct sequence *q, int place)
{
    if (g->info->stretched_whole)
        return q->stretched ? g->info->stretched_beyond + 1 : place + 1;
    return place < q->prompt_tokens ? q->prompt_tokens : place + 1;
}

bool sequence_outgrows(const struct engine *g, const struct sequence *q)
{
    return g->info->stretched_whole && !q->stretched &&
           q->prompt_tokens + q->new_tokens > g->info->stretched_beyond;
}

/* Keys of a stretched prompt are others than those of one that is not, or is of another length. */
void sequence_stretch(const struct engine *g, struct sequence *q)
{
    struct sha256 hash;
    int32_t length = g->info->stretched_whole ? 0 : q->prompt_tokens;
    q->stretched = true;
    sha256_init(&hash);
    sha256_update(&hash, q->s.root.key, SHA256_BYTES);
    sha256_update(&hash, &length, sizeof length);
    sha256_final(&hash, q->s.root.key);
    q->s.chain = q->s.root;
}

static int check_tokens(const struct engine *g, const struct engine_request *r, struct err *e)
{
    int limit = g->stats.context_length;
    if (r->token_count == 0)
        return err_set(e, "prompt_empty", "the prompt has no tokens");
    if (r->token_count > (size_t)limit)
        return err_set(e, "prompt_too_long", "the prompt has %zu tokens, the context holds %d",
                       r->token_count, limit);
    int vocab = delta_vocab(r->delta, g->model);
    for (size_t i = 0; i < r->token_count; i++)
        if (r->tokens[i] < 0 || r->tokens[i] >= vocab)
            return err_set(e, "token_out_of_range", "token %zu is %d; the model has ids from 0 to %d", i,
                           r->tokens[i], vocab - 1);
    return 0;
}

static int check_rows(const struct engine_request *r, struct err *e)
{
    if (r->input_rows == 0)
        return err_set(e, "prompt_empty", "the input has no rows");
    if (r->input_rows > INPUT_ROWS_MAX)
        return err_set(e, "prompt_too_long", "the input has %zu rows; at most %d are accepted", r->input_rows,
                       INPUT_ROWS_MAX);
    return 0;
}

/* Copy what belongs to the caller. New tokens are put behind those of the prompt. */
static int copy_request(const struct engine *g, struct sequence *q, const struct engine_request *r,
                        struct err *e)
{
    size_t numbers = r->input_rows * (size_t)g->info->input_size;
    int32_t *tokens = malloc((r->token_count + (size_t)q->new_tokens_max + 1) * sizeof *tokens);
    float *input = malloc((numbers + 1) * sizeof *input);
    q->request = *r;
    q->request.tokens = tokens;
    q->request.input = input;
    q->request.sampling.biases = NULL;
    q->request.sampling.bans = NULL;
    q->request.sampling.ban_tokens = NULL;
    q->request.sampling.end_tokens = NULL;
    q->request.sampling.constraint = NULL; /* until it is submitted */
    q->request.delta = delta_ref(r->delta);
    if (!tokens || !input)
        return err_memory(e);
    if (r->token_count)
        memcpy(tokens, r->tokens, r->token_count * sizeof *tokens);
    if (r->cache_root && !r->on_logits && r->states != ENGINE_STATES_ALL)
        q->s.tokens = tokens;
    if (q->s.tokens)
        memcpy(q->s.root.key, r->cache_root, SHA256_BYTES);
    if (g->info->stretched_beyond && (int)r->token_count > g->info->stretched_beyond)
        sequence_stretch(g, q);
    if (numbers)
        memcpy(input, r->input, numbers * sizeof *input);
    return 0;
}

/* NULL where there is nothing to copy. */
static void *copy_of(const void *from, size_t size, int count, struct err *e, int *failed)
{
    void *copy = count ? malloc((size_t)count * size) : NULL;
    if (copy)
        memcpy(copy, from, (size_t)count * size);
    else if (count)
        *failed = err_memory(e);
    return copy;
}

static int copy_wishes(struct sequence *q, const struct sampling *how, struct err *e)
{
    struct sampling *own = &q->request.sampling;
    int failed = 0;
    own->biases = copy_of(how->biases, sizeof *how->biases, how->bias_count, e, &failed);
    own->bans = copy_of(how->bans, sizeof *how->bans, how->ban_count, e, &failed);
    own->ban_tokens = copy_of(how->ban_tokens, sizeof *how->ban_tokens, how->ban_token_count, e, &failed);
    return failed;
}

/* Which tokens end it, and what it keeps of the caller's wishes for the others. */
static int copy_sampling(const struct engine *g, struct sequence *q, const struct sampling *how,
                         struct err *e)
{
    /* A text that has to be something has to end, too. */
    const int32_t *own = how->end_tokens ? how->end_tokens : g->info->eos;
    int count = how->end_tokens ? how->end_token_count : g->info->eos_count,
        eos = how->ignore_eos && !how->constraint ? 0 : count;
    size_t stops = (size_t)how->stop_token_count;
    if (copy_wishes(q, how, e) != 0)
        return -1;
    q->ends = malloc((size_t)(eos + 1) * sizeof *q->ends + stops * sizeof *q->ends);
    if (!q->ends)
        return err_memory(e);
    memcpy(q->ends, own, (size_t)eos * sizeof *q->ends);
    if (stops)
        memcpy(q->ends + eos, how->stop_tokens, stops * sizeof *q->ends);
    q->end_count = eos + how->stop_token_count;
    q->request.sampling.stop_tokens = q->ends + eos;
    q->sampler.state = how->seed;
    return 0;
}

/* How long it may get. The last token's own keys and values are never needed. */
static void set_lengths(const struct engine *g, struct sequence *q, const struct engine_request *r)
{
    q->s.tenant = r->tenant;
    q->s.weight = r->weight > 0 ? r->weight : ENGINE_WEIGHT_DEFAULT;
    q->s.extra_cost = r->extra_cost;
    q->s.wants_all_logits = r->on_logits != NULL && !g->info->numeric;
    q->labels = r->scores ? delta_head(r->delta, g->model)->labels : 0;
    q->vocab = delta_vocab(r->delta, g->model);
    q->prompt_tokens = q->s.prompt_tokens = (int)(g->info->numeric ? r->input_rows : r->token_count);
    if (g->info->numeric)
        return;
    int room = g->stats.context_length - q->s.prompt_tokens + 1, wanted = r->sampling.max_tokens;
    q->new_tokens_max = wanted < 0 ? 0 : wanted < room ? wanted : room;
    q->s.reserve_tokens = q->s.prompt_tokens + (q->new_tokens_max > 0 ? q->new_tokens_max - 1 : 0);
}

int sequence_new(const struct engine *g, const struct engine_request *r, struct sequence **out, struct err *e)
{
    if ((g->info->numeric ? check_rows(r, e) : check_tokens(g, r, e)) != 0)
        return -1;
    struct sequence *q = calloc(1, sizeof *q);
    if (!q)
        return err_memory(e);
    set_lengths(g, q, r);
    TAILQ_INIT(&q->followers);
    if (copy_request(g, q, r, e) != 0 || copy_sampling(g, q, &r->sampling, e) != 0) {
        sequence_free(q);
        return -1;
    }
    worth_trust_init(&q->trust);
    q->submitted_us = clock_us();
    *out = q;
    return 0;
}

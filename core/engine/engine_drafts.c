/* Guesses in the engine's steps: several tokens of a sequence that copies are checked by one pass over the
 * weights. Which tokens come does not change: each is chosen from the same logits, by the same draws. */
#include "core/base/least.h"
#include "core/engine/constraint.h"
#include "core/engine/engine_private.h"

enum { GUESS_MAX = 15 }; /* with the token before it a tile of sixteen */
static const double copies_rate = 1.0 / 16, copies_much = 0.5;

/* As many tokens as it may guess: the last one's keys and values have no place, and one that makes the
 * sequence begin again is not computed before that. */
static int guess_room(const struct engine *g, const struct sequence *q, int share)
{
    int left = least(q->new_tokens_max - q->new_tokens - 1, least(GUESS_MAX, share));
    if (g->info->stretched_whole && !q->stretched)
        left = least(left, g->info->stretched_beyond - q->prompt_tokens - q->new_tokens);
    return left;
}

/* Where a constraint leaves one token, that one, and those behind it as long as there is one each; at most
 * `most`. */
static int guess_forced(const struct sequence *q, int32_t *out, int most)
{
    struct constraint *c = q->request.sampling.constraint, *ahead = NULL;
    struct constraint_mask mask;
    struct err e;
    int count = 0;
    for (; c && count < most; c = ahead) {
        if (c->mask(c, &mask, &e) != 0 || mask.count != 1 || mask.ends_only)
            break;
        if (!ahead && !(ahead = c->copy(c)))
            break;
        if (ahead->accept(ahead, mask.first, &e) != 0)
            break;
        out[count++] = mask.first;
    }
    if (ahead)
        ahead->free(ahead);
    return count;
}

static void guess(const struct engine *g, struct sequence *q, int share)
{
    int32_t *tokens = (int32_t *)q->request.tokens;
    int known = q->prompt_tokens + q->new_tokens, capacity = q->prompt_tokens + q->new_tokens_max,
        room = guess_room(g, q, share);
    q->draft_kind = DRAFT_FORCED;
    q->guessed = guess_forced(q, tokens + known, room);
    if (q->guessed == 0)
        q->guessed = draft_guess(&q->draft, capacity, tokens, q->prompt_tokens, known, tokens + known, room,
                                 &q->draft_kind);
}

int engine_draft(struct engine *g, int count, int room)
{
    struct worth_step s;
    int with = 0, copying = 0, drafted = 0;
    if (!g->options.drafts)
        return 0;
    room = least(room, ENGINE_ROWS_MORE);
    for (int i = 0; i < count; i++) {
        guess(g, g->order[i], (room + count - 1) / count);
        with += g->order[i]->guessed > 0;
        copying += g->order[i]->guessed > 0 || g->order[i]->copies > copies_much;
    }
    if (with == 0)
        return 0;
    bool known = worth_begin(&s, &g->step_cost, count, copying < count);
    for (int i = 0; i < count; i++) {
        struct sequence *q = g->order[i];
        int most = least(q->guessed, room);
        q->guessed = known && most > 0 ? worth_take(&s, &q->trust, q->draft_kind, most) : 0;
        if (q->guessed > 0)
            scheduler_draft(&q->s, q->guessed);
        room -= q->guessed;
        drafted += q->guessed;
    }
    return drafted;
}

void engine_draft_learn(struct sequence *q, int right)
{
    q->copies += copies_rate * (right - q->copies);
    if (q->guessed > 0)
        worth_learn(&q->trust, q->draft_kind, right, right < q->guessed);
    q->guessed = 0;
}

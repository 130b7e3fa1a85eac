#include "core/train/train_round.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/train/train_random.h"

/* Of a pair. */
enum score { CHOSEN, REJECTED, REFERENCE_CHOSEN, REFERENCE_REJECTED, SCORES };
/* What an example of a preference is for. */
enum stage { POLICY, REFERENCE, GRADIENT, STAGES };

/* One example: of a line, what for, and which of its two sequences. */
struct slot {
    size_t place; /* among the round's lines */
    enum stage stage;
    int side; /* CHOSEN or REJECTED */
};

static bool is_dpo(const struct train_round *r)
{
    return r->options->method == TRAIN_DPO;
}

/* A step computes all pairs of one stage before the next, so that its passes are full; an evaluation, of any
 * length, pair by pair. */
static struct slot slot_at(const struct train_round *r, size_t index)
{
    size_t pairs = r->lines.count;
    if (!is_dpo(r))
        return (struct slot){.place = index, .stage = r->evaluates ? POLICY : GRADIENT};
    if (r->evaluates)
        return (struct slot){index / SCORES, (enum stage)(index % SCORES / 2), (int)(index % 2)};
    return (struct slot){index % (2 * pairs) / 2, (enum stage)(index / (2 * pairs)), (int)(index % 2)};
}

static double *scores_at(const struct train_round *r, size_t place)
{
    return r->scores + (r->evaluates ? 0 : place * SCORES);
}

static int line_at(const struct train_round *r, size_t place, struct train_line *out, struct err *e)
{
    size_t index = r->evaluates
                       ? place
                       : train_steps_line(r->options, r->data->count, r->lines.epoch, r->lines.first + place);
    return r->data->line(r->data, index, out, e);
}

/* ---- beginning ---- */

void train_round_fini(struct train_round *r)
{
    free(r->scores);
    free(r->sequences);
    *r = (struct train_round){0};
}

static int reserve_scores(struct train_round *r, size_t pairs, struct err *e)
{
    if (pairs <= r->scores_capacity)
        return 0;
    double *larger = realloc(r->scores, pairs * SCORES * sizeof *larger);
    if (!larger)
        return err_memory(e);
    r->scores = larger;
    r->scores_capacity = pairs;
    return 0;
}

/* What is gone through, nothing of it yet; what is owned stays. */
static void reset(struct train_round *r, const struct train_options *o, const struct train_data *d,
                  struct train_span lines)
{
    *r = (struct train_round){.options = o,
                              .data = d,
                              .lines = lines,
                              .scores = r->scores,
                              .scores_capacity = r->scores_capacity,
                              .sequences = r->sequences,
                              .sequences_capacity = r->sequences_capacity};
}

/* The mean is over all targets of the step, so they are counted before the first example. */
static int weigh(struct train_round *r, struct err *e)
{
    int64_t targets = 0;
    for (size_t i = 0; i < r->lines.count; i++) {
        struct train_line line;
        if (line_at(r, i, &line, e) != 0)
            return -1;
        targets += line.sequence.targets;
    }
    r->weight = targets > 0 ? (float)(1 / (double)targets) : 0;
    return 0;
}

int train_round_begin_step(struct train_round *r, const struct train_options *o, const struct train_data *d,
                           int64_t step, struct err *e)
{
    reset(r, o, d, train_steps_span(o, d->count, step));
    r->slots = r->lines.count * (is_dpo(r) ? 2 * STAGES : 1);
    return is_dpo(r) ? reserve_scores(r, r->lines.count, e) : weigh(r, e);
}

int train_round_begin_evaluation(struct train_round *r, const struct train_options *o,
                                 const struct train_data *d, struct err *e)
{
    reset(r, o, d, (struct train_span){.count = d->count});
    r->evaluates = true;
    r->slots = r->lines.count * (is_dpo(r) ? SCORES : 1);
    return is_dpo(r) ? reserve_scores(r, 1, e) : 0;
}

/* ---- preferences ---- */

/* By how much more the adapter prefers the chosen answer than the base does, times beta. */
static double margin(const struct train_round *r, const double *s)
{
    return r->options->beta * ((s[CHOSEN] - s[REFERENCE_CHOSEN]) - (s[REJECTED] - s[REFERENCE_REJECTED]));
}

/* -log sigmoid(z), without exp of what is large. */
static double softplus_of_minus(double z)
{
    return z > 0 ? log1p(exp(-z)) : log1p(exp(z)) - z;
}

static void finish_pair(struct train_round *r, size_t place)
{
    double z = margin(r, scores_at(r, place));
    r->loss += softplus_of_minus(z);
    r->correct += z > 0;
    r->targets++;
}

/* d loss / d(-log p) of a side: beta sigmoid(-z) over the pairs, of the rejected one with the other sign. */
static float pair_weight(const struct train_round *r, struct slot s)
{
    double z = margin(r, scores_at(r, s.place)),
           weight = r->options->beta / (1 + exp(z)) / (double)r->lines.count;
    return (float)(s.side == CHOSEN ? weight : -weight);
}

/* ---- examples ---- */

/* The same for each stage: the gradient is of what was computed first. */
static uint64_t dropout_seed(const struct train_round *r, struct slot s)
{
    uint64_t key = train_random_key(r->options->seed, "dropout", (uint64_t)r->lines.epoch);
    return train_random_bits(key, 2 * (uint64_t)(r->lines.first + s.place) + (uint64_t)s.side);
}

static struct train_example example_of(const struct train_round *r, struct slot s,
                                       struct train_round_with with)
{
    struct train_example x = {.delta = s.stage == REFERENCE ? NULL : with.delta};
    if (!r->evaluates && s.stage != REFERENCE) {
        x.dropout = (float)r->options->dropout;
        x.dropout_seed = dropout_seed(r, s);
    }
    if (s.stage == GRADIENT) {
        x.params = with.params;
        x.weight = is_dpo(r) ? pair_weight(r, s) : r->weight;
    }
    return x;
}

static int reserve_sequences(struct train_round *r, int max, struct err *e)
{
    if (max <= r->sequences_capacity)
        return 0;
    struct train_sequence *larger = realloc(r->sequences, (size_t)max * sizeof *larger);
    if (!larger)
        return err_memory(e);
    r->sequences = larger;
    r->sequences_capacity = max;
    return 0;
}

/* Gradients of preferences wait until everything before is back. */
static bool may_follow(const struct train_round *r, struct slot s)
{
    return !is_dpo(r) || s.stage != GRADIENT || r->done >= r->slots / STAGES * GRADIENT;
}

int train_round_next(struct train_round *r, struct train_round_with with, int room, struct train_example *out,
                     int max, struct err *e)
{
    int count = 0;
    if (r->next != r->done)
        return 0;
    if (reserve_sequences(r, max, e) != 0)
        return -1;
    while (count < max && r->next + (size_t)count < r->slots) {
        struct slot s = slot_at(r, r->next + (size_t)count);
        struct train_line line;
        if (!may_follow(r, s))
            break;
        if (line_at(r, s.place, &line, e) != 0)
            return -1;
        r->sequences[count] = s.side == REJECTED ? line.rejected : line.sequence;
        if (r->sequences[count].count > room)
            break;
        room -= r->sequences[count].count;
        out[count] = example_of(r, s, with);
        out[count].sequence = &r->sequences[count];
        count++;
    }
    r->next += (size_t)count;
    return count;
}

/* Sums that the loss is made of: log p of a side, or the loss itself. Tokens count once. */
static void take_back(struct train_round *r, struct slot s, const struct train_example *x)
{
    if (s.stage == (r->evaluates ? POLICY : GRADIENT))
        r->tokens += x->sequence->count;
    if (!is_dpo(r)) {
        r->loss += x->loss;
        r->targets += x->targets;
        r->correct += x->correct;
        return;
    }
    if (s.stage != GRADIENT)
        scores_at(r, s.place)[2 * s.stage + s.side] = -x->loss;
    if (s.side == REJECTED && s.stage == (r->evaluates ? REFERENCE : GRADIENT))
        finish_pair(r, s.place);
}

void train_round_give(struct train_round *r, const struct train_example *examples, int count)
{
    for (int i = 0; i < count; i++)
        take_back(r, slot_at(r, r->done++), &examples[i]);
}

/* ---- numbers ---- */

/* The lines from `place` on that are computed together. */
static int numeric_rows(const struct train_round *r, size_t place, struct train_numeric_row *rows, int *count,
                        struct err *e)
{
    size_t left = r->lines.count - place;
    *count = left < TRAIN_NUMERIC_ROWS ? (int)left : TRAIN_NUMERIC_ROWS;
    for (int i = 0; i < *count; i++) {
        struct slot s = {.place = place + (size_t)i};
        struct train_line line;
        if (line_at(r, s.place, &line, e) != 0)
            return -1;
        rows[i] = (struct train_numeric_row){line.input, line.target, line.class, dropout_seed(r, s)};
    }
    return 0;
}

int train_round_numeric(struct train_round *r, struct train_round_with with, struct train_numeric *n,
                        struct err *e)
{
    struct train_numeric_row rows[TRAIN_NUMERIC_ROWS];
    struct train_numeric_job j = {.options = r->options,
                                  .delta = with.delta,
                                  .params = r->evaluates ? NULL : with.params,
                                  .rows = rows,
                                  .weight = 1 / (float)r->lines.count};
    for (; r->done < r->slots; r->done += (size_t)j.count)
        if (numeric_rows(r, r->done, rows, &j.count, e) != 0 || train_numeric_run(n, &j, e) != 0)
            return -1;
    r->next = r->done;
    r->loss = j.loss;
    r->correct = j.correct;
    r->targets = (int64_t)r->slots;
    return 0;
}

/* ---- results ---- */

bool train_round_is_done(const struct train_round *r)
{
    return r->done == r->slots;
}

double train_round_loss(const struct train_round *r)
{
    return r->targets > 0 ? r->loss / (double)r->targets : 0;
}

double train_round_accuracy(const struct train_round *r)
{
    return r->targets > 0 ? (double)r->correct / (double)r->targets : 0;
}

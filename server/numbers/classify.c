/* POST /classify: labels of each text, or of each of its tokens, by the head of the adapter or the base. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/delta/delta.h"
#include "core/head/head.h"
#include "server/base/fields.h"
#include "server/numbers/numbers.h"
#include "server/openai/openai.h"

/* Of an answer: a number, and the members around those of a row. */
enum { NUMBER_BYTES = 12, ROW_BYTES = 96 };

struct classify {
    bool logits;       /* are wanted, too */
    struct head *head; /* owned reference */
    size_t *first;     /* owned, [texts]: row of each text's first answer */
    size_t rows;
    float *scores;        /* owned, [rows, labels] */
    float *probabilities; /* owned, [labels]: of one row at a time */
};

static void classify_free(void *arg)
{
    struct classify *m = arg;
    head_unref(m->head);
    free(m->first);
    free(m->scores);
    free(m->probabilities);
    free(m);
}

/* ---- what is asked for ---- */

/* By this route's own names for it, or by those that clients of other servers have. */
static int parse_who(struct inference *q, const json_t *body, struct err *e)
{
    if (!json_object_get(body, "model") && !json_object_get(body, "user"))
        return inference_parse_who(q, body, e);
    if (!json_object_get(body, "adapter") && !json_object_get(body, "affinity"))
        return openai_parse_who(q, body, e);
    err_set(
        e, "field_conflict",
        "\"model\" and \"user\" are other names for \"adapter\" and \"affinity\", and come in their place");
    return err_param(e, json_object_get(body, "model") ? "model" : "user");
}

static int parse(struct inference *q, json_t *body, struct err *e)
{
    static const char *const known[] = {
        "tenant", "adapter", "affinity", "model", "user", "input", "add_special_tokens", "logits", NULL};
    struct classify *m = calloc(1, sizeof *m);
    if (!m)
        return err_memory(e);
    q->own = m;
    q->own_free = classify_free;
    if (fields_known(body, known, e) != 0 || parse_who(q, body, e) != 0 ||
        numbers_parse_input(q, body, "input", e) != 0 || field_bool(body, "logits", &m->logits, e) < 0)
        return -1;
    return 0;
}

static int resolve(struct inference *q, struct err *e)
{
    return q->openai.named ? openai_resolve(q, e) : inference_resolve(q, e);
}

/* ---- the runs ---- */

/* As transformers finds the token that stands for a text: the last one that does not fill it up. What comes
 * behind it is of no account. */
static void cut_padding(struct token_list *tokens, int32_t pad)
{
    while (tokens->count > 1 && tokens->ids[tokens->count - 1] == pad)
        tokens->count--;
}

/* What stands around a row's numbers, its label's name above all, as so many numbers. */
static size_t row_overhead(const struct head *h)
{
    size_t longest = 0;
    for (int i = 0; i < h->labels; i++)
        longest = strlen(h->names[i]) > longest ? strlen(h->names[i]) : longest;
    return (ROW_BYTES + longest) / NUMBER_BYTES;
}

static int check_size(const struct classify *m, struct err *e)
{
    size_t most =
        NUMBERS_FLOATS_MAX / ((size_t)m->head->labels * (m->logits ? 2 : 1) + row_overhead(m->head));
    if (m->rows <= most)
        return 0;
    err_set(e, "out_of_range", "\"input\" may have %zu %s at most with %d labels, found %zu", most,
            m->head->kind == HEAD_TEXT ? "texts" : "tokens", m->head->labels, m->rows);
    return err_param(e, "input");
}

static int allocate(struct classify *m, struct err *e)
{
    size_t labels = (size_t)m->head->labels;
    m->scores = calloc(m->rows * labels, sizeof *m->scores);
    m->probabilities = calloc(labels, sizeof *m->probabilities);
    return m->scores && m->probabilities ? 0 : err_memory(e);
}

static int prepare(struct inference *q, struct err *e)
{
    struct classify *m = q->own;
    m->head = head_ref(delta_head(q->fed_delta, q->r->server->model));
    if (!m->head)
        return err_set(e, "task_unsupported", "nothing here gives labels");
    m->first = calloc((size_t)q->prompt_count, sizeof *m->first);
    if (!m->first)
        return err_memory(e);
    for (int i = 0; i < q->prompt_count; i++) {
        struct token_list *tokens = &q->prompts[i].tokens;
        if (m->head->kind == HEAD_TEXT)
            cut_padding(tokens, q->r->server->info->pad);
        m->first[i] = m->rows;
        m->rows += m->head->kind == HEAD_TEXT ? 1 : tokens->count;
    }
    if (numbers_check_lengths(q, "input", e) != 0 || check_size(m, e) != 0)
        return -1;
    return allocate(m, e);
}

static void ask(const struct inference_choice *c, struct engine_request *r)
{
    const struct classify *m = c->q->own;
    r->states = m->head->kind == HEAD_TEXT ? ENGINE_STATES_LAST : ENGINE_STATES_ALL;
    r->scores = m->scores + m->first[c->index] * (size_t)m->head->labels;
}

/* ---- the answer ---- */

static int best_of(const float *values, int count)
{
    int best = 0;
    for (int i = 1; i < count; i++)
        if (values[i] > values[best])
            best = i;
    return best;
}

static int print_best(const struct head *h, const float *probabilities, struct buf *out)
{
    int best = best_of(probabilities, h->labels);
    if (buf_append_string(out, ",\"label\":") != 0 || numbers_print_text(h->names[best], out) != 0)
        return -1;
    return buf_printf(out, ",\"score\":%.9g", (double)probabilities[best]);
}

/* Members of one text or token, behind others. Numbers that are no probabilities have no best. */
static int print_row(const struct classify *m, size_t row, struct buf *out)
{
    const struct head *h = m->head;
    const float *scores = m->scores + row * (size_t)h->labels;
    bool numbers = h->meaning == HEAD_NUMBERS;
    head_probabilities(h, scores, m->probabilities);
    if ((!numbers && print_best(h, m->probabilities, out) != 0) ||
        buf_append_string(out, numbers ? ",\"values\":" : ",\"probs\":") != 0 ||
        numbers_print(m->probabilities, (size_t)h->labels, out) != 0)
        return -1;
    if (!m->logits)
        return 0;
    return buf_append_string(out, ",\"logits\":") == 0 ? numbers_print(scores, (size_t)h->labels, out) : -1;
}

static int print_token(const struct inference *q, int32_t token, size_t row, struct buf *out)
{
    if (buf_printf(out, "{\"token\":%d,\"text\":", (int)token) != 0 ||
        numbers_print_json(inference_answer_token_text(q, token), out) != 0 ||
        print_row(q->own, row, out) != 0)
        return -1;
    return buf_append_string(out, "}");
}

static int print_tokens(const struct inference *q, int text, struct buf *out)
{
    const struct classify *m = q->own;
    const struct token_list *tokens = &q->prompts[text].tokens;
    int failed = buf_append_string(out, ",\"tokens\":[");
    for (size_t i = 0; i < tokens->count && !failed; i++)
        failed = (i && buf_append_string(out, ",") != 0) ||
                 print_token(q, tokens->ids[i], m->first[text] + i, out) != 0;
    return failed ? -1 : buf_append_string(out, "]");
}

static int print_text(const struct inference *q, int text, struct buf *out)
{
    const struct classify *m = q->own;
    bool whole = m->head->kind == HEAD_TEXT;
    if (buf_printf(out, "%s{\"index\":%d", text ? "," : "", text) != 0 ||
        (whole ? print_row(m, m->first[text], out) : print_tokens(q, text, out)) != 0)
        return -1;
    return buf_printf(out, ",\"num_classes\":%d}", m->head->labels);
}

static json_t *labels_json(const struct head *h)
{
    json_t *list = json_array();
    for (int i = 0; list && i < h->labels; i++)
        if (json_array_append_new(list, json_string(h->names[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static int print_head(const struct inference *q, struct buf *out)
{
    const struct head *h = ((struct classify *)q->own)->head;
    if (buf_append_string(out, "{\"object\":\"list\",\"id\":") != 0 ||
        numbers_print_text(q->r->id, out) != 0 || buf_append_string(out, ",\"adapter\":") != 0 ||
        numbers_print_json(inference_answer_adapters(q), out) != 0 ||
        buf_printf(out, ",\"task\":\"%s\",\"problem_type\":\"%s\",\"labels\":",
                   h->kind == HEAD_TEXT ? "SEQ_CLS" : "TOKEN_CLS", head_meaning_name(h->meaning)) != 0)
        return -1;
    return numbers_print_json(labels_json(h), out);
}

static int print(const struct inference *q, struct buf *out)
{
    int failed = print_head(q, out) != 0 || buf_append_string(out, ",\"data\":[") != 0;
    for (int i = 0; i < q->prompt_count && !failed; i++)
        failed = print_text(q, i, out) != 0;
    if (failed || buf_append_string(out, "]") != 0 || numbers_print_end(q, out) != 0)
        return -1;
    return buf_append_string(out, "}");
}

static int check_finite(const struct classify *m, struct err *e)
{
    for (size_t i = 0; i < m->rows * (size_t)m->head->labels; i++)
        if (!isfinite(m->scores[i]))
            return err_set(e, "output_not_finite", "a score of this input is not finite");
    return 0;
}

static int write_labels(const struct inference *q, struct buf *out, struct err *e)
{
    if (numbers_check_end(q, e) != 0 || check_finite(q->own, e) != 0)
        return -1;
    return print(q, out) == 0 ? 0 : err_memory(e);
}

void classify_handle(struct request *r)
{
    static const struct inference_dialect dialect = {.parse = parse,
                                                     .resolve = resolve,
                                                     .prepare = prepare,
                                                     .ask = ask,
                                                     .write = write_labels,
                                                     .ability = ABILITY_CLASSIFY};
    inference_run(r, &dialect);
}

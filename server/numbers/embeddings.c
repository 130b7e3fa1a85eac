/* POST /v1/embeddings: a vector for each text, of what stands behind the final norm. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/fields.h"
#include "server/numbers/numbers.h"
#include "server/openai/openai.h"

struct embeddings {
    enum pooling_kind pooling;
    bool normalize, base64;
    size_t hidden, dimensions; /* computed; given */
    size_t count;
    float *vectors; /* owned, [count, hidden] */
    double **sums;  /* owned, [count]: of a text in the engine's hands, where a mean is wanted */
};

static void embeddings_free(void *arg)
{
    struct embeddings *m = arg;
    for (size_t i = 0; m->sums && i < m->count; i++)
        free(m->sums[i]);
    free(m->sums);
    free(m->vectors);
    free(m);
}

/* ---- what is asked for ---- */

static int parse_format(struct embeddings *m, const json_t *body, struct err *e)
{
    const char *format = "float";
    if (field_text(body, "encoding_format", 16, &format, e) < 0)
        return -1;
    m->base64 = strcmp(format, "base64") == 0;
    if (m->base64 || strcmp(format, "float") == 0)
        return 0;
    err_set(e, "unsupported_value", "\"encoding_format\" may be float or base64, found \"%s\"", format);
    return err_param(e, "encoding_format");
}

static int parse_pooling(struct embeddings *m, const struct server *s, const json_t *body, struct err *e)
{
    const char *name = NULL;
    m->pooling = s->pooling.kind;
    int found = field_text(body, "pooling", 16, &name, e);
    if (found < 0)
        return -1;
    if (found && (!pooling_find(name, &m->pooling) || m->pooling == POOLING_BY_FILES)) {
        err_set(e, "unsupported_value", "\"pooling\" may be last or mean, found \"%s\"", name);
        return err_param(e, "pooling");
    }
    if (found || !s->pooling.problem[0])
        return 0;
    err_set(e, "input_unsupported", "%s", s->pooling.problem);
    return err_hint(e, "\"pooling\" in the request, or --pooling, says it instead");
}

static int parse_dimensions(struct embeddings *m, const json_t *body, struct err *e)
{
    int64_t dimensions = (int64_t)m->hidden;
    if (field_integer(body, "dimensions", 1, (int64_t)m->hidden, &dimensions, e) < 0)
        return -1;
    m->dimensions = (size_t)dimensions;
    return 0;
}

static int check_size(const struct embeddings *m, size_t count, struct err *e)
{
    if (count * m->hidden <= NUMBERS_FLOATS_MAX)
        return 0;
    err_set(e, "out_of_range",
            "\"input\" may have %zu entries at most with vectors of %zu numbers, found %zu",
            NUMBERS_FLOATS_MAX / m->hidden, m->hidden, count);
    return err_param(e, "input");
}

static int parse(struct inference *q, json_t *body, struct err *e)
{
    const struct server *s = q->r->server;
    struct embeddings *m = calloc(1, sizeof *m);
    if (!m)
        return err_memory(e);
    q->own = m;
    q->own_free = embeddings_free;
    m->normalize = true;
    m->hidden = (size_t)s->info->hidden_size;
    if (openai_fields_check(body, OPENAI_EMBEDDINGS, e) != 0 || openai_parse_who(q, body, e) != 0 ||
        numbers_parse_input(q, body, "input", e) != 0 || parse_format(m, body, e) != 0 ||
        parse_pooling(m, s, body, e) != 0 || field_bool(body, "normalize", &m->normalize, e) < 0 ||
        parse_dimensions(m, body, e) != 0)
        return -1;
    return check_size(m, (size_t)q->prompt_count, e);
}

/* ---- the runs ---- */

static int prepare(struct inference *q, struct err *e)
{
    struct embeddings *m = q->own;
    if (numbers_check_lengths(q, "input", e) != 0)
        return -1;
    m->count = (size_t)q->choice_count;
    m->vectors = calloc(m->count * m->hidden, sizeof *m->vectors);
    m->sums = calloc(m->count, sizeof *m->sums);
    return m->vectors && m->sums ? 0 : err_memory(e);
}

/* The mean is taken of doubles added in the order of the tokens: how the text was cut does not enter. */
static bool add_state(struct embeddings *m, size_t text, const float *state)
{
    if (!m->sums[text] && !(m->sums[text] = calloc(m->hidden, sizeof **m->sums)))
        return false;
    for (size_t i = 0; i < m->hidden; i++)
        m->sums[text][i] += (double)state[i];
    return true;
}

static void take_mean(struct embeddings *m, size_t text, size_t tokens)
{
    for (size_t i = 0; i < m->hidden; i++)
        m->vectors[text * m->hidden + i] = (float)(m->sums[text][i] / (double)tokens);
    free(m->sums[text]);
    m->sums[text] = NULL;
}

/* NaN where memory ran out: such a vector is refused in the end. */
static void on_state(void *arg, size_t row, const float *state)
{
    const struct inference_choice *c = arg;
    struct embeddings *m = c->q->own;
    size_t text = (size_t)c->index, tokens = c->prompt->tokens.count;
    float *vector = m->vectors + text * m->hidden;
    if (m->pooling == POOLING_LAST)
        memcpy(vector, state, m->hidden * sizeof *vector);
    else if (!add_state(m, text, state))
        vector[0] = NAN;
    else if (row + 1 == tokens)
        take_mean(m, text, tokens);
}

static void ask(const struct inference_choice *c, struct engine_request *r)
{
    const struct embeddings *m = c->q->own;
    r->states = m->pooling == POOLING_LAST ? ENGINE_STATES_LAST : ENGINE_STATES_ALL;
    r->on_state = on_state;
}

/* ---- the answer ---- */

/* To length 1, of as many numbers as are wanted. */
static int finish(const struct embeddings *m, float *vector, struct err *e)
{
    double sum = 0;
    for (size_t i = 0; i < m->dimensions; i++)
        sum += (double)vector[i] * (double)vector[i];
    if (!isfinite(sum))
        return err_set(e, "output_not_finite", "a vector of this input is not finite");
    double length = sqrt(sum);
    for (size_t i = 0; m->normalize && length > 0 && i < m->dimensions; i++)
        vector[i] = (float)((double)vector[i] / length);
    return 0;
}

static int print_vector(const struct embeddings *m, size_t index, struct buf *out)
{
    const float *vector = m->vectors + index * m->hidden;
    if (buf_printf(out, "%s{\"object\":\"embedding\",\"index\":%zu,\"embedding\":", index ? "," : "",
                   index) != 0 ||
        (m->base64 ? numbers_print_base64 : numbers_print)(vector, m->dimensions, out) != 0)
        return -1;
    return buf_append_string(out, "}");
}

static int print(const struct inference *q, struct buf *out)
{
    const struct embeddings *m = q->own;
    int failed = buf_append_string(out, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < m->count && !failed; i++)
        failed = print_vector(m, i, out);
    if (failed || buf_append_string(out, "]") != 0 || numbers_print_end(q, out) != 0)
        return -1;
    return buf_append_string(out, "}");
}

static int write_vectors(const struct inference *q, struct buf *out, struct err *e)
{
    const struct embeddings *m = q->own;
    if (numbers_check_end(q, e) != 0)
        return -1;
    for (size_t i = 0; i < m->count; i++)
        if (finish(m, m->vectors + i * m->hidden, e) != 0)
            return -1;
    return print(q, out) == 0 ? 0 : err_memory(e);
}

static void translate(const struct inference *q, struct err *e)
{
    openai_translate_field(q, "input", e);
}

void embeddings_handle(struct request *r)
{
    static const struct inference_dialect dialect = {.parse = parse,
                                                     .resolve = openai_resolve,
                                                     .translate = translate,
                                                     .prepare = prepare,
                                                     .ask = ask,
                                                     .write = write_vectors,
                                                     .ability = ABILITY_EMBED};
    inference_run(r, &dialect);
}

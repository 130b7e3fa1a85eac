#include "adapters/serving/effect.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/delta/delta.h"
#include "core/engine/engine.h"
#include "core/model/model.h"
#include "core/tokenizer/detokenizer.h"
#include "core/tokenizer/tokenizer.h"

/* ---- norms ---- */

enum { SIMD_LANES = 8 }; /* independent sums, which the compiler can add side by side */

static double dot(const float *x, const float *y, int count)
{
    double lane[SIMD_LANES] = {0}, sum = 0;
    int i = 0;
    for (; i + SIMD_LANES <= count; i += SIMD_LANES)
        for (int j = 0; j < SIMD_LANES; j++)
            lane[j] += (double)x[i + j] * y[i + j];
    for (; i < count; i++)
        sum += (double)x[i] * y[i];
    for (int j = 0; j < SIMD_LANES; j++)
        sum += lane[j];
    return sum;
}

/* A A^T of [rank, in]; B^T B of [out, rank]. The lower halves: both are symmetric. */
static void gram_of_rows(const float *a, int rank, int in, double *gram)
{
    for (int i = 0; i < rank; i++)
        for (int j = 0; j <= i; j++)
            gram[(size_t)i * (size_t)rank + (size_t)j] =
                dot(a + (size_t)i * (size_t)in, a + (size_t)j * (size_t)in, in);
}

static void gram_of_columns(const float *b, int out, int rank, double *gram)
{
    memset(gram, 0, (size_t)rank * (size_t)rank * sizeof *gram);
    for (int row = 0; row < out; row++, b += rank)
        for (int i = 0; i < rank; i++) {
            double *g = gram + (size_t)i * (size_t)rank, x = b[i];
            for (int j = 0; j <= i; j++)
                g[j] += x * b[j];
        }
}

/* `grams`: room for two of [rank, rank]. */
static double norm_of(const struct site *site, const struct delta_part *p, double *grams)
{
    size_t rank = (size_t)p->rank;
    double *of_a = grams, *of_b = grams + rank * rank, sum = 0;
    gram_of_rows(p->a, p->rank, site->in, of_a);
    gram_of_columns(p->b, site->out, p->rank, of_b);
    for (size_t i = 0; i < rank; i++) {
        for (size_t j = 0; j < i; j++)
            sum += 2 * of_a[i * rank + j] * of_b[i * rank + j];
        sum += of_a[i * rank + i] * of_b[i * rank + i];
    }
    return fabs((double)p->scale) * sqrt(sum > 0 ? sum : 0); /* rounding may leave less than nothing */
}

struct norm {
    const char *module;
    double norm;
};

static int compare_norms(const void *x, const void *y)
{
    const struct norm *a = x, *b = y;
    return a->norm != b->norm ? (a->norm < b->norm ? 1 : -1) : strcmp(a->module, b->module);
}

static int append(const char *text, size_t length, void *out)
{
    return buf_append(out, text, length);
}

static int print_norms(const struct norm *norms, size_t count, struct buf *out, struct err *e)
{
    json_t *list = json_array();
    int result = list ? 0 : -1;
    for (size_t i = 0; result == 0 && i < count; i++)
        result = json_array_append_new(
            list, json_pack("{s:s, s:f}", "module", norms[i].module, "norm", norms[i].norm));
    if (result == 0)
        result = json_dump_callback(list, append, out, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(list);
    return result == 0 ? 0 : err_memory(e);
}

static int rank_max(const struct delta_source *s)
{
    int rank = 1;
    for (size_t i = 0; i < s->count; i++)
        rank = s->parts[i].rank > rank ? s->parts[i].rank : rank;
    return rank;
}

int effect_norms(struct version_proof *p, const struct model *m, const struct delta_source *s, struct err *e)
{
    size_t ignored, rank = (size_t)rank_max(s);
    const struct site *sites = model_sites(m, &ignored);
    struct norm *norms = calloc(s->count + 1, sizeof *norms);
    double *grams = calloc(2 * rank * rank, sizeof *grams);
    int result = norms && grams ? 0 : err_memory(e);
    p->norm_count = (int)s->count;
    p->norm_sum = 0;
    for (size_t i = 0; result == 0 && i < s->count; i++) {
        struct delta_part part;
        result = delta_source_part(s, i, &part, e);
        if (result != 0)
            break;
        norms[i] = (struct norm){sites[part.site].path, norm_of(&sites[part.site], &part, grams)};
        p->norm_sum += norms[i].norm;
    }
    if (result == 0) {
        qsort(norms, s->count, sizeof *norms, compare_norms);
        size_t largest = s->count < PROOF_NORMS_LARGEST ? s->count : PROOF_NORMS_LARGEST;
        result = print_norms(norms, largest, &p->norms_largest, e);
    }
    if (result == 0)
        result = print_norms(norms, s->count, &p->norms, e);
    free(grams);
    free(norms);
    return result;
}

/* ---- a sample ---- */

/* As the text goes on behind the prompt, without special tokens. */
static int decode(const struct tokenizer *t, const struct token_list *prompt,
                  const struct engine_sample *sample, struct buf *out, struct err *e)
{
    struct detokenizer d;
    int result = 0;
    detokenizer_init(&d, t, true);
    for (size_t i = 0; i < prompt->count && !d.started; i++)
        d.started = !tokenizer_is_special(t, prompt->ids[i]);
    for (int i = 0; result == 0 && i < sample->count; i++)
        result = detokenizer_push(&d, sample->tokens[i], out, e);
    if (result == 0)
        result = detokenizer_finish(&d, out, e);
    detokenizer_fini(&d);
    return result;
}

static int answer(struct engine *g, uint32_t tenant, struct delta *d, const struct tokenizer *t,
                  const struct token_list *prompt, struct buf *out, struct err *e)
{
    struct engine_sample sample;
    if (engine_sample(g, tenant, d, prompt->ids, prompt->count, &sample, e) != 0)
        return -1;
    return decode(t, prompt, &sample, out, e);
}

int effect_sample(struct version_proof *p, struct engine *g, uint32_t tenant, struct delta *d,
                  const struct tokenizer *t, const char *prompt, struct err *e)
{
    struct token_list tokens = {0};
    int result = tokenizer_encode(t, prompt, strlen(prompt), true, &tokens, e);
    if (result == 0)
        result = answer(g, tenant, NULL, t, &tokens, &p->base, e);
    if (result == 0)
        result = answer(g, tenant, d, t, &tokens, &p->adapter, e);
    if (result == 0 && buf_append_string(&p->prompt, prompt) != 0)
        result = err_memory(e);
    token_list_fini(&tokens);
    return result;
}

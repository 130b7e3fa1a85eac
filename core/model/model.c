#include "core/model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/kernels/cpu.h"
#include "core/model/config/config_read.h"
#include "core/model/config/features.h"
#include "core/model/fill.h"
#include "core/model/modules.h"
#include "core/model/network.h"
#include "core/model/pack.h"
#include "core/model/weights.h"

_Static_assert((int)CONFIG_EOS_MAX == (int)MODEL_EOS_MAX && (int)CONFIG_CONTEXT_MAX == (int)MODEL_CONTEXT_MAX,
               "the info holds what the config may say");

/* ---- rotary frequencies ---- */

static int fill_frequency(const struct rope *r, int length, float **out, struct err *e)
{
    int half = r->dim / 2;
    *out = malloc((size_t)half * sizeof **out);
    if (!*out)
        return err_memory(e);
    for (int i = 0; i < half; i++)
        (*out)[i] = rope_frequency(r, i, length);
    return 0;
}

static int fill_frequencies(struct model *m, struct err *e)
{
    for (int i = 0; i < m->config.ropes; i++) {
        const struct rope *r = &m->config.rope[i];
        if (fill_frequency(r, 0, &m->inverse_frequency[i][0], e) != 0 ||
            (r->kind == ROPE_LONG &&
             fill_frequency(r, CONFIG_CONTEXT_MAX, &m->inverse_frequency[i][1], e) != 0))
            return -1;
    }
    return 0;
}

/* ---- info ---- */

/* A line of the fingerprint's text. What is as in a plain network has none, so that a feature which is new
 * here changes the fingerprints of those bases alone that have it: versions are stored with them. */
static void add_number(struct sha256 *hash, const char *name, double value, double plain)
{
    char line[128];
    int length = snprintf(line, sizeof line, "%s %.17g\n", name, value);
    if (value != plain)
        sha256_update(hash, line, (size_t)length);
}

static void add_windows(struct sha256 *hash, const struct config *c)
{
    add_number(hash, "window", c->window, 0);
    for (int i = 0; c->window && i < c->layers; i++)
        add_number(hash, "slides", i, c->slides[i] ? -1 : i);
}

static void add_divisors(struct sha256 *hash, const struct rope *r)
{
    for (int i = 0; r->kind == ROPE_LONG && i < r->dim / 2; i++) {
        add_number(hash, "near", (double)r->near[i], 0);
        add_number(hash, "far", (double)r->far[i], 0);
    }
}

/* Beside what all rotary bases have had lines for. */
static void add_rotation(struct sha256 *hash, const struct config *c, const struct rope *r)
{
    if (r->dim == 0)
        return;
    add_number(hash, "linear", r->kind == ROPE_LINEAR, 0);
    add_number(hash, "yarn", r->kind == ROPE_YARN, 0);
    add_number(hash, "beta_fast", r->beta_fast, 0);
    add_number(hash, "beta_slow", r->beta_slow, 0);
    add_number(hash, "truncate", r->truncate, 0);
    add_number(hash, "magnitude", r->magnitude, 1);
    add_number(hash, "rotated", r->dim, c->head_dim);
    add_number(hash, "dynamic", r->kind == ROPE_DYNAMIC, 0);
    add_number(hash, "whole", r->whole, 0);
    add_number(hash, "neighbours", r->neighbours, 0);
    add_divisors(hash, r);
    for (int i = 0; r == c->rope && i < c->layers; i++)
        add_number(hash, "unrotated", i, c->rope_of[i] < 0 ? -1 : i);
}

/* Of the layers that have one of their own. */
static void add_second_rotation(struct sha256 *hash, const struct config *c)
{
    const struct rope *r = &c->rope[1];
    if (c->ropes < 2)
        return;
    add_number(hash, "local_theta", r->theta, 0);
    add_number(hash, "local_factor", r->factor, 0);
    add_number(hash, "local_llama3", r->kind == ROPE_LLAMA3, 0);
    add_number(hash, "low_freq_factor", r->low_freq_factor, 0);
    add_number(hash, "high_freq_factor", r->high_freq_factor, 0);
    add_number(hash, "original_context", r->original_context, 0);
    add_rotation(hash, c, r);
    for (int i = 0; i < c->layers; i++)
        add_number(hash, "local", i, c->rope_of[i] == 1 ? -1 : i);
}

/* Shapes of blocks, where the config chooses them. */
static void add_blocks(struct sha256 *hash, const struct config *c)
{
    add_number(hash, "activation", c->activation, c->family->activation);
    add_number(hash, "parallel", c->parallel, c->family->parallel);
    add_number(hash, "head_norms", c->head_norms, c->family->head_norms);
    add_number(hash, "score_cap", (double)c->score_cap, 0);
    add_number(hash, "logit_cap", (double)c->logit_cap, 0);
    add_number(hash, "query_growth", (double)c->query_growth, 0);
    add_number(hash, "query_context", c->query_context, 0);
    if (c->family->field_query_scale)
        add_number(hash, "attention_scale", (double)c->attention_scale, 0);
}

static void add_multipliers(struct sha256 *hash, const struct config *c)
{
    if (!c->family->multipliers)
        return;
    add_number(hash, "embedding_multiplier", (double)c->embedding_multiplier, 0);
    add_number(hash, "residual_multiplier", (double)c->residual_multiplier, 0);
    add_number(hash, "attention_scale", (double)c->attention_scale, 0);
    add_number(hash, "logits_multiplier", (double)c->logits_multiplier, 0);
}

/* All that decides what the model computes: SHA-256 of a text with a line for each number of the config, and
 * the digest of the weights behind it. docs/internals/engine.md has it, too. */
static void fill_fingerprint(const struct model *m, const uint8_t weights[SHA256_BYTES],
                             uint8_t out[SHA256_BYTES])
{
    const struct config *c = &m->config;
    struct sha256 hash;
    sha256_init(&hash);
    sha256_update(&hash, c->family->name, strlen(c->family->name) + 1);
    add_number(&hash, "hidden", c->hidden, 0);
    add_number(&hash, "layers", c->layers, 0);
    add_number(&hash, "heads", c->heads, 0);
    add_number(&hash, "kv_heads", c->kv_heads, 0);
    add_number(&hash, "head_dim", c->head_dim, 0);
    add_number(&hash, "intermediate", c->intermediate, 0);
    add_number(&hash, "vocab", c->vocab, 0);
    add_number(&hash, "context", c->context, 0);
    add_number(&hash, "tied", c->tied, 0);
    add_number(&hash, "eps", (double)c->eps, 0);
    add_number(&hash, "theta", c->rope[0].theta, 0);
    add_number(&hash, "llama3", c->rope[0].kind == ROPE_LLAMA3, 0);
    add_number(&hash, "factor", c->rope[0].factor, 0);
    add_number(&hash, "low_freq_factor", c->rope[0].low_freq_factor, 0);
    add_number(&hash, "high_freq_factor", c->rope[0].high_freq_factor, 0);
    add_number(&hash, "original_context", c->rope[0].original_context, 0);
    add_number(&hash, "labels", c->labels, HEAD_NONE);
    add_windows(&hash, c);
    add_rotation(&hash, c, &c->rope[0]);
    add_multipliers(&hash, c);
    add_second_rotation(&hash, c);
    add_blocks(&hash, c);
    sha256_update(&hash, weights, SHA256_BYTES);
    sha256_final(&hash, out);
}

/* Only the first rotation may depend on the length. */
static int stretched_beyond(const struct config *c)
{
    const struct rope *r = &c->rope[0];
    return rope_is_stretched(r, CONFIG_CONTEXT_MAX) ? (int)r->original_context : 0;
}

static void fill_info(struct model *m, const struct model_options *o, const uint8_t weights[SHA256_BYTES])
{
    const struct config *c = &m->config;
    struct model_info *info = &m->info;
    bool numeric = c->family->numeric;
    *info = (struct model_info){
        .family = c->family->name,
        .numeric = numeric,
        .generates = numeric || m->lm_head.weight.data,
        .vocab_size = numeric ? c->mlp_sizes[c->mlp_layers] : c->vocab,
        .context_length = o->context ? o->context : c->context,
        .input_size = numeric ? c->mlp_sizes[0] : 0,
        .layers = numeric ? c->mlp_layers : c->layers,
        .hidden_size = c->hidden,
        .precision = m->precision,
        .kv = {.layers = numeric ? 0 : c->layers,
               .heads = c->kv_heads,
               .dim = c->head_dim,
               .type = m->precision == PRECISION_EXACT ? KV_F32
                       : m->kv_int8                    ? KV_INT8
                                                       : KV_BF16},
        .stretched_beyond = stretched_beyond(c),
        .stretched_whole = c->rope[0].whole,
        .eos_count = c->eos_count,
        .pad = numeric ? -1 : c->pad,
        .weight_bytes = weights_bytes(m->weights),
    };
    memcpy(info->eos, c->eos, sizeof info->eos);
    memcpy(info->unknown, c->unknown, sizeof info->unknown);
    features_of_config(c, info->features, sizeof info->features);
    info->parameters = weights_parameters(m->weights);
    fill_fingerprint(m, weights, info->fingerprint);
}

/* Every shape once: what shapes have in common decides gemm's code path. */
static int check_matrices(const struct model *m, struct err *e)
{
    const struct config *c = &m->config;
    for (int i = 0; i < c->mlp_layers; i++)
        if (linear_check(&m->mlp[i].weight, e) != 0)
            return -1;
    if (c->family->numeric)
        return 0;
    struct linear *shapes[LAYER_LINEARS];
    int count = layer_linears(&m->layers[0], shapes);
    for (int i = 0; i < count; i++)
        if (linear_check(&shapes[i]->weight, e) != 0)
            return -1;
    return m->lm_head.weight.data ? linear_check(&m->lm_head.weight, e) : 0;
}

const char *precision_name(enum precision p)
{
    static const char *const names[] = {"default", "exact", "int8", "int4"};
    return names[p];
}

static int check_options(const struct model *m, const struct model_options *o, struct err *e)
{
    if (m->config.family->numeric && m->precision != PRECISION_EXACT) {
        err_set(e, "precision_unsupported", "a numeric model is computed in precision exact only");
        return err_param(e, "precision");
    }
    if (o->kv_int8 && m->precision == PRECISION_EXACT) {
        err_set(e, "precision_unsupported",
                "keys and values are int8 only where the weights are int8 or int4");
        return err_param(e, "kv-precision");
    }
    if (o->context > m->config.context) {
        err_set(e, "context_too_long", "a context of %d tokens is wanted, the model has %d", o->context,
                m->config.context);
        return err_param(e, "context");
    }
    return 0;
}

/* Bring the weights into memory as they are served. */
static int bring_weights(struct model *m, const char *directory, const struct model_options *o,
                         struct pool *pool, struct err *e)
{
    uint8_t digest[SHA256_BYTES];
    if (fill_weights(m->weights, directory, o, pool, digest, e) != 0)
        return -1;
    fill_info(m, o, digest);
    if ((m->precision == PRECISION_EXACT ? check_matrices(m, e) : pack_model(m, o, pool, e)) != 0)
        return -1;
    return weights_seal(m->weights, e);
}

static int load(struct model *m, const char *directory, const struct model_options *o, struct err *e)
{
    struct pool *pool;
    if (config_read(&m->config, directory, e) != 0 || weights_open(&m->weights, directory, e) != 0)
        return -1;
    const struct family *f = m->config.family;
    if (m->config.labels != HEAD_NONE &&
        head_open(&m->head, m->config.labels, directory, m->config.hidden, e) != 0)
        return -1;
    m->precision = o->precision != PRECISION_DEFAULT ? o->precision
                   : f->numeric                      ? PRECISION_EXACT
                                                     : PRECISION_INT8;
    m->kv_int8 = o->kv_int8;
    m->generation = generation_none();
    if (!f->numeric && !o->no_generation && generation_read(&m->generation, directory, e) != 0)
        return -1;
    if (check_options(m, o, e) != 0 || modules_load(m, e) != 0 || fill_frequencies(m, e) != 0 ||
        pool_new(&pool, o->threads, e) != 0)
        return -1;
    int result = bring_weights(m, directory, o, pool, e);
    pool_free(pool);
    return result;
}

int model_open(struct model **out, const char *directory, const struct model_options *o, struct err *e)
{
    struct model *m = calloc(1, sizeof *m);
    if (!m)
        return err_memory(e);
    linear_init();
    m->kernels = cpu_kernels()->qgemm;
    if (cpu_check(e) != 0 || load(m, directory, o, e) != 0) {
        model_close(m);
        return -1;
    }
    *out = m;
    return 0;
}

void model_close(struct model *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->site_count; i++)
        free((char *)m->sites[i].path);
    for (size_t i = 0; i < m->parameter_count; i++) {
        free((char *)m->parameters[i].path);
        free((char *)m->parameters[i].tensor);
    }
    for (size_t i = 0; i < m->module_count; i++)
        free((char *)m->modules[i]);
    for (size_t i = 0; i < m->vector_count; i++)
        free(m->vectors[i]);
    free(m->sites);
    free(m->site_linear);
    free(m->parameters);
    free(m->modules);
    free(m->vectors);
    for (int i = 0; m->layers && i < m->config.layers; i++)
        free(m->layers[i].head_norm);
    free(m->layers);
    free(m->mlp);
    for (int i = 0; i < CONFIG_ROPES; i++) {
        free(m->inverse_frequency[i][0]);
        free(m->inverse_frequency[i][1]);
    }
    pack_free(m->pack);
    head_unref(m->head);
    weights_close(m->weights);
    free(m);
}

/* ---- looking at a model ---- */

const struct model_info *model_info(const struct model *m)
{
    return &m->info;
}

const struct generation *model_generation(const struct model *m)
{
    return &m->generation;
}

const struct family *model_family(const struct model *m)
{
    return m->config.family;
}

const struct site *model_sites(const struct model *m, size_t *count)
{
    *count = m->site_count;
    return m->sites;
}

int model_find_site(const struct model *m, const char *path)
{
    for (size_t i = 0; i < m->site_count; i++)
        if (strcmp(m->sites[i].path, path) == 0)
            return (int)i;
    return -1;
}

const char *const *model_modules(const struct model *m, size_t *count)
{
    *count = m->module_count;
    return m->modules;
}

const struct parameter *model_parameters(const struct model *m, size_t *count)
{
    *count = m->parameter_count;
    return m->parameters;
}

int model_find_parameter(const struct model *m, const char *path, const char *leaf)
{
    for (size_t i = 0; i < m->parameter_count; i++)
        if (strcmp(m->parameters[i].path, path) == 0 && strcmp(m->parameters[i].leaf, leaf) == 0)
            return (int)i;
    return -1;
}

int model_parameter_values(const struct model *m, int parameter, size_t at, size_t count, float *out,
                           struct err *e)
{
    enum { RUN = 4096 };
    const struct tensor *t = weights_find(m->weights, m->parameters[parameter].tensor);
    size_t size = dtype_size(t->dtype);
    char stored[RUN * sizeof(float)];
    for (size_t done = 0; done < count; done += RUN) {
        size_t n = count - done < RUN ? count - done : RUN;
        const char *from = stored;
        if (weights_is_kept(m->weights, t))
            from = (const char *)weights_place(m->weights, t) + (at + done) * size;
        else if (weights_read(m->weights, t, (struct stretch){(at + done) * size, n * size}, stored, e) != 0)
            return -1;
        dtype_widen(t->dtype, from, out + done, n);
    }
    return 0;
}

static uint64_t stored_bytes(const struct matrix *w)
{
    return (uint64_t)w->rows * (uint64_t)w->cols * dtype_size(w->dtype);
}

/* A linear layer in all precisions; the head is int8 where the others are int4. */
static void add_sizes(struct model_sizes *s, const struct linear *l, bool head)
{
    const struct matrix *w = &l->weight;
    if (!w->data)
        return;
    s->exact += stored_bytes(w);
    s->int8 += qgemm_bytes(R16_INT8, w->rows, w->cols);
    s->int4 += qgemm_bytes(head ? R16_INT8 : R16_INT4, w->rows, w->cols);
}

struct model_sizes model_sizes(const struct model *m)
{
    const struct config *c = &m->config;
    struct model_sizes s = {0};
    for (int i = 0; i < c->mlp_layers; i++)
        s.exact += stored_bytes(&m->mlp[i].weight);
    if (c->family->numeric)
        return s;
    uint64_t tables = (c->tied ? 0 : stored_bytes(&m->embed.weight)) +
                      (m->positions.weight.data ? stored_bytes(&m->positions.weight) : 0);
    s = (struct model_sizes){tables, tables, tables};
    for (int i = 0; i < c->layers; i++) {
        struct linear *all[LAYER_LINEARS];
        int count = layer_linears(&m->layers[i], all);
        for (int k = 0; k < count; k++)
            add_sizes(&s, all[k], false);
    }
    add_sizes(&s, &m->lm_head, true);
    return s;
}

bool model_is_tied(const struct model *m)
{
    return m->config.tied;
}

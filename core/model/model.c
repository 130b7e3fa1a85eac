#include "core/model/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/kernels/cpu.h"
#include "core/model/network.h"
#include "core/model/pack.h"
#include "core/model/weights.h"

enum { PATH_BYTES = 128 };
_Static_assert((int)CONFIG_EOS_MAX == (int)MODEL_EOS_MAX && (int)CONFIG_CONTEXT_MAX == (int)MODEL_CONTEXT_MAX,
               "the info holds what the config may say");

/* ---- growing lists ---- */

static int grow(void **list, size_t count, size_t *capacity, size_t size, struct err *e)
{
    if (count < *capacity)
        return 0;
    size_t wanted = *capacity ? *capacity * 2 : 64;
    void *larger = realloc(*list, wanted * size);
    if (!larger)
        return err_memory(e);
    *list = larger;
    *capacity = wanted;
    return 0;
}

static int add_module(struct model *m, const char *path, struct err *e)
{
    if (grow((void **)&m->modules, m->module_count, &m->module_capacity, sizeof *m->modules, e) != 0)
        return -1;
    char *copy = strdup(path);
    if (!copy)
        return err_memory(e);
    m->modules[m->module_count++] = copy;
    return 0;
}

static int add_site(struct model *m, int layer, enum site_kind kind, const char *path, const struct matrix *w,
                    int *index, struct err *e)
{
    if (grow((void **)&m->sites, m->site_count, &m->site_capacity, sizeof *m->sites, e) != 0)
        return -1;
    struct site site = {.layer = layer, .kind = kind, .in = w->cols, .out = w->rows};
    site.path = strdup(path);
    if (!site.path)
        return err_memory(e);
    *index = (int)m->site_count;
    m->sites[m->site_count++] = site;
    return 0;
}

/* A module's tensor `path.leaf`, called `tensor` in the files. w: the matrix, or NULL for a vector of `size`.
 */
static int add_slot(struct model *m, const char *path, const char *leaf, const char *tensor, int site,
                    const struct matrix *w, int size, int *index, struct err *e)
{
    if (grow((void **)&m->slots, m->slot_count, &m->slot_capacity, sizeof *m->slots, e) != 0)
        return -1;
    struct slot slot = {.leaf = leaf, .rows = size, .site = site};
    if (w) {
        slot.transposed = w->transposed;
        slot.rows = w->transposed ? w->cols : w->rows;
        slot.cols = w->transposed ? w->rows : w->cols;
    }
    slot.path = strdup(path);
    slot.tensor = strdup(tensor);
    if (!slot.path || !slot.tensor) {
        free((char *)slot.path);
        free((char *)slot.tensor);
        return err_memory(e);
    }
    *index = (int)m->slot_count;
    m->slots[m->slot_count++] = slot;
    return 0;
}

/* ---- tensors ---- */

static int check_shape(const struct tensor *t, int dimensions, int first, int second, struct err *e)
{
    if (t->dimensions == dimensions && t->shape[0] == first && (dimensions == 1 || t->shape[1] == second))
        return 0;
    char found[128], wanted[64];
    tensor_shape_text(t, found, sizeof found);
    snprintf(wanted, sizeof wanted, dimensions == 1 ? "[%d]" : "[%d, %d]", first, second);
    return err_set(e, "model_malformed", "%.200s is %s, the config says %s", t->name, found, wanted);
}

static int take_matrix(struct model *m, const char *name, int rows, int cols, bool transposed,
                       struct matrix *out, struct err *e)
{
    const void *data;
    const struct tensor *t = weights_take(m->weights, name, &data);
    if (!t)
        return err_set(e, "model_malformed", "the weights have no tensor %.200s", name);
    if (check_shape(t, 2, transposed ? cols : rows, transposed ? rows : cols, e) != 0)
        return -1;
    *out = (struct matrix){
        .data = data, .dtype = t->dtype, .rows = rows, .cols = cols, .transposed = transposed};
    return 0;
}

static int take_vector(struct model *m, const char *name, int size, const float **out, struct err *e)
{
    const void *data;
    const struct tensor *t = weights_take(m->weights, name, &data);
    if (!t)
        return err_set(e, "model_malformed", "the weights have no tensor %.200s", name);
    if (check_shape(t, 1, size, 0, e) != 0 ||
        grow((void **)&m->vectors, m->vector_count, &m->vector_capacity, sizeof *m->vectors, e) != 0)
        return -1;
    float *widened = malloc((size_t)size * sizeof *widened);
    if (!widened)
        return err_memory(e);
    dtype_widen(t->dtype, data, widened, (size_t)size);
    m->vectors[m->vector_count++] = widened;
    *out = widened;
    return 0;
}

/* ---- modules of a decoder: `prefix` is "model." or "model.layers.3." ---- */

struct place {
    struct model *m;
    char prefix[PATH_BYTES];      /* of module paths */
    char file_prefix[PATH_BYTES]; /* of tensor names: checkpoints of the bare network leave "model." out */
    int layer;
};

static void join(char out[PATH_BYTES * 2], const char *prefix, const char *name, const char *suffix)
{
    snprintf(out, PATH_BYTES * 2, "%s%s%s", prefix, name, suffix);
}

static int load_linear(const struct place *p, enum site_kind kind, const char *name, int rows, int cols,
                       bool bias, struct linear *out, struct err *e)
{
    char path[PATH_BYTES * 2], weight[PATH_BYTES * 2], bias_name[PATH_BYTES * 2];
    join(path, p->prefix, name, "");
    join(weight, p->file_prefix, name, ".weight");
    join(bias_name, p->file_prefix, name, ".bias");
    bool transposed = p->m->config.family->transposed;
    if (take_matrix(p->m, weight, rows, cols, transposed, &out->weight, e) != 0 ||
        add_module(p->m, path, e) != 0 ||
        add_site(p->m, p->layer, kind, path, &out->weight, &out->site, e) != 0 ||
        add_slot(p->m, path, "weight", weight, out->site, &out->weight, 0, &out->weight_slot, e) != 0)
        return -1;
    if (!bias)
        return 0;
    if (take_vector(p->m, bias_name, rows, &out->bias, e) != 0)
        return -1;
    return add_slot(p->m, path, "bias", bias_name, out->site, NULL, rows, &out->bias_slot, e);
}

static int load_norm(const struct place *p, const char *name, int size, bool bias, struct norm *out,
                     struct err *e)
{
    char path[PATH_BYTES * 2], weight[PATH_BYTES * 2], bias_name[PATH_BYTES * 2];
    join(path, p->prefix, name, "");
    join(weight, p->file_prefix, name, ".weight");
    join(bias_name, p->file_prefix, name, ".bias");
    if (add_module(p->m, path, e) != 0 || take_vector(p->m, weight, size, &out->weight, e) != 0 ||
        add_slot(p->m, path, "weight", weight, -1, NULL, size, &out->weight_slot, e) != 0)
        return -1;
    out->size = size;
    out->eps = p->m->config.eps;
    if (!bias)
        return 0;
    if (take_vector(p->m, bias_name, size, &out->bias, e) != 0)
        return -1;
    return add_slot(p->m, path, "bias", bias_name, -1, NULL, size, &out->bias_slot, e);
}

static int load_table(const struct place *p, const char *name, const char *tensor, int rows, int cols,
                      struct table *out, struct err *e)
{
    char path[PATH_BYTES * 2], weight[PATH_BYTES * 2];
    join(path, p->prefix, name, "");
    join(weight, p->file_prefix, name, ".weight");
    if (tensor)
        snprintf(weight, sizeof weight, "%s", tensor);
    if (add_module(p->m, path, e) != 0 || take_matrix(p->m, weight, rows, cols, false, &out->weight, e) != 0)
        return -1;
    return add_slot(p->m, path, "weight", weight, -1, &out->weight, 0, &out->weight_slot, e);
}

/* Behind all other sites: their places stay what they are. */
static int add_table_site(struct model *m, struct table *t, struct err *e)
{
    if (!t->weight.data)
        return 0;
    const struct matrix turned = {.rows = t->weight.cols, .cols = t->weight.rows};
    struct slot *slot = &m->slots[t->weight_slot];
    if (add_site(m, -1, SITE_EMBEDDING, slot->path, &turned, &t->site, e) != 0)
        return -1;
    slot->site = t->site;
    return 0;
}

static int load_attention(const struct place *p, struct layer *l, struct err *e)
{
    const struct config *c = &p->m->config;
    const struct family *f = c->family;
    int q_size = model_q_size(p->m), kv_size = model_kv_size(p->m);
    if (f->qkv) {
        l->qkv_count = 1;
        if (load_linear(p, SITE_QKV, f->qkv, q_size + 2 * kv_size, c->hidden, c->qkv_bias, &l->qkv[0], e) !=
            0)
            return -1;
    } else {
        l->qkv_count = 3;
        if (load_linear(p, SITE_Q, f->q, q_size, c->hidden, c->qkv_bias, &l->qkv[0], e) != 0 ||
            load_linear(p, SITE_K, f->k, kv_size, c->hidden, c->qkv_bias, &l->qkv[1], e) != 0 ||
            load_linear(p, SITE_V, f->v, kv_size, c->hidden, c->qkv_bias, &l->qkv[2], e) != 0)
            return -1;
    }
    if (load_linear(p, SITE_O, f->o, c->hidden, q_size, c->o_bias, &l->o, e) != 0)
        return -1;
    if (f->qk_norm && (load_norm(p, f->q_norm, c->head_dim, false, &l->q_norm, e) != 0 ||
                       load_norm(p, f->k_norm, c->head_dim, false, &l->k_norm, e) != 0))
        return -1;
    return 0;
}

static int load_layer(struct place *p, struct layer *l, struct err *e)
{
    const struct config *c = &p->m->config;
    const struct family *f = c->family;
    if (load_norm(p, f->attention_norm, c->hidden, f->layer_norm, &l->attention_norm, e) != 0 ||
        load_attention(p, l, e) != 0 ||
        load_norm(p, f->mlp_norm, c->hidden, f->layer_norm, &l->mlp_norm, e) != 0)
        return -1;
    if (f->gated &&
        load_linear(p, SITE_GATE, f->gate, c->intermediate, c->hidden, c->mlp_bias, &l->gate, e) != 0)
        return -1;
    if (load_linear(p, SITE_UP, f->up, c->intermediate, c->hidden, c->mlp_bias, &l->up, e) != 0)
        return -1;
    return load_linear(p, SITE_DOWN, f->down, c->hidden, c->intermediate, c->mlp_bias, &l->down, e);
}

/* Two matrices of one shape, not transposed. */
static bool same_numbers(const struct matrix *a, const struct matrix *b)
{
    enum { CHUNK = 1024 };
    float left[CHUNK], right[CHUNK];
    size_t count = (size_t)a->rows * (size_t)a->cols;
    if (a->dtype == b->dtype)
        return memcmp(a->data, b->data, count * dtype_size(a->dtype)) == 0;
    for (size_t at = 0; at < count; at += CHUNK) {
        size_t length = count - at < CHUNK ? count - at : CHUNK;
        dtype_widen(a->dtype, (const char *)a->data + at * dtype_size(a->dtype), left, length);
        dtype_widen(b->dtype, (const char *)b->data + at * dtype_size(b->dtype), right, length);
        if (memcmp(left, right, length * sizeof *left) != 0)
            return false;
    }
    return true;
}

/* Some checkpoints store the tied matrix twice. As in transformers 5, two that differ are not tied, whatever
 * the config says. */
static int load_head(struct model *m, struct err *e)
{
    const struct config *c = &m->config;
    const char *weight = "lm_head.weight";
    const void *data;
    if ((!c->tied || weights_find(m->weights, weight, &data)) &&
        take_matrix(m, weight, c->vocab, c->hidden, false, &m->lm_head.weight, e) != 0)
        return -1;
    m->config.tied =
        c->tied && (!m->lm_head.weight.data || same_numbers(&m->lm_head.weight, &m->embed.weight));
    if (c->tied) {
        m->lm_head.weight = m->embed.weight;
        weight = m->slots[m->embed.weight_slot].tensor;
    }
    if (add_module(m, "lm_head", e) != 0)
        return -1;
    if (add_site(m, -1, SITE_LM_HEAD, "lm_head", &m->lm_head.weight, &m->lm_head.site, e) != 0)
        return -1;
    return add_slot(m, "lm_head", "weight", weight, m->lm_head.site, &m->lm_head.weight, 0,
                    &m->lm_head.weight_slot, e);
}

/* Buffers that old checkpoints hold beside the weights. */
static int is_buffer(const char *name)
{
    static const char *const endings[] = {".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq"};
    size_t length = strlen(name);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t ending = strlen(endings[i]);
        if (length > ending && strcmp(name + length - ending, endings[i]) == 0)
            return 1;
    }
    return 0;
}

static int load_decoder(struct model *m, struct err *e)
{
    const struct config *c = &m->config;
    const struct family *f = c->family;
    struct place top = {.m = m, .layer = -1};
    char name[PATH_BYTES * 2];
    const void *data;
    snprintf(top.prefix, sizeof top.prefix, "%s", f->prefix);
    join(name, f->prefix, f->embed, ".weight");
    bool here = weights_find(m->weights, name, &data);
    join(name, f->prefix, f->final_norm, ".weight");
    if (here || weights_find(m->weights, name, &data))
        snprintf(top.file_prefix, sizeof top.file_prefix, "%s", f->prefix);
    join(name, top.file_prefix, f->embed, ".weight");
    bool at_head = c->tied && !weights_find(m->weights, name, &data) &&
                   weights_find(m->weights, "lm_head.weight", &data); /* stored once, under the other name */
    if (load_table(&top, f->embed, at_head ? "lm_head.weight" : NULL, c->vocab, c->hidden, &m->embed, e) != 0)
        return -1;
    if (f->learned_positions &&
        load_table(&top, f->positions, NULL, c->context, c->hidden, &m->positions, e) != 0)
        return -1;
    m->layers = calloc((size_t)c->layers, sizeof *m->layers);
    if (!m->layers)
        return err_memory(e);
    for (int i = 0; i < c->layers; i++) {
        struct place p = {.m = m, .layer = i};
        snprintf(p.prefix, sizeof p.prefix, "%.40s%.40s%d.", top.prefix, f->layer_prefix, i);
        snprintf(p.file_prefix, sizeof p.file_prefix, "%.40s%.40s%d.", top.file_prefix, f->layer_prefix, i);
        m->layers[i].window = c->slides[i] ? c->window : 0;
        if (load_layer(&p, &m->layers[i], e) != 0)
            return -1;
    }
    if (load_norm(&top, f->final_norm, c->hidden, f->layer_norm, &m->final_norm, e) != 0)
        return -1;
    if (load_head(m, e) != 0 || add_table_site(m, &m->embed, e) != 0)
        return -1;
    return add_table_site(m, &m->positions, e);
}

static int load_mlp(struct model *m, struct err *e)
{
    const struct config *c = &m->config;
    m->mlp = calloc((size_t)c->mlp_layers, sizeof *m->mlp);
    if (!m->mlp)
        return err_memory(e);
    for (int i = 0; i < c->mlp_layers; i++) {
        struct place p = {.m = m, .layer = i};
        char name[16];
        snprintf(name, sizeof name, "fc%d", i + 1);
        if (load_linear(&p, SITE_FC, name, c->mlp_sizes[i + 1], c->mlp_sizes[i], true, &m->mlp[i], e) != 0)
            return -1;
    }
    return 0;
}

static int index_linears(struct model *m, struct err *e)
{
    m->site_linear = calloc(m->site_count + 1, sizeof *m->site_linear);
    if (!m->site_linear)
        return err_memory(e);
    for (int i = 0; i < m->config.mlp_layers; i++)
        m->site_linear[m->mlp[i].site] = &m->mlp[i];
    for (int i = 0; m->layers && i < m->config.layers; i++) {
        const struct layer *l = &m->layers[i];
        const struct linear *all[] = {&l->qkv[0], &l->qkv[1], &l->qkv[2], &l->o, &l->gate, &l->up, &l->down};
        for (size_t j = 0; j < sizeof all / sizeof *all; j++)
            if (all[j]->weight.data)
                m->site_linear[all[j]->site] = all[j];
    }
    if (m->lm_head.weight.data)
        m->site_linear[m->lm_head.site] = &m->lm_head;
    return 0;
}

/* ---- rotary frequencies ---- */

/* Llama 3.1: long wavelengths are stretched by `factor`, short ones kept, those between blended. */
static float scale_frequency(const struct rope *r, float frequency)
{
    double wavelength = 2.0 * M_PI / (double)frequency;
    double low = r->original_context / r->low_freq_factor, high = r->original_context / r->high_freq_factor;
    if (wavelength < high)
        return frequency;
    if (wavelength > low)
        return (float)((double)frequency / r->factor);
    double smooth =
        (r->original_context / wavelength - r->low_freq_factor) / (r->high_freq_factor - r->low_freq_factor);
    return (float)((1.0 - smooth) * (double)frequency / r->factor + smooth * (double)frequency);
}

static int fill_frequencies(struct model *m, struct err *e)
{
    const struct config *c = &m->config;
    int half = c->head_dim / 2;
    m->inverse_frequency = malloc((size_t)half * sizeof *m->inverse_frequency);
    if (!m->inverse_frequency)
        return err_memory(e);
    for (int i = 0; i < half; i++) {
        float frequency = 1.0f / powf((float)c->rope.theta, (float)(2 * i) / (float)c->head_dim);
        m->inverse_frequency[i] = c->rope.llama3 ? scale_frequency(&c->rope, frequency) : frequency;
    }
    return 0;
}

/* ---- info ---- */

/* All that decides what the model computes. */
static void fill_fingerprint(const struct model *m, uint8_t out[SHA256_BYTES])
{
    const struct config *c = &m->config;
    const char *family = c->family->name;
    const int sizes[] = {c->hidden,       c->layers, c->heads,   c->kv_heads, c->head_dim,   c->window,
                         c->intermediate, c->vocab,  c->context, c->tied,     c->rope.llama3};
    const double numbers[] = {(double)c->eps,           c->rope.theta,
                              c->rope.factor,           c->rope.low_freq_factor,
                              c->rope.high_freq_factor, c->rope.original_context};
    struct sha256 hash;
    weights_fingerprint(m->weights, out);
    sha256_init(&hash);
    sha256_update(&hash, out, SHA256_BYTES);
    sha256_update(&hash, family, strlen(family));
    sha256_update(&hash, sizes, sizeof sizes);
    sha256_update(&hash, c->slides, c->window ? sizeof c->slides : 0);
    sha256_update(&hash, numbers, sizeof numbers);
    sha256_final(&hash, out);
}

static void fill_info(struct model *m, const struct model_options *o)
{
    const struct config *c = &m->config;
    struct model_info *info = &m->info;
    bool numeric = c->family->numeric;
    *info = (struct model_info){
        .family = c->family->name,
        .numeric = numeric,
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
        .eos_count = c->eos_count,
        .weight_bytes = weights_bytes(m->weights),
    };
    memcpy(info->eos, c->eos, sizeof info->eos);
    info->parameters = weights_parameters(m->weights);
    fill_fingerprint(m, info->fingerprint);
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
    const struct layer *l = &m->layers[0];
    const struct linear *shapes[] = {&l->qkv[0], &l->qkv[1], &l->o, &l->up, &l->down, &m->lm_head};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (shapes[i]->weight.data && linear_check(&shapes[i]->weight, e) != 0)
            return -1;
    return 0;
}

const char *precision_name(enum precision p)
{
    static const char *const names[] = {"default", "exact", "int8", "int4"};
    return names[p];
}

static int load(struct model *m, const char *directory, const struct model_options *o, struct err *e)
{
    if (config_read(&m->config, directory, e) != 0 || weights_open(&m->weights, directory, e) != 0)
        return -1;
    const struct family *f = m->config.family;
    m->precision = o->precision != PRECISION_DEFAULT ? o->precision
                   : f->numeric                      ? PRECISION_EXACT
                                                     : PRECISION_INT8;
    m->kv_int8 = o->kv_int8;
    if (o->context > m->config.context) {
        err_set(e, "context_too_long", "a context of %d tokens is wanted, the model has %d", o->context,
                m->config.context);
        return err_param(e, "context");
    }
    if (m->kv_int8 && m->precision == PRECISION_EXACT) {
        err_set(e, "precision_unsupported",
                "keys and values are int8 only where the weights are int8 or int4");
        return err_param(e, "kv-precision");
    }
    if ((f->numeric ? load_mlp(m, e) : load_decoder(m, e)) != 0 || index_linears(m, e) != 0)
        return -1;
    const char *left = weights_left(m->weights, is_buffer);
    if (left)
        return err_set(e, "model_unsupported",
                       "tensor %.200s is no part of a %s model as it is computed here", left, f->name);
    if (!f->numeric && !f->learned_positions && fill_frequencies(m, e) != 0)
        return -1;
    fill_info(m, o);
    return m->precision == PRECISION_EXACT ? check_matrices(m, e) : pack_model(m, o, e);
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
    for (size_t i = 0; i < m->slot_count; i++) {
        free((char *)m->slots[i].path);
        free((char *)m->slots[i].tensor);
    }
    for (size_t i = 0; i < m->module_count; i++)
        free((char *)m->modules[i]);
    for (size_t i = 0; i < m->vector_count; i++)
        free(m->vectors[i]);
    free(m->sites);
    free(m->site_linear);
    free(m->slots);
    free(m->modules);
    free(m->vectors);
    free(m->layers);
    free(m->mlp);
    free(m->inverse_frequency);
    pack_free(m->pack);
    weights_close(m->weights);
    free(m);
}

/* ---- looking at a model ---- */

const struct model_info *model_info(const struct model *m)
{
    return &m->info;
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

const struct slot *model_slots(const struct model *m, size_t *count)
{
    *count = m->slot_count;
    return m->slots;
}

int model_find_slot(const struct model *m, const char *path, const char *leaf)
{
    for (size_t i = 0; i < m->slot_count; i++)
        if (strcmp(m->slots[i].path, path) == 0 && strcmp(m->slots[i].leaf, leaf) == 0)
            return (int)i;
    return -1;
}

void model_slot_values(const struct model *m, int slot, size_t at, size_t count, float *out)
{
    const void *data;
    const struct tensor *t = weights_find(m->weights, m->slots[slot].tensor, &data);
    dtype_widen(t->dtype, (const char *)data + at * dtype_size(t->dtype), out, count);
}

bool model_is_tied(const struct model *m)
{
    return m->config.tied;
}

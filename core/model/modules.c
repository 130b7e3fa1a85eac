#include "core/model/modules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/weights.h"

enum { PATH_BYTES = 128 };

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

/* A module's tensor `path.leaf`, called `tensor` in the files. w: the matrix, or NULL for a vector of
 * `size`. */
static int add_parameter(struct model *m, const char *path, const char *leaf, const char *tensor, int site,
                         const struct matrix *w, int size, int *index, struct err *e)
{
    if (grow((void **)&m->parameters, m->parameter_count, &m->parameter_capacity, sizeof *m->parameters, e) !=
        0)
        return -1;
    struct parameter parameter = {.leaf = leaf, .rows = size, .site = site};
    if (w) {
        parameter.transposed = w->transposed;
        parameter.rows = w->transposed ? w->cols : w->rows;
        parameter.cols = w->transposed ? w->rows : w->cols;
    }
    parameter.path = strdup(path);
    parameter.tensor = strdup(tensor);
    if (!parameter.path || !parameter.tensor) {
        free((char *)parameter.path);
        free((char *)parameter.tensor);
        return err_memory(e);
    }
    *index = (int)m->parameter_count;
    m->parameters[m->parameter_count++] = parameter;
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

static const struct tensor *take(struct model *m, const char *name, struct err *e)
{
    const struct tensor *t = weights_take(m->weights, name);
    if (!t)
        err_set(e, "model_malformed", "the weights have no tensor %.200s", name);
    return t;
}

/* Its bytes are in memory only if it is kept. */
static int take_matrix(struct model *m, const char *name, struct matrix *shape, struct err *e)
{
    bool turned = shape->transposed;
    const struct tensor *t = take(m, name, e);
    if (!t ||
        check_shape(t, 2, turned ? shape->cols : shape->rows, turned ? shape->rows : shape->cols, e) != 0)
        return -1;
    shape->data = weights_place(m->weights, t);
    shape->dtype = t->dtype;
    return m->precision == PRECISION_EXACT ? weights_keep(m->weights, t, e) : 0;
}

static int take_vector(struct model *m, const char *name, int size, const float **out, struct err *e)
{
    const struct tensor *t = take(m, name, e);
    if (!t || check_shape(t, 1, size, 0, e) != 0 ||
        grow((void **)&m->vectors, m->vector_count, &m->vector_capacity, sizeof *m->vectors, e) != 0)
        return -1;
    float *widened = malloc((size_t)size * sizeof *widened);
    void *stored = malloc(t->bytes);
    int result = widened && stored ? weights_read(m->weights, t, (struct stretch){0, t->bytes}, stored, e)
                                   : err_memory(e);
    if (result == 0) {
        dtype_widen(t->dtype, stored, widened, (size_t)size);
        m->vectors[m->vector_count++] = widened;
        *out = widened;
    } else {
        free(widened);
    }
    free(stored);
    return result;
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
    out->weight = (struct matrix){.rows = rows, .cols = cols, .transposed = p->m->config.family->transposed};
    if (take_matrix(p->m, weight, &out->weight, e) != 0 || add_module(p->m, path, e) != 0 ||
        add_site(p->m, p->layer, kind, path, &out->weight, &out->site, e) != 0 ||
        add_parameter(p->m, path, "weight", weight, out->site, &out->weight, 0, &out->weight_parameter, e) !=
            0)
        return -1;
    if (!bias)
        return 0;
    if (take_vector(p->m, bias_name, rows, &out->bias, e) != 0)
        return -1;
    return add_parameter(p->m, path, "bias", bias_name, out->site, NULL, rows, &out->bias_parameter, e);
}

static int load_norm(const struct place *p, const char *name, int size, bool bias, struct norm *out,
                     struct err *e)
{
    *out = (struct norm){.kind = p->m->config.family->norm, .size = size};
    if (!name)
        return 0;
    char path[PATH_BYTES * 2], weight[PATH_BYTES * 2], bias_name[PATH_BYTES * 2];
    join(path, p->prefix, name, "");
    join(weight, p->file_prefix, name, ".weight");
    join(bias_name, p->file_prefix, name, ".bias");
    if (add_module(p->m, path, e) != 0 || take_vector(p->m, weight, size, &out->weight, e) != 0 ||
        add_parameter(p->m, path, "weight", weight, -1, NULL, size, &out->weight_parameter, e) != 0)
        return -1;
    out->eps = p->m->config.eps;
    if (!bias)
        return 0;
    if (take_vector(p->m, bias_name, size, &out->bias, e) != 0)
        return -1;
    return add_parameter(p->m, path, "bias", bias_name, -1, NULL, size, &out->bias_parameter, e);
}

static int load_table(const struct place *p, const char *name, const char *tensor, int rows, int cols,
                      struct table *out, struct err *e)
{
    char path[PATH_BYTES * 2], weight[PATH_BYTES * 2];
    join(path, p->prefix, name, "");
    join(weight, p->file_prefix, name, ".weight");
    if (tensor)
        snprintf(weight, sizeof weight, "%s", tensor);
    out->weight = (struct matrix){.rows = rows, .cols = cols};
    if (add_module(p->m, path, e) != 0 || take_matrix(p->m, weight, &out->weight, e) != 0)
        return -1;
    return add_parameter(p->m, path, "weight", weight, -1, &out->weight, 0, &out->weight_parameter, e);
}

/* Behind all other sites: their places stay what they are. */
static int add_table_site(struct model *m, struct table *t, struct err *e)
{
    if (!t->weight.data)
        return 0;
    const struct matrix turned = {.rows = t->weight.cols, .cols = t->weight.rows};
    struct parameter *parameter = &m->parameters[t->weight_parameter];
    if (add_site(m, -1, SITE_EMBEDDING, parameter->path, &turned, &t->site, e) != 0)
        return -1;
    parameter->site = t->site;
    return 0;
}

static int keep_table(struct model *m, const struct table *t, struct err *e)
{
    return weights_keep(m->weights, weights_find(m->weights, m->parameters[t->weight_parameter].tensor), e);
}

/* Tables are read as stored, but for an embedding that is the head: rows come from the packed one. */
static int keep_tables(struct model *m, struct err *e)
{
    bool packed = m->precision != PRECISION_EXACT && m->config.tied;
    if (!packed && keep_table(m, &m->embed, e) != 0)
        return -1;
    return m->positions.weight.data ? keep_table(m, &m->positions, e) : 0;
}

static bool has_norm_bias(const struct family *f)
{
    return f->norm == NORM_LAYER;
}

/* Of the heads from `first` on: one norm for all, or one for each, whose name ends in the head's number. */
static int load_side(const struct place *p, struct layer *l, const char *name, int first, int count,
                     struct err *e)
{
    const struct config *c = &p->m->config;
    bool own = c->head_norms == HEAD_NORMS_OWN,
         bias = has_norm_bias(c->family) && !c->family->head_norms_unbiased;
    int size = c->head_norms == HEAD_NORMS_WHOLE ? count * c->head_dim : c->head_dim;
    char numbered[PATH_BYTES];
    for (int i = 0; i < (own ? count : 1); i++) {
        struct head_norm *h = &l->head_norm[l->head_norms++];
        *h = (struct head_norm){.first = first + i, .count = own ? 1 : count};
        snprintf(numbered, sizeof numbered, own ? "%s%d" : "%s", name, i);
        if (load_norm(p, numbered, size, bias, &h->norm, e) != 0)
            return -1;
    }
    return 0;
}

static int load_head_norms(const struct place *p, struct layer *l, struct err *e)
{
    const struct config *c = &p->m->config;
    if (c->head_norms == HEAD_NORMS_NONE)
        return 0;
    l->head_norm = calloc((size_t)(c->heads + c->kv_heads), sizeof *l->head_norm);
    if (!l->head_norm)
        return err_memory(e);
    if (load_side(p, l, c->family->q_norm, 0, c->heads, e) != 0)
        return -1;
    return load_side(p, l, c->family->k_norm, c->heads, c->kv_heads, e);
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
    return load_head_norms(p, l, e);
}

static int load_mlp(const struct place *p, struct layer *l, struct err *e)
{
    const struct config *c = &p->m->config;
    const struct family *f = c->family;
    l->gate_up = f->gate_up;
    if (f->gate &&
        load_linear(p, SITE_GATE, f->gate, c->intermediate, c->hidden, c->mlp_bias, &l->gate, e) != 0)
        return -1;
    if (load_linear(p, l->gate_up ? SITE_GATE_UP : SITE_UP, l->gate_up ? f->gate_up : f->up,
                    l->gate_up ? 2 * c->intermediate : c->intermediate, c->hidden, c->mlp_bias, &l->up,
                    e) != 0)
        return -1;
    return load_linear(p, SITE_DOWN, f->down, c->hidden, c->intermediate, c->mlp_bias, &l->down, e);
}

/* In the order of the computation, which is that of most networks' modules. */
static int load_layer(struct place *p, struct layer *l, struct err *e)
{
    const struct config *c = &p->m->config;
    const struct family *f = c->family;
    bool bias = has_norm_bias(f);
    if (load_norm(p, f->attention_norm, c->hidden, bias, &l->attention_norm, e) != 0 ||
        load_attention(p, l, e) != 0 ||
        load_norm(p, f->attention_post_norm, c->hidden, bias, &l->attention_post_norm, e) != 0 ||
        load_norm(p, c->parallel ? NULL : f->mlp_norm, c->hidden, bias, &l->mlp_norm, e) != 0 ||
        load_mlp(p, l, e) != 0)
        return -1;
    return load_norm(p, f->mlp_post_norm, c->hidden, bias, &l->mlp_post_norm, e);
}

/* Elements [at, at + count) of a tensor, widened; at most COMPARED. */
enum { COMPARED = 16384 };
static int read_widened(const struct model *m, const struct tensor *t, uint64_t at, size_t count, float *out,
                        struct err *e)
{
    char stored[COMPARED * sizeof(float)];
    size_t size = dtype_size(t->dtype);
    if (weights_read(m->weights, t, (struct stretch){at * size, count * size}, stored, e) != 0)
        return -1;
    dtype_widen(t->dtype, stored, out, count);
    return 0;
}

/* Of two tensors of one shape. */
static int same_numbers(const struct model *m, const struct tensor *a, const struct tensor *b, bool *same,
                        struct err *e)
{
    float *left = malloc(2 * COMPARED * sizeof *left), *right = left + COMPARED;
    uint64_t count = (uint64_t)tensor_elements(a);
    int result = left ? 0 : err_memory(e);
    *same = true;
    for (uint64_t at = 0; result == 0 && *same && at < count; at += COMPARED) {
        size_t length = count - at < COMPARED ? (size_t)(count - at) : COMPARED;
        if (read_widened(m, a, at, length, left, e) != 0 || read_widened(m, b, at, length, right, e) != 0)
            result = -1;
        else
            *same = memcmp(left, right, length * sizeof *left) == 0;
    }
    free(left);
    return result;
}

static const struct tensor *embedding_tensor(const struct model *m)
{
    return weights_find(m->weights, m->parameters[m->embed.weight_parameter].tensor);
}

/* Some checkpoints store the tied matrix twice. As in transformers 5, two that differ are not tied, whatever
 * the config says. */
static int find_head(struct model *m, const char **tensor, struct err *e)
{
    struct config *c = &m->config;
    const struct tensor *own = weights_take(m->weights, *tensor), *embedding = embedding_tensor(m);
    m->lm_head.weight = (struct matrix){.rows = c->vocab, .cols = c->hidden};
    if (own && check_shape(own, 2, c->vocab, c->hidden, e) != 0)
        return -1;
    if (c->tied && own && own != embedding && same_numbers(m, own, embedding, &c->tied, e) != 0)
        return -1;
    if (!c->tied)
        return take_matrix(m, *tensor, &m->lm_head.weight, e);
    m->lm_head.weight = m->embed.weight;
    *tensor = embedding->name;
    return 0;
}

/* A checkpoint that gives labels has none; one of the bare network has one where it is the embedding. */
static bool makes_logits(const struct model *m)
{
    const struct config *c = &m->config;
    return c->labels == HEAD_NONE && (!c->bare || c->tied || weights_find(m->weights, "lm_head.weight"));
}

static int load_head_bias(struct model *m, struct err *e)
{
    static const char tensor[] = "lm_head.bias";
    struct linear *l = &m->lm_head;
    if (take_vector(m, tensor, l->weight.rows, &l->bias, e) != 0)
        return -1;
    return add_parameter(m, "lm_head", "bias", tensor, l->site, NULL, l->weight.rows, &l->bias_parameter, e);
}

static int load_head(struct model *m, struct err *e)
{
    const char *other = m->config.family->file_head,
               *tensor = other && weights_find(m->weights, other) ? other : "lm_head.weight";
    if (!makes_logits(m)) {
        m->config.tied = false;
        return 0;
    }
    if (find_head(m, &tensor, e) != 0 || add_module(m, "lm_head", e) != 0 ||
        add_site(m, -1, SITE_LM_HEAD, "lm_head", &m->lm_head.weight, &m->lm_head.site, e) != 0)
        return -1;
    if (add_parameter(m, "lm_head", "weight", tensor, m->lm_head.site, &m->lm_head.weight, 0,
                      &m->lm_head.weight_parameter, e) != 0)
        return -1;
    return m->config.family->head_bias ? load_head_bias(m, e) : 0;
}

static int read_numbers(struct model *m, const struct tensor *t, float *out, struct err *e)
{
    uint64_t count = (uint64_t)tensor_elements(t);
    for (uint64_t at = 0; at < count; at += COMPARED)
        if (read_widened(m, t, at, count - at < COMPARED ? (size_t)(count - at) : COMPARED, out + at, e) != 0)
            return -1;
    return 0;
}

/* What gives labels, under either of the names that transformers' classes have for it. */
static int load_labels(struct model *m, struct err *e)
{
    struct head *h = m->head;
    bool other = !weights_find(m->weights, "score.weight") && weights_find(m->weights, "classifier.weight");
    const struct tensor *weight = take(m, other ? "classifier.weight" : "score.weight", e);
    if (!weight || check_shape(weight, 2, h->labels, h->size, e) != 0 ||
        read_numbers(m, weight, h->weight, e) != 0)
        return -1;
    if (!h->bias)
        return 0;
    const struct tensor *bias = take(m, other ? "classifier.bias" : "score.bias", e);
    if (!bias || check_shape(bias, 1, h->labels, 0, e) != 0)
        return -1;
    return read_numbers(m, bias, h->bias, e);
}

/* Buffers that old checkpoints hold beside the weights, and what is no part of the text's network. */
static bool may_be_left(const void *family, const char *name)
{
    const struct family *f = family;
    static const char *const endings[] = {".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq"};
    size_t length = strlen(name);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t ending = strlen(endings[i]);
        if (length > ending && strcmp(name + length - ending, endings[i]) == 0)
            return true;
    }
    for (size_t i = 0; i < sizeof f->other_tensors / sizeof *f->other_tensors && f->other_tensors[i]; i++)
        if (strncmp(name, f->other_tensors[i], strlen(f->other_tensors[i])) == 0)
            return true;
    return false;
}

static bool has_module(const struct model *m, const char *prefix, const char *name)
{
    char tensor[PATH_BYTES * 2];
    join(tensor, prefix, name, ".weight");
    return weights_find(m->weights, tensor);
}

/* What the names of the network's tensors begin with; nothing, in checkpoints of the bare network. */
static const char *file_prefix(const struct model *m)
{
    const struct family *f = m->config.family;
    const char *const all[] = {f->prefix, f->file_prefix};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i] && (has_module(m, all[i], f->embed) || has_module(m, all[i], f->final_norm)))
            return all[i];
    return "";
}

static int load_decoder(struct model *m, struct err *e)
{
    const struct config *c = &m->config;
    const struct family *f = c->family;
    struct place top = {.m = m, .layer = -1};
    char name[PATH_BYTES * 2];
    snprintf(top.prefix, sizeof top.prefix, "%s", f->prefix);
    snprintf(top.file_prefix, sizeof top.file_prefix, "%s", file_prefix(m));
    join(name, top.file_prefix, f->embed, ".weight");
    bool at_head = c->tied && !weights_find(m->weights, name) &&
                   weights_find(m->weights, "lm_head.weight"); /* stored once, under the other name */
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
        m->layers[i].rope = c->rope_of[i];
        if (load_layer(&p, &m->layers[i], e) != 0)
            return -1;
    }
    if (load_norm(&top, f->final_norm, c->hidden, has_norm_bias(f), &m->final_norm, e) != 0)
        return -1;
    if (load_head(m, e) != 0 || (m->head && load_labels(m, e) != 0) || add_table_site(m, &m->embed, e) != 0 ||
        add_table_site(m, &m->positions, e) != 0)
        return -1;
    return keep_tables(m, e);
}

static int load_numeric(struct model *m, struct err *e)
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
        struct linear *all[LAYER_LINEARS];
        int count = layer_linears(&m->layers[i], all);
        for (int j = 0; j < count; j++)
            m->site_linear[all[j]->site] = all[j];
    }
    if (m->lm_head.weight.data)
        m->site_linear[m->lm_head.site] = &m->lm_head;
    return 0;
}

int modules_load(struct model *m, struct err *e)
{
    const struct family *f = m->config.family;
    if ((f->numeric ? load_numeric(m, e) : load_decoder(m, e)) != 0 || index_linears(m, e) != 0)
        return -1;
    const char *left = weights_left(m->weights, may_be_left, f);
    if (left)
        return err_set(e, "model_unsupported",
                       "tensor %.200s is no part of a %s model as it is computed here", left, f->name);
    return 0;
}

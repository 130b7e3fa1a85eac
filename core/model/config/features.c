#include "core/model/config/features.h"

#include <stdarg.h>
#include <stdio.h>

struct list {
    char *out;
    size_t size, length;
};

static __attribute__((format(printf, 3, 4))) void add(struct list *l, bool is_there, const char *format, ...)
{
    va_list arguments;
    if (!is_there)
        return;
    if (l->length > 0 && l->length < l->size)
        l->length += (size_t)snprintf(l->out + l->length, l->size - l->length, ", ");
    va_start(arguments, format);
    if (l->length < l->size)
        l->length += (size_t)vsnprintf(l->out + l->length, l->size - l->length, format, arguments);
    va_end(arguments);
}

static struct list list_new(char *out, size_t size)
{
    out[0] = '\0';
    return (struct list){out, size, 0};
}

/* " (`field`)" of a field that switches it, or nothing; static storage, one at a time. */
static const char *switched_by(const char *field)
{
    static _Thread_local char text[64];
    if (!field)
        return "";
    snprintf(text, sizeof text, " (`%s`)", field);
    return text;
}

static void add_norms(struct list *l, const struct family *f)
{
    static const char *const heads[] = {[HEAD_NORMS_NONE] = "",
                                        [HEAD_NORMS_SHARED] = "norms of q and k by head",
                                        [HEAD_NORMS_WHOLE] = "norms of all of q and of all of k",
                                        [HEAD_NORMS_OWN] = "a norm for each head of q and k"};
    bool before = f->attention_norm, behind = f->attention_post_norm;
    add(l, f->norm == NORM_LAYER, "layer norm");
    add(l, f->norm == NORM_RMS_PLUS, "norms by 1 + w");
    add(l, before && behind, "norms before and behind the blocks");
    add(l, !before && behind, "norms behind the blocks");
    add(l, f->parallel || f->field_parallel, "attention and MLP side by side%s",
        switched_by(f->field_parallel));
    add(l, f->head_norms != HEAD_NORMS_NONE, "%s%s", heads[f->head_norms], switched_by(f->field_head_norms));
}

static void add_layers(struct list *l, const struct family *f)
{
    bool everywhere = f->qkv_bias && f->o_bias && f->mlp_bias;
    add(l, everywhere, "biases everywhere%s", switched_by(f->field_all_biases));
    add(l, f->qkv_bias && !everywhere, "biases of q, k and v");
    add(l, f->attention_bias_default, "biases of q, k and v (`attention_bias`)");
    add(l, f->field_qkv_bias, "biases of q, k and v%s", switched_by(f->field_qkv_bias));
    add(l, f->head_bias, "a bias of `lm_head`");
    add(l, f->qkv, "q, k and v as one matrix");
    add(l, f->gate_up, "gate and up as one matrix");
    add(l, !f->gated, "no gate");
    add(l, f->activation == ACTIVATION_GELU_TANH, "GELU");
    add(l, f->transposed, "transposed weights");
}

static void add_fixed_numbers(struct list *l, const struct family *f)
{
    add(l, f->embedding_by_width, "embeddings times the root of their width");
    add(l, f->multipliers, "multipliers of embeddings, scores, blocks and logits");
    add(l, f->field_query_scale, "scores by `%s`", f->field_query_scale);
    add(l, f->query_growth, "queries that grow with their position");
}

static void add_caps(struct list *l, const struct family *f)
{
    add(l, f->score_cap, "capped scores");
    add(l, f->logit_cap, "capped logits");
}

static void add_positions(struct list *l, const struct family *f)
{
    add(l, f->learned_positions, "learned positions");
    add(l, f->window == WINDOW_EVERY, "a sliding window");
    add(l, f->window == WINDOW_CHOSEN || f->window == WINDOW_UNROTATED,
        "sliding windows by layer (`use_sliding_window`)");
    add(l, f->window == WINDOW_TYPED, "sliding windows by layer");
    add(l, f->rotated_default > 0, "a part of each head rotated");
    add(l, f->rope_neighbours, "neighbours rotated as pairs");
    add(l, f->unrotated_every, "layers without rotation (`no_rope_layers`)");
    add(l, f->unrotated_full, "no rotation where all keys are seen");
    add(l, f->local_theta_default > 0, "a rotation of their own for layers that slide");
    add(l, f->text_type, "the text part (`text_config`)");
}

void features_of_family(const struct family *f, char *out, size_t size)
{
    struct list l = list_new(out, size);
    if (f->numeric)
        return;
    add_norms(&l, f);
    add_layers(&l, f);
    add_fixed_numbers(&l, f);
    add_caps(&l, f);
    add_positions(&l, f);
}

/* ---- of a config ---- */

static int count_slides(const struct config *c)
{
    int count = 0;
    for (int i = 0; c->window && i < c->layers; i++)
        count += c->slides[i];
    return count;
}

static int count_unrotated(const struct config *c)
{
    int count = 0;
    for (int i = 0; c->ropes > 0 && i < c->layers; i++)
        count += c->rope_of[i] < 0;
    return count;
}

static void add_rope(struct list *l, const struct config *c, const struct rope *r, const char *of)
{
    static const char *const kinds[] = {
        [ROPE_PLAIN] = "plain", [ROPE_LINEAR] = "linear",   [ROPE_LLAMA3] = "llama3",
        [ROPE_YARN] = "yarn",   [ROPE_DYNAMIC] = "dynamic", [ROPE_LONG] = "longrope"};
    add(l, r->kind != ROPE_PLAIN, "rope %s by %g%s", kinds[r->kind], r->factor, of);
    add(l, r->kind == ROPE_PLAIN, "rope theta %g%s", r->theta, of);
    add(l, r->dim < c->head_dim, "%d of %d numbers of a head rotated", r->dim, c->head_dim);
}

void features_of_config(const struct config *c, char *out, size_t size)
{
    struct list l = list_new(out, size);
    if (c->family->numeric)
        return;
    add_norms(&l, c->family);
    add_layers(&l, c->family);
    add_fixed_numbers(&l, c->family);
    add(&l, c->family->learned_positions, "learned positions");
    add(&l, c->kv_heads < c->heads, "%d heads share %d of keys", c->heads, c->kv_heads);
    for (int i = 0; i < c->ropes; i++)
        add_rope(&l, c, &c->rope[i], i ? " of layers that slide" : "");
    add(&l, count_slides(c) > 0, "a window of %d tokens in %d of %d layers", c->window, count_slides(c),
        c->layers);
    add(&l, count_unrotated(c) > 0, "%d layers without rotation", count_unrotated(c));
    add(&l, c->score_cap > 0, "scores within %g", (double)c->score_cap);
    add(&l, c->logit_cap > 0, "logits within %g", (double)c->logit_cap);
    add(&l, c->tied, "the head is the embedding");
}

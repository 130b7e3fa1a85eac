/* What a model is made of: its layers and their places. Immutable once it is open. For those that compute:
 * core/model, core/delta and core/forward. */
#pragma once
#include "core/head/head.h"
#include "core/kernels/qgemm.h"
#include "core/model/config/config.h"
#include "core/model/generation.h"
#include "core/model/info.h"

struct linear {
    struct matrix weight;                 /* as stored */
    struct packed packed;                 /* bits 0: none, the stored weight is multiplied */
    const float *bias;                    /* [out], or NULL */
    int site;                             /* index into sites */
    int weight_parameter, bias_parameter; /* indices into parameters; of a bias that is not NULL */
};

struct norm {
    enum norm_kind kind;
    const float *weight, *bias; /* [size]; weight NULL: no such norm, rows pass; bias NULL: there is none */
    int weight_parameter, bias_parameter;
    int size;
    float eps;
};

struct table {
    struct matrix weight; /* [rows, numbers of each] */
    const struct packed
        *packed; /* of the head, where it is the same matrix: rows are read from there; or NULL */
    int site, weight_parameter;
};

/* A row as it is served; `own`: a delta's matrix in the table's place, or NULL. */
static inline void table_row(const struct table *t, const struct matrix *own, int row, float *out)
{
    if (!own && t->packed)
        qgemm_unpack_row(t->packed, row, out);
    else
        matrix_row(own ? own : &t->weight, row, out);
}

/* What heads of q and k go through before they are rotated: `count` of them from `first` on, q's before k's.
 * Each by itself, or all as one vector where the norm is so long. */
struct head_norm {
    struct norm norm;
    int first, count;
};

/* One block of a decoder. Where mlp_norm is none and the model's blocks are parallel, attention_norm is for
 * both. */
struct layer {
    struct norm attention_norm, mlp_norm;           /* of what the blocks read */
    struct norm attention_post_norm, mlp_post_norm; /* of what they give */
    struct linear qkv[3]; /* q, k, v; or one stacked matrix, then the other two are empty */
    int qkv_count;
    struct head_norm *head_norm; /* owned, [head_norms] */
    int head_norms;
    struct linear o, gate, up, down; /* gate: only of gated families, and not where it is fused with up */
    bool gate_up;                    /* `up` is both: gate's rows, then up's */
    int rope;                        /* which rotation q and k have; -1: none */
    int window;                      /* keys that a token sees, its own among them; 0: all */
};

enum { LAYER_LINEARS = 7, LAYER_NORMS = 4 };

/* The linear layers of a layer, in the order of the network; returns how many there are. */
static inline int layer_linears(struct layer *l, struct linear *out[LAYER_LINEARS])
{
    struct linear *all[] = {&l->qkv[0], &l->qkv[1], &l->qkv[2], &l->o, &l->gate, &l->up, &l->down};
    int count = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i]->weight.data)
            out[count++] = all[i];
    return count;
}

/* The norm of what the MLP reads. */
static inline const struct norm *layer_mlp_norm(const struct layer *l, const struct config *c)
{
    return c->parallel ? &l->attention_norm : &l->mlp_norm;
}

struct model {
    struct config config;
    struct generation generation;
    struct model_info info;
    enum precision precision;
    bool kv_int8;
    const struct qgemm_kernels *kernels; /* of packed layers */
    struct pack *pack;                   /* owned: memory of the packed weights, or NULL */
    struct weights *weights;             /* owned; matrices point into it */
    struct table embed;                  /* [vocab, hidden] */
    struct table positions;              /* [context, hidden] of learned positions */
    struct layer *layers;                /* owned, [config.layers] */
    struct norm final_norm;
    struct linear lm_head;
    struct head *head;  /* owned reference: of a model that gives labels; NULL: it does not */
    struct linear *mlp; /* owned, [config.mlp_layers] of a numeric model */
    /* Owned, [rope.dim / 2] of each rotation; [1]: of sequences beyond its original context, NULL where the
     * rotation is the same, or depends on the length. */
    float *inverse_frequency[CONFIG_ROPES][2];

    struct site *sites; /* owned, also their strings */
    size_t site_count, site_capacity;
    const struct linear **site_linear; /* owned, [site_count]; NULL for an embedding */
    struct parameter *parameters;      /* owned, also their strings */
    size_t parameter_count, parameter_capacity;
    const char **modules; /* owned, also the strings */
    size_t module_count, module_capacity;
    float **vectors; /* owned: norms and biases, widened */
    size_t vector_count, vector_capacity;
};

static inline int model_q_size(const struct model *m)
{
    return m->config.heads * m->config.head_dim;
}

static inline int model_kv_size(const struct model *m)
{
    return m->config.kv_heads * m->config.head_dim;
}

/* Columns of one row of q, k and v side by side. */
static inline int model_qkv_size(const struct model *m)
{
    return model_q_size(m) + 2 * model_kv_size(m);
}

/* What a model is made of: its layers and their places. Immutable once it is open. For those that compute:
 * core/model, core/delta and core/forward. */
#pragma once
#include "core/head/head.h"
#include "core/kernels/qgemm.h"
#include "core/model/config.h"
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
    const float *weight, *bias; /* [size]; weight NULL: no such norm; bias NULL for an RMS norm */
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

/* One block of a decoder. */
struct layer {
    struct norm attention_norm, mlp_norm;
    struct linear qkv[3]; /* q, k, v; or one stacked matrix, then the other two are empty */
    int qkv_count;
    struct norm q_norm, k_norm;      /* [head_dim], or none */
    struct linear o, gate, up, down; /* gate: only of gated families */
    bool rotates;                    /* q and k, by their positions */
    int window;                      /* keys that a token sees, its own among them; 0: all */
};

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
    struct head *head;        /* owned reference: of a model that gives labels; NULL: it does not */
    struct linear *mlp;       /* owned, [config.mlp_layers] of a numeric model */
    float *inverse_frequency; /* owned, [rope.dim / 2] of a rotary model */

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

/* What a pass of training computes in. For core/train/pass and train_pass.c only.
 *
 * Every worker walks through the same phases, as in core/forward: inside a phase the work is divided by
 * (worker, workers) alone, and between phases all meet at a barrier. A gradient's numbers belong to one
 * worker in a phase, who adds the tokens in order. */
#pragma once
#include "core/forward/product.h"
#include "core/kernels/backward.h"
#include "core/system/gate.h"
#include "core/train/train_params.h"

/* Rows of one job, one behind the other. */
struct pass_run {
    int begin, end;
    const struct delta *delta;
    struct train_params *params;
};

/* All rows of a phase, by jobs. */
struct pass_runs {
    const struct pass_run *run;
    int count;
    int rows; /* in all */
};

/* Tokens that go through the network together, as core/forward takes them. */
struct pass_batch {
    int32_t *token, *position, *length;
    struct kv_sequence **sequence;
    const struct delta **delta;
    struct dropout *dropout;
    uint8_t *want; /* whose logits are wanted: in the head's turn alone */
    struct batch batch;
};

/* One target: the row that predicts it. */
struct pass_target {
    int row;       /* in the batch of all tokens */
    int run;       /* whose gradients it adds to; -1: its loss alone is wanted */
    int32_t token; /* to be predicted */
    float weight;  /* of its loss in the gradient */
    double loss;   /* result */
    bool correct;  /* the same */
};

struct pass_worker {
    float *widened;   /* [backward_scratch] */
    float *low;       /* [LOW_BACKWARD_SCRATCH] */
    float *attention; /* [backward_attention_scratch] */
    float *block;     /* [PASS_BLOCKS, tokens, BACKWARD_COLS] */
    float *row;       /* [widest vector] */
};

enum {
    PASS_SEQUENCES = 256,  /* examples of one pass */
    PASS_LOGITS = 1 << 24, /* that exist at a time, as a rule: */
    PASS_HEAD_ROWS = 256,  /* of so many rows at most */
    PASS_BLOCKS = 3
};

struct train_pass {
    const struct model *model;
    struct pool *pool;
    struct gate *gate;       /* or NULL */
    int tokens;              /* of one pass at most */
    int head_rows;           /* whose logits exist at a time */
    struct kvcache *kv;      /* owned, of one layer */
    struct forward *forward; /* owned */

    struct kv_sequence sequences[PASS_SEQUENCES];
    struct pass_batch all;                     /* every token of the examples */
    struct pass_batch trained;                 /* those of examples whose gradient is wanted */
    int *trained_row;                          /* [tokens] of `all`: its row among the trained, or -1 */
    struct pass_run token_run[PASS_SEQUENCES]; /* of `trained` */
    struct pass_run head_run[PASS_SEQUENCES];  /* of a block of targets */
    struct pass_runs token_runs, head_runs;
    struct pass_target *target; /* [tokens] */
    int target_count;
    int head_first, head_count; /* targets of the block in hand */
    int lowest;                 /* layer down to which gradients go; -1: into the embeddings; layers: none */

    char *memory; /* owned: all lists and what follows */
    size_t memory_bytes;
    int32_t *pages;  /* [pass_pages] of all sequences */
    float *saved;    /* [layers, tokens, hidden] each layer's input, of the trained */
    float *dx;       /* [tokens, hidden] gradient of the residual stream */
    float *branch;   /* [tokens, hidden] of what a block gave, where that is not the stream's */
    float *kept;     /* [tokens, hidden] of what a norm gave to the MLP, where attention reads it, too */
    float *attended; /* [tokens, hidden] what attention gave, where a norm follows */
    float *dh;       /* [tokens, larger of hidden and q] of what a norm gave, or attention */
    float *scaled;   /* [tokens, hidden] the stream's gradient times DoRA's factors */
    float *dqkv;     /* [tokens, q + 2 kv] */
    float *capped;   /* [workers, vocab] logits, where they are capped */
    float *qk;       /* [tokens, q + kv] before their norms, where the family has them */
    /* [tokens, up_stride] gate and up, and their gradients; of a layer that is both, halves of one row */
    float *gate_rows, *up_rows;
    int up_stride;
    float *low;                            /* B^T dy, laid out as forward->low */
    void *prepared[INPUT_LINEARS_MAX];     /* gradients for the kernels, of the base's weights */
    void *prepared_own[INPUT_LINEARS_MAX]; /* the same for weights that stand in their place */
    struct pass_worker *workers;
};

/* Pages of keys and values of sequences of so many tokens together. */
static inline int pass_pages(int tokens)
{
    return tokens / KV_PAGE_TOKENS + PASS_SEQUENCES;
}

/* The worker's share of `rows` rows: neighbours. */
static inline int pass_share(int rows, int index, int count)
{
    return (int)((long)rows * index / count);
}

/* The gradient that a run adds to a parameter of the base; NULL: it is not trained. */
static inline float *pass_whole(const struct pass_run *run, int parameter)
{
    int tensor = run->params->whole[parameter];
    return tensor < 0 ? NULL : run->params->tensors[tensor].gradient;
}

/* What a run trains of a site, or NULL. */
static inline const struct train_site *pass_site(const struct pass_run *run, int site)
{
    const struct train_site *s = &run->params->sites[site];
    return s->a < 0 ? NULL : s;
}

static inline float *pass_gradient(const struct pass_run *run, int tensor)
{
    return run->params->tensors[tensor].gradient;
}

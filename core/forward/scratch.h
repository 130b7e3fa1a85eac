/* What a forward pass computes in. For core/forward, and for core/train, which computes layers again. */
#pragma once
#include "core/forward/batch.h"
#include "core/kernels/qgemm.h"
#include "core/model/network.h"
#include "core/system/gate.h"
#include "core/system/pool.h"

enum { INPUT_LINEARS_MAX = 3 /* linear layers that read one input: q, k, v */ };

/* Where the low ranks of a step's tokens are, [tokens, stride]: side by side for the layers that read one
 * input, and no further apart than the largest rank asks for. */
struct low_layout {
    int slot;   /* from layer to layer */
    int stride; /* from token to token: an odd number of cache lines, so that tokens do not meet in the cache
                 */
};

static inline struct low_layout low_layout(int rank)
{
    enum { LINE = 16 }; /* floats */
    int lines = (rank + LINE - 1) / LINE;
    return (struct low_layout){lines * LINE, ((INPUT_LINEARS_MAX * lines) | 1) * LINE};
}

struct forward {
    const struct model *model;
    struct pool *pool;
    struct kvcache *kv;
    struct gate *gate; /* passed between pieces of work of a pass that gives way; NULL: it does not */
    bool kv_of_layer;  /* the cache has one layer, the one in hand: all sequences end with the pass */
    int batch_tokens, logit_rows; /* as promised at the start */
    float *memory;                /* owned: the float arrays */
    float *x;                     /* [tokens, hidden] residual stream */
    float *h;                     /* [tokens, widest] input of the next linear layers */
    float *qkv;                   /* [tokens, q + 2 kv] */
    float *attention;             /* [tokens, q] */
    float *up;                    /* [tokens, intermediate] the hidden layer, where a delta reads it */
    float *gate_up;               /* [tokens, 2 intermediate] both, where blocks do not part them */
    float *branch;                /* [tokens, hidden] what a block gave, where the stream has more of it */
    float *cosine, *sine;         /* [tokens, ropes, rope.dim / 2] */
    float *low;                   /* A x, as low_layout has it of DELTA_RANK_MAX at most */
    float *head_input;            /* [logit_rows, hidden] */
    float *logits;                /* [logit_rows, vocab] */
    float *more;                  /* [logit_rows, DELTA_TOKENS_MAX] of tokens that a delta adds */
    struct activation activation; /* owned: the input of packed layers, quantized */
    struct activation hidden;     /* owned: the hidden layer, quantized */
    float **scratch; /* owned, [workers] widened weights, a tile of attention, a packed layer's last rows */
    float **block;   /* owned, [workers] two blocks of outputs for all tokens: [2, tokens, LINEAR_ROWS] */
    const struct delta **head_delta; /* owned, [logit_rows] */
    struct dropout *head_dropout;    /* owned, [logit_rows] */

    const struct batch *batch; /* of the step in hand */
    int wanted;
    struct low_layout layout;
    bool any_delta, any_replaced; /* a row has a delta; one with a linear layer of its own */
};

/* One of those who walk through a pass together. */
struct worker {
    int index, count; /* of `count` */
    float *scratch;   /* its own, and so are the others */
    float *up, *gate; /* [tokens, LINEAR_ROWS] */
};

static inline struct worker scratch_worker(const struct forward *f, int index, int count)
{
    float *block = f->block[index];
    return (struct worker){index, count, f->scratch[index], block,
                           block + (size_t)f->batch_tokens * LINEAR_ROWS};
}

/* Takes the memory that model, pool and promises ask for. On failure, scratch_fini frees what there is. */
MUST_USE int scratch_init(struct forward *f, struct err *e);
void scratch_fini(struct forward *f);
size_t scratch_bytes(const struct model *m, int batch_tokens, int logit_rows, int threads);

/* The forward pass over a ragged batch, and the scratch that it needs.
 *
 * A `struct forward` belongs to one caller, who is worker 0 of its pool. Every worker walks through the same
 * phases; inside a phase the work is divided by (worker, workers) alone, and between phases all meet at a
 * barrier. Which worker computes a number never changes it. */
#pragma once
#include "core/base/err.h"
#include "core/forward/batch.h"
#include "core/model/model.h"
#include "core/system/pool.h"

struct forward;

/* Scratch for steps of up to `batch_tokens` tokens of which up to `logit_rows` want logits. `kv`: of this
 * model's shape; NULL for a numeric model. Borrows model, pool and cache. */
MUST_USE int forward_new(struct forward **out, const struct model *m, struct pool *pool, struct kvcache *kv,
                         int batch_tokens, int logit_rows, struct err *e);
void forward_free(struct forward *f); /* NULL is fine */
/* Memory that a pass of these promises takes, with a pool of `threads` workers. */
size_t forward_bytes(const struct model *m, int batch_tokens, int logit_rows, int threads);
/* Computes all tokens, writes their keys and values to the cache, and returns the logits of the wanted rows,
 * in order: [wanted, vocab_size], valid until the next step. Tokens of one sequence stand in ascending
 * positions, one behind the other; their cache pages are reserved. A row depends on its own sequence and
 * delta alone, to the last bit. */
const float *forward_step(struct forward *f, const struct batch *b);
/* Of the same step, until the next: what stands behind the final norm at token t, which wanted it:
 * [hidden_size]. */
const float *forward_state(const struct forward *f, int t);

/* ---- the same in parts, for who needs what lies between the layers of a decoder ---- */

/* Take the batch in hand; by the caller alone. */
void forward_begin(struct forward *f, const struct batch *b);
/* Then inside one function of pool_run, by every worker in this order; each ends at a barrier, and the head
 * with pool_run itself. */
void forward_embed(struct forward *f, int worker, int workers);
void forward_layer(struct forward *f, int layer, int worker, int workers);
void forward_states(struct forward *f, int worker, int workers); /* of those that want them; no barrier */
void forward_head(struct forward *f, int worker, int workers);   /* at least one row wants logits */
/* What goes from layer to layer: [tokens, hidden_size]. */
const float *forward_stream(const struct forward *f);
const float *forward_logits(const struct forward *f);
/* Of the rows whose logits are wanted, those of tokens that their delta adds: [wanted, DELTA_TOKENS_MAX], of
 * which delta_vocab says how many there are. */
const float *forward_more(const struct forward *f);

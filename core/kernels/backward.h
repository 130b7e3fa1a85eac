/* The products of training. Each sum has an order of its own, whatever the tile, the number of tokens in the
 * call and the thread that computes it. Any thread.
 *
 * In precision exact all is f32. Of packed weights, gradients may be rounded to bf16 and multiplied with f32
 * sums where the CPU has that. */
#pragma once
#include "core/kernels/qgemm.h"

/* ---- dX = dY W ---- */

size_t backward_input_bytes(int tokens, int rows, bool packed);
/* Tokens [begin, end), a worker's share. Ends in `prepared`. */
void backward_prepare(const struct backward_input *in, bool packed, int begin, int end);

/* dx[t][k] = sum over rows j of dy[t][j] W[j][begin + k], for the columns [begin, end) and all tokens: the
 * part of one stretch of rows after the other, from 0 on, each added to what dx holds by then. begin: a
 * multiple of LINEAR_ROWS; BACKWARD_COLS columns at most. `packed` NULL or of bits 0: `w` as stored. The
 * stretch's weights are widened once into scratch, aligned to 64, and used for all tokens: the more columns,
 * the less often tokens are read. */
size_t backward_scratch(void); /* floats that backward_stretch needs */
void backward_stretch(const struct matrix *w, const struct packed *packed, int begin, int end, int stretch,
                      const struct backward_input *in, float *dx, int dx_stride, float *scratch);

/* ---- sums over tokens ---- */

/* g[r][k] += sum over tokens t, in order, of s[t][r] * x[t][k]: one chain that goes on from what g holds. r <
 * rows, k < cols. */
void backward_outer(float *g, int g_stride, const float *s, int s_stride, int rows, const float *x,
                    int x_stride, int cols, int tokens);

/* ---- the loss ---- */

/* One row of logits [vocab]: returns -log p of `target`, sets *correct, and where `weight` is not 0 puts
 * weight * (p - onehot) in their place. */
double backward_cross_entropy(float *logits, int vocab, int target, float weight, bool *correct);

/* ---- attention ---- */

/* The tokens of one sequence, positions 0.., and the `count` query heads that share one KV head. Rows of q,
 * k, v, out and their gradients are
 * `*_stride` apart; q and out begin at the first of the heads. dq is written, dk and dv too. softmax(scale q
 * k^T) v, each token over itself and what stands before, at most `window` keys (0: all). */
struct backward_attention {
    const float *q, *k, *v, *out, *dout;
    float *dq, *dk, *dv;
    int qkv_stride, out_stride, dqkv_stride, dout_stride;
    int tokens, count, dim, window;
    float scale, cap; /* cap 0: scores are not capped */
};
size_t backward_attention_scratch(int tokens, int dim, bool capped); /* floats */
void backward_attention_run(const struct backward_attention *a, float *scratch);

/* ---- vectors ---- */

/* y = x * (weight + plus) / rms(x): dx += its gradient; dweight += dy * x / rms(x), where it is not NULL. */
void backward_rms_norm(float *dx, float *dweight, const float *dy, const float *x, const float *weight,
                       float plus, float eps, int n);
void backward_layer_norm(float *dx, float *dweight, float *dbias, const float *dy, const float *x,
                         const float *weight, float eps, int n);
/* y = silu(gate) * up. */
void backward_silu_gate(float *dgate, float *dup, const float *dy, const float *gate, const float *up, int n);
/* y = gelu_tanh(gate) * up; BACKWARD_COLS at most. */
void backward_gelu_gate(float *dgate, float *dup, const float *dy, const float *gate, const float *up, int n);
/* y = cap tanh(x / cap): dy *= its slope, given y. */
void backward_cap(float *dy, const float *y, float cap, int n);
void backward_gelu_tanh(float *dx, const float *dy, const float *x, int n);

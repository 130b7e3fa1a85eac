/* Gradients of norms of rows, each with what its delta has in the norm's place. */
#pragma once
#include "core/forward/norm.h"
#include "core/train/pass/pass.h"

bool norm_backward_is_trained(const struct norm *n, const struct pass_run *run);
/* One row x of a run and the gradient dy of its norm: dx += x's, and where the run trains the norm, its own.
 * Where there is no such norm, dx += dy. */
void norm_backward_row(const struct norm *n, const struct pass_run *run, const float *x, const float *dy,
                       float *dx);
/* The rows of a run that are the worker's: its share, or all or none where the norm is trained, for a sum
 * over rows has one order. `index`: the run's. */
struct pass_run norm_backward_rows(const struct norm *n, const struct pass_run *run, int index,
                                   const struct worker *w);
/* The gradient of what a block gave, [rows, hidden], from that of the stream to which the norm's multiple was
 * added. given: what it gave. Ends at a barrier where that is not the stream's own. */
const float *norm_backward_branch(struct train_pass *p, const struct norm *n, const float *given,
                                  const struct worker *w);
/* p->dx += x's gradient, given that of norm(x), for all trained rows: [rows, size]. Ends at a barrier. */
void norm_backward_share(struct train_pass *p, const struct norm *n, const float *x, const float *dy,
                         const struct worker *w);

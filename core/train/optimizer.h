/* From gradients to the next values: AdamW (Loshchilov and Hutter 2019) as torch.optim.AdamW computes it, or
 * plain gradient descent. One thread for each params. */
#pragma once
#include "core/train/train_options.h"
#include "core/train/train_params.h"

/* The norm over all gradients together. */
double optimizer_norm(const struct train_params *p);
/* One step, 1.., at `rate`; gradients count times `clip`. */
void optimizer_step(struct train_params *p, const struct train_options *o, int64_t step, double rate,
                    double clip);
/* What gradients of this norm are multiplied with, as torch.nn.utils.clip_grad_norm_. */
double optimizer_clip(const struct train_options *o, double norm);

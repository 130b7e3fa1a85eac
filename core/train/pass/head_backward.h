/* The head and its loss, over blocks of targets: logits exist for one block at a time. Any number of jobs. */
#pragma once
#include "core/train/pass/pass.h"

/* forward->x is what the last layer gave. Fills in the results of p's targets, and for those that are trained
 * p->dx and the gradients of the head and of the norm before it. By the pass's caller. */
void head_backward(struct train_pass *p);

/* The pass of the numeric family: rows of numbers through fc1, ReLU, fc2, ... The last layer has no
 * activation. For core/forward only. */
#pragma once
#include "core/forward/scratch.h"

void numeric_pass(struct forward *f, const struct worker *w);

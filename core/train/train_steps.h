/* Which lines a step has, in which order, and at which rate it learns. Pure; any thread. */
#pragma once
#include <stddef.h>

#include "core/train/train_options.h"

/* Lines of one step, all of one epoch: a step ends with its epoch. */
struct train_span {
    int64_t epoch;
    size_t first, count; /* places in the epoch's order */
};

int64_t train_steps_of_epoch(const struct train_options *o, size_t lines);
int64_t train_steps_all(const struct train_options *o, size_t lines);
struct train_span train_steps_span(const struct train_options *o, size_t lines, int64_t step); /* step: 0.. */
/* The line at a place of an epoch. */
size_t train_steps_line(const struct train_options *o, size_t lines, int64_t epoch, size_t place);
/* The learning rate of step 0.. of `steps`, as transformers' get_scheduler has it. */
double train_steps_rate(const struct train_options *o, int64_t step, int64_t steps);

/* Training data in memory, and params to train, for tests. */
#pragma once
#include "core/base/buf.h"
#include "core/train/trainer.h"

/* Lines as they are given. */
struct lines {
    struct train_data data; /* first: `line` is given it */
    const struct train_line *items;
};
struct train_data *lines_init(struct lines *l, const struct train_line *items, size_t count);

/* AdamW, one line a step, one epoch, no clipping; rate 0.01. */
struct train_options lines_options(void);
/* LoRA of `rank`, scale 2, on the modules; whole parameters by "path.leaf". Fails the test. */
struct lines_plan {
    const char *const *sites; /* ends in NULL; may be NULL */
    int rank;
    bool dora;
    const char *const *whole; /* the same */
};
struct train_params *lines_params(const struct model *m, const struct lines_plan *plan);
/* Write function of trainer_save: appends to a struct buf. */
int lines_write(void *arg, const void *data, size_t length, struct err *e);

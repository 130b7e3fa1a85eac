/* A curve of losses, drawn with characters. One thread. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/base/err.h"

struct curve_point {
    int64_t step;
    double loss;
};
struct curve {                  /* zero-initialize; free with curve_fini */
    struct curve_point *points; /* owned, by step */
    size_t count, capacity;
};
MUST_USE int curve_add(struct curve *c, int64_t step, double loss, struct err *e);
void curve_fini(struct curve *c);

/* `width` characters at most. Of several steps in one column the mean is drawn. Nothing where there are fewer
 * than two steps. */
void curve_print(FILE *out, const struct curve *training, const struct curve *validation, int width);
/* Columns of the terminal, or 80. */
int curve_terminal_width(void);

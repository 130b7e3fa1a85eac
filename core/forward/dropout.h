/* Dropout of what a low-rank part reads (Srivastava et al. 2014), while it is trained. Which numbers are
 * dropped depends on the key, the site and the column alone. Pure; any thread. */
#pragma once
#include <stdint.h>

/* Of one token. */
struct dropout {
    float share; /* that is dropped, below 1; 0: none */
    uint64_t key;
};

/* Columns [first, first + count) of the site's input: x [count], with 0 for what is dropped and the rest
 * larger by 1 / (1 - share). out may be x. */
void dropout_row(const struct dropout *d, int site, int first, int count, const float *x, float *out);

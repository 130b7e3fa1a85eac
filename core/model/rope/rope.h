/* Rotary positions (Su et al. 2021): what the config says about them, and the frequencies that come of it.
 * Pure, any thread. */
#pragma once
#include <stdbool.h>

enum rope_kind {
    ROPE_PLAIN,
    ROPE_LINEAR, /* positions divided by `factor` */
    ROPE_LLAMA3, /* long wavelengths divided, short ones kept (Llama 3.1) */
    ROPE_YARN    /* the same by turns in a sequence of training, and all scaled (Peng et al. 2023) */
};

struct rope {
    enum rope_kind kind;
    double theta;
    int dim; /* numbers of a head that are rotated, the first ones */
    double factor, original_context;
    double low_freq_factor, high_freq_factor; /* llama3 */
    double beta_fast, beta_slow;              /* yarn: turns */
    bool truncate;                            /* yarn: to whole pairs */
    double magnitude;                         /* of cosines and sines */
};

/* Of pair `i`: radians from one position to the next. */
float rope_frequency(const struct rope *r, int i);
/* YaRN's factor of cosines and sines. */
double rope_magnitude(double factor, double share);

/* Rotary positions (Su et al. 2021): what the config says about them, and the frequencies that come of it.
 * Pure, any thread. */
#pragma once
#include <stdbool.h>

enum rope_kind {
    ROPE_PLAIN,
    ROPE_LINEAR,  /* positions divided by `factor` */
    ROPE_LLAMA3,  /* long wavelengths divided, short ones kept (Llama 3.1) */
    ROPE_YARN,    /* the same by turns in a sequence of training, and all scaled (Peng et al. 2023) */
    ROPE_DYNAMIC, /* a base that grows with the sequence beyond `original_context` */
    ROPE_LONG     /* divided pair by pair, beyond `original_context` by others (LongRoPE, Ding et al. 2024) */
};

enum { ROPE_PAIRS_MAX = 256 };

struct rope {
    enum rope_kind kind;
    double theta;
    int dim;         /* numbers of a head that are rotated, the first ones; 0: there is no rotation */
    bool neighbours; /* pairs are (2i, 2i + 1) instead of (i, i + dim/2) */
    double factor;
    double original_context;                  /* tokens that sequences of training had */
    double low_freq_factor, high_freq_factor; /* llama3 */
    double beta_fast, beta_slow;              /* yarn: turns */
    bool truncate;                            /* yarn: to whole pairs */
    double magnitude;                         /* of cosines and sines */
    bool whole;                               /* long: of all positions, from the token on that goes beyond;
                                                 otherwise of new ones alone, as dynamic */
    float near[ROPE_PAIRS_MAX], far[ROPE_PAIRS_MAX]; /* long: divisors within the context, and beyond */
};

/* Of pair `i` where the sequence has `length` tokens: radians from one position to the next. */
float rope_frequency(const struct rope *r, int i, int length);
/* Does it depend on the length? Then of lengths beyond original_context. */
bool rope_is_stretched(const struct rope *r, int length);
/* YaRN's factor of cosines and sines, and LongRoPE's. */
double rope_magnitude(double factor, double share);
double rope_long_magnitude(double factor, double original_context);

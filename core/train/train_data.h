/* What a job learns from, one line of its file after the other. Types only. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

enum { TRAIN_NO_LABEL = -100 };

/* A token sequence with what it is to be learned of. Label i is the token at i, or TRAIN_NO_LABEL where there
 * is no loss; it is predicted from what stands before it, so label 0 never counts. Borrowed. */
struct train_sequence {
    const int32_t *tokens, *labels; /* [count] */
    int count;
    int targets; /* labels behind the first that are tokens */
};

/* One line, of one of three kinds. Borrowed, valid until the data are freed. */
struct train_line {
    struct train_sequence sequence; /* of a supervised job; of a preference, prompt and preferred answer */
    struct train_sequence rejected; /* of a preference: prompt and the other answer */
    const float *input, *target;    /* of a numeric base: [input_size], and [outputs] or NULL: */
    int32_t class;
};

struct train_data {
    size_t count;   /* lines */
    int64_t tokens; /* of all */
    int longest;    /* tokens of the longest sequence */
    int (*line)(const struct train_data *d, size_t index, struct train_line *out, struct err *e);
};

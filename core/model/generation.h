/* generation_config.json: how the model's makers would have its tokens chosen where a request says nothing.
 * Plain data. What else stands in the file is passed over; its end tokens are the config's (config.h). */
#pragma once
#include <jansson.h>
#include <math.h>

#include "core/base/err.h"

/* NAN: the file says nothing about it. */
struct generation {
    double temperature; /* 0: greedy, also for "do_sample": false */
    double top_p, min_p, repetition_penalty;
    double top_k; /* a whole number; 0: off */
};

static inline double generation_or(double said, double otherwise)
{
    return isnan(said) ? otherwise : said;
}

/* No file: nothing is said. Errors: "model_malformed" where a value is none that could be used;
 * "io_error". */
MUST_USE int generation_read(struct generation *out, const char *directory, struct err *e);
/* The same of the file's content. */
MUST_USE int generation_parse(struct generation *out, const json_t *root, struct err *e);
/* Nothing is said. */
struct generation generation_none(void);

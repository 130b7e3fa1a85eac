/* How a text's vector is made of what the model computes: by an option, or by the files of
 * sentence-transformers in the model's directory, modules.json and its pooling's config.json. Reads these
 * files, owns nothing. */
#pragma once
#include <stdbool.h>

#include "core/base/err.h"

enum pooling_kind {
    POOLING_BY_FILES, /* of a wish: as the files say; the last token where there are none */
    POOLING_LAST,     /* what stands behind the final norm at the last token */
    POOLING_MEAN      /* the mean of that over all tokens */
};

struct pooling {
    enum pooling_kind kind; /* POOLING_LAST or POOLING_MEAN */
    char problem[160];      /* why there are no vectors; "": there are */
};

const char *pooling_name(enum pooling_kind kind); /* "last", "mean"; "files" */
/* True for the name of a way. */
bool pooling_find(const char *name, enum pooling_kind *out);

/* Errors: "model_malformed" where a file is damaged; "io_error"; "out_of_memory". What the files ask for and
 * nobody here computes is a problem, not an error. */
MUST_USE int pooling_read(struct pooling *out, const char *directory, enum pooling_kind wanted,
                          struct err *e);

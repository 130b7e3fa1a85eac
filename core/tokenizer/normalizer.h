/* Normalizers: NFC, Prepend, Replace, in a row. Read-only once loaded: any thread; the buffers are the
 * caller's. */
#pragma once
#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/tokenizer/piece.h"
#include "core/unicode/pattern.h"

enum normalizer_kind { NORMALIZER_NFC, NORMALIZER_PREPEND, NORMALIZER_REPLACE };

struct normalizer_step {
    enum normalizer_kind kind;
    struct pattern *pattern; /* owned: what Replace looks for */
    char *content;           /* owned: what Prepend or Replace put there */
    size_t content_length;
};

enum { NORMALIZER_STEPS_MAX = 16 };
struct normalizer {
    struct normalizer_step steps[NORMALIZER_STEPS_MAX];
    size_t count;
};
/* Normalize a piece in place; its new text lies in one of the two buffers. */
MUST_USE int normalizer_apply(const struct normalizer *n, struct pattern_work *w, struct buf buffers[2],
                              struct piece *p, struct err *e);
void normalizer_fini(struct normalizer *n);

/* Replace every match in the piece; the new text is appended to `out`. */
MUST_USE int normalizer_replace(const struct pattern *pattern, const char *content, size_t content_length,
                                struct pattern_work *w, struct piece *p, struct buf *out, struct err *e);
/* Put `prefix` before the piece (which is not empty); the new text is appended to `out`. */
MUST_USE int normalizer_prepend(const char *prefix, size_t length, struct piece *p, struct buf *out,
                                struct err *e);

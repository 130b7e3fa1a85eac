/* The vocabulary and the merges straight from the text of tokenizer.json. They are nearly all of a file of up
 * to 64 MiB: as JSON values they would take many times its size and most of the time of opening it. Owns
 * nothing; any thread. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"

struct span { /* a stretch of somebody's text; text NULL: none */
    const char *text;
    size_t length;
};
struct model_text {
    struct span vocab;  /* of model.vocab, from { to } */
    struct span merges; /* of model.merges, from [ to ] */
    struct buf rest;    /* owned: the file with an empty object and list in their places */
};
/* Cut valid UTF-8 into the three. What is no JSON stays in `rest`, for its parser to refuse. Error:
 * "out_of_memory". */
MUST_USE int model_scan_cut(const char *text, size_t length, struct model_text *out, struct err *e);
void model_text_fini(struct model_text *m);

/* Calls `each` for every member. Error: "tokenizer_malformed". */
MUST_USE int model_scan_vocab(struct span vocab,
                              int (*each)(void *arg, const char *key, size_t length, int64_t id,
                                          struct err *e),
                              void *arg, struct err *e);
/* Calls `each` for every pair, written ["a", "b"] or "a b"; a line "#version" of a merges.txt is left out. */
MUST_USE int model_scan_merges(struct span merges,
                               int (*each)(void *arg, struct span left, struct span right, struct err *e),
                               void *arg, struct err *e);

/* What one adapter does to the base: A and B of every site it changes, ready for the kernels. Immutable,
 * reference-counted, any thread. Knows neither PEFT nor tenants. */
#pragma once
#include <stddef.h>

#include "core/base/err.h"

struct model;
struct delta;

enum { DELTA_RANK_MAX = 1024 };

struct delta_part {
    int site;       /* index into model_sites, each at most once */
    int rank;       /* 1..DELTA_RANK_MAX */
    float scale;    /* alpha / r, or alpha / sqrt(r) */
    const float *a; /* [rank, in] */
    const float *b; /* [out, rank] */
};

struct delta_source {
    const struct delta_part *parts;
    size_t count;
};

/* Copies what it needs from the source. Error: "adapter_not_finite" where scale * B overflows;
 * "out_of_memory". */
int delta_new(struct delta **out, const struct model *m, const struct delta_source *s, struct err *e);
struct delta *delta_ref(struct delta *d); /* NULL gives NULL */
void delta_unref(struct delta *d);        /* NULL is fine */
size_t delta_bytes(const struct delta *d);

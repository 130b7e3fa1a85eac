/* What one adapter does to the base: low-rank updates of its sites and tensors that stand in the place of its
 * own, ready for the kernels. Immutable, reference-counted, any thread. Knows neither PEFT nor tenants. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "core/base/err.h"

struct model;
struct delta;

enum { DELTA_RANK_MAX = 1024 };

struct delta_part {
    int site;    /* index into model_sites, each at most once */
    int rank;    /* 1..DELTA_RANK_MAX */
    float scale; /* alpha / r, or alpha / sqrt(r) */
    bool dora;   /* it has magnitudes */
    /* Where its source reads: NULL until then. */
    const float *a;         /* [rank, in] */
    const float *b;         /* [out, rank] */
    const float *magnitude; /* [out] of DoRA: the norm that each row of W + scale B A is brought to (Liu et
                               al. 2024) */
};

/* A tensor in the place of the base's. Several slots may have the same values. */
struct delta_replacement {
    int slot;            /* index into model_slots, each at most once */
    const float *values; /* of the slot's shape, as stored */
};

struct delta_source {
    const struct delta_part *parts;
    size_t count;
    /* Fills in a part's values, which are valid until the next call: an adapter is never in memory twice.
     * NULL: the parts have them. */
    int (*read)(void *arg, struct delta_part *part, struct err *e);
    void *arg;
    const struct delta_replacement *replacements;
    size_t replacement_count;
};

/* A part with its values, in *out. */
int delta_source_part(const struct delta_source *s, size_t index, struct delta_part *out, struct err *e);

/* Copies what it needs from the source. Norms of DoRA are taken of the base as it is served: of packed
 * weights, where it has them. Error: "adapter_not_finite" where scale * B overflows or a row of DoRA is zero;
 * "cpu_unsupported" as linear_check; "out_of_memory"; those of the source's reading. */
int delta_new(struct delta **out, const struct model *m, const struct delta_source *s, struct err *e);

/* The sum of scales[i] * deltas[i], exact: ranks stand one behind the other. One delta may be there several
 * times, scales may be negative. Errors: "adapter_unsupported_feature" where one has DoRA or replaces
 * tensors, which do not add up; "adapter_rank_too_large"; "adapter_not_finite"; "out_of_memory". */
int delta_combine(struct delta **out, const struct model *m, struct delta *const *deltas, const float *scales,
                  size_t count, struct err *e);

struct delta *delta_ref(struct delta *d); /* NULL gives NULL */
void delta_unref(struct delta *d);        /* NULL is fine */
size_t delta_bytes(const struct delta *d);

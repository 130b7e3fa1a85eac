/* What a delta is made from. Types only. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

struct head;

enum { DELTA_RANK_MAX = 1024, DELTA_TOKENS_MAX = 1024 };

/* The numbers of a part. */
enum delta_value { DELTA_A, DELTA_B, DELTA_MAGNITUDE, DELTA_VALUES };

struct delta_part {
    int site;               /* index into model_sites, each at most once */
    int rank;               /* 1..DELTA_RANK_MAX */
    float scale;            /* alpha / r, or alpha / sqrt(r) */
    bool has[DELTA_VALUES]; /* which of the values there are; A and B always */
    /* Where its source reads: NULL until then. Also by enum delta_value. */
    union {
        struct {
            const float *a;         /* [rank, in] */
            const float *b;         /* [out, rank] */
            const float *magnitude; /* [out] of DoRA: the norm that each row of W + scale B A is brought to
                                       (Liu et al. 2024) */
        };
        const float *values[DELTA_VALUES];
    };
};

/* A tensor in the place of the base's. Several parameters may have the same values. */
struct delta_replacement {
    int parameter;       /* index into model_parameters, each at most once */
    const float *values; /* of the parameter's shape, as stored */
};

/* Rows in the place of the base's, or of what replaces the whole: of an embedding's table, or of lm_head. */
struct delta_rows {
    int parameter; /* of the matrix, each at most once */
    int count;
    const int32_t *index; /* [count], ascending */
    const float *values;  /* [count, columns]. Several parameters may have the same */
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
    const struct delta_rows *rows;
    size_t rows_count;
    /* How many tokens there are with it, up to DELTA_TOKENS_MAX more or fewer than the base has; 0: as many.
     * Each of the more is a row, at its index, of the embedding and, if it has one, of lm_head. */
    int vocab;
    struct head *head; /* in the place of the base's, or where that has none; NULL: the base's */
};

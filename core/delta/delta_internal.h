/* What a delta is made of. For core/delta, core/forward and core/train. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>

#include "core/kernels/linear.h"
#include "core/kernels/lowrank.h"
#include "core/delta/delta_source.h"
#include "core/head/head.h"

struct model;
struct site;

/* Rows of a matrix that the delta has of its own. */
struct own_rows {
    const int32_t *index; /* [rows of values], ascending */
    struct matrix values; /* no data: there are none */
};

/* What is done to one site. */
struct delta_site {
    struct lowrank lowrank; /* rank 0: it is not changed. An embedding's A is [in, rank] */
    const float *magnitude; /* of DoRA: [out] factors of W's rows; else NULL */
};

struct delta {
    atomic_int references;
    size_t bytes;
    bool bf16;                /* otherwise f32: the precision of the model decides */
    bool replaces_layer;      /* one of the replaced is a linear layer's weight */
    bool dora;                /* a site has magnitudes */
    int vocab;                /* tokens with it; 0: the base's */
    int rank_max;             /* of all sites; 0: none is changed */
    struct delta_site *sites; /* owned, one per site of the model */
    struct matrix *replaced;  /* owned, [parameters], or NULL; no data: the base's. Vectors are f32 */
    struct own_rows *rows;    /* owned, [parameters], or NULL */
    struct head *head;        /* owned reference; NULL: the base's */
    char *memory;             /* owned: all numbers */
    size_t memory_bytes;
};

/* The delta's part of a site, or NULL where it changes nothing. `d` may be NULL. */
static inline const struct lowrank *delta_at(const struct delta *d, int site)
{
    return d && d->sites[site].lowrank.rank > 0 ? &d->sites[site].lowrank : NULL;
}

/* Factors of the rows of W, or NULL. */
static inline const float *delta_magnitude(const struct delta *d, int site)
{
    return d ? d->sites[site].magnitude : NULL;
}

/* The matrix in the place of the base's, or NULL. */
static inline const struct matrix *delta_matrix(const struct delta *d, int parameter)
{
    return d && d->replaced && d->replaced[parameter].data ? &d->replaced[parameter] : NULL;
}

/* The rows in the place of those of the matrix, or NULL. */
static inline const struct own_rows *delta_own_rows(const struct delta *d, int parameter)
{
    return d && d->rows && d->rows[parameter].values.data ? &d->rows[parameter] : NULL;
}

/* Place of the first one whose index is at least `index`. */
int own_rows_from(const struct own_rows *r, int index);
/* Row `index`, widened to `out`, where it is the delta's own; otherwise false. */
bool delta_row(const struct delta *d, int parameter, int index, float *out);

/* The norm or bias that counts: the delta's or the base's (NULL: there is none). */
static inline const float *delta_vector(const struct delta *d, int parameter, const float *base)
{
    const struct matrix *own = base ? delta_matrix(d, parameter) : NULL;
    return own ? own->data : base;
}

/* What a delta has beside what is done to sites. */
struct delta_kinds {
    bool replaced, rows;
};
/* An empty delta with `bytes` of zeroed memory. */
MUST_USE int delta_allocate(struct delta **out, const struct model *m, size_t bytes, struct delta_kinds kinds,
                            struct err *e);
/* Once nobody refers to it. NULL is fine. */
void delta_release(struct delta *d);
/* The next `bytes` of the memory, from *at on, aligned for vectors; a walk with no delta finds the size. */
void *delta_carve(const struct delta *d, size_t *at, size_t bytes);
/* Elements of A or B from `index` on, rounded to what the delta keeps; false where one is not finite. */
bool delta_put(const struct delta *d, void *numbers, size_t index, const float *values, size_t count);
float delta_get(const struct delta *d, const void *numbers, size_t index);
/* Places of a site's A and B in the memory. */
struct lowrank delta_place(const struct delta *d, bool bf16, const struct site *s, int rank, size_t *at);
/* The site has that rank from now on; its A and B are yet to be filled. */
void delta_put_site(struct delta *d, const struct model *m, int site, int rank, size_t *at);
/* The source's rows: the room that they take, and their places filled. */
void delta_rows_size(const struct model *m, const struct delta_source *s, size_t *at);
MUST_USE int delta_rows_fill(struct delta *d, const struct model *m, const struct delta_source *s, size_t *at,
                             struct err *e);
/* Where A[r][k] is. */
size_t delta_a_at(const struct site *s, int rank, int r, int k);

/* Norms of the rows of W + scale B A, of a part's A and B, into `out` [rows of the part]; W as in delta_dora,
 * `d` NULL: the base's. */
MUST_USE int delta_dora_norms(const struct model *m, const struct delta *d, const struct delta_part *p,
                              double *out, struct err *e);
/* Factors m / ||W + scale B A|| of a part's rows into `out` [rows of the part]. W is the base's as it is
 * served, or the delta's where it replaces it. */
MUST_USE int delta_dora(const struct model *m, const struct delta *d, const struct delta_part *p, float *out,
                        struct err *e);

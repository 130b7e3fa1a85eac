/* What one adapter does to the base: low-rank updates of its sites and tensors that stand in the place of its
 * own, ready for the kernels. Immutable, reference-counted, any thread. Knows neither PEFT nor tenants. */
#pragma once
#include <stddef.h>

#include "core/base/err.h"
#include "core/delta/delta_source.h"

struct model;
struct delta;

/* A part with its values, in *out. */
MUST_USE int delta_source_part(const struct delta_source *s, size_t index, struct delta_part *out,
                               struct err *e);

/* Copies what it needs from the source. Norms of DoRA are taken of the base as it is served: of packed
 * weights, where it has them. Error: "adapter_not_finite" where scale * B overflows or a row of DoRA is zero;
 * "cpu_unsupported" as linear_check; "out_of_memory"; those of the source's reading. */
MUST_USE int delta_new(struct delta **out, const struct model *m, const struct delta_source *s,
                       struct err *e);

/* The same parts, ranks, scales and replacements with other numbers, in the same memory, while nobody else
 * refers to it: what is trained changes at every step. After an error it can only be given back. Errors as
 * delta_new. */
MUST_USE int delta_refill(struct delta *d, const struct model *m, const struct delta_source *s,
                          struct err *e);

/* The sum of scales[i] * deltas[i], exact: ranks stand one behind the other. One delta may be there several
 * times, scales may be negative. Errors: "adapter_unsupported_feature" where one has DoRA or replaces
 * tensors, which do not add up; "adapter_rank_too_large"; "adapter_not_finite"; "out_of_memory". */
MUST_USE int delta_combine(struct delta **out, const struct model *m, struct delta *const *deltas,
                           const float *scales, size_t count, struct err *e);

struct delta *delta_ref(struct delta *d); /* NULL gives NULL */
void delta_unref(struct delta *d);        /* NULL is fine */
size_t delta_bytes(const struct delta *d);
/* What gives labels with this delta (NULL: without any): its own or the base's; NULL: there is none. */
struct head *delta_head(const struct delta *d, const struct model *m);
/* How many tokens there are with this delta (NULL: without any); of a numeric model, outputs. */
int delta_vocab(const struct delta *d, const struct model *m);
/* Tokens of the base whose row of the embedding is its own: at most `limit`, spread over all. Returns how
 * many. */
int delta_tokens(const struct delta *d, const struct model *m, int32_t *out, int limit);

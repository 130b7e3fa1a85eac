/* The numbers that a job trains: A and B of low-rank sites, DoRA's magnitudes, and tensors in the place of
 * the base's; each with its gradient and the optimizer's moments. All f32, in the shapes in which PEFT saves
 * them.
 *
 * Owned by one trainer. A pass reads `value` and adds to `gradient`; the optimizer changes `value`. */
#pragma once
#include <stdbool.h>

#include "core/delta/delta.h"
#include "core/model/model.h"

enum train_kind {
    TRAIN_A,
    TRAIN_B,
    TRAIN_MAGNITUDE,
    TRAIN_WHOLE /* in the place of a parameter of the base */
};

struct train_tensor {
    enum train_kind kind;
    int site;       /* index into model_sites; of TRAIN_WHOLE -1 */
    int parameter;  /* of TRAIN_WHOLE: index into model_parameters; otherwise -1 */
    int rows, cols; /* A [rank, in], B [out, rank], magnitude [out, 0]; a whole one as its parameter. cols 0:
                     * a vector. Of an embedding's site as delta_part has them. */
    bool decays;    /* weight decay touches it */
    size_t count;   /* numbers */
    float *value, *gradient, *first, *second; /* [count] each; moments of Adam */
};

/* What is trained of one site; -1: nothing. Indices into tensors. */
struct train_site {
    int a, b, magnitude;
    int rank;
    float scale;
};

struct train_params {
    const struct model *model;
    struct train_tensor
        *tensors; /* owned, in a fixed order: sites in the order of the network, then whole tensors */
    int count;
    struct train_site *sites; /* owned, [sites of the model] */
    int *whole;               /* owned, [parameters of the model]: index into tensors, or -1 */
    size_t numbers;           /* of all tensors */
    float *memory;            /* owned: [4, numbers] value, gradient, first, second */
};

/* What is to be trained. */
struct train_site_plan {
    int site, rank;
    float scale;
    bool dora;
};
struct train_plan {
    const struct train_site_plan *sites; /* ascending by site */
    size_t site_count;
    const int *whole; /* indices into model_parameters, ascending */
    size_t whole_count;
};

/* A uniform after Kaiming (a = sqrt 5), B zero (an embedding's A zero, B normal), magnitudes the norms of the
 * base's rows as served, whole tensors the base's. Each number is a function of the seed, the tensor's path
 * and kind, and its place. */
MUST_USE int train_params_new(struct train_params **out, const struct model *m, const struct train_plan *plan,
                              uint64_t seed, struct err *e);
/* An adapter's numbers. A source leaves out tensors that are as the base has them, so the plan says what is
 * trained: whole tensors that the source has not are the base's. Every part and replacement of the source is
 * in the plan, and every site of the plan in the source. `plan` NULL: what the source has. Errors:
 * "adapter_unsupported_feature" for rows of its own (trainable_token_indices) and for one tensor in the place
 * of two. */
MUST_USE int train_params_from(struct train_params **out, const struct model *m,
                               const struct train_plan *plan, const struct delta_source *s, struct err *e);
void train_params_free(struct train_params *p); /* NULL is fine */
size_t train_params_bytes(const struct model *m, const struct train_plan *plan);
/* The same numbers as the forward pass reads them, and as they will be served: rounded as the model's
 * precision has it. */
MUST_USE int train_params_delta(const struct train_params *p, struct delta **out, struct err *e);
/* Into a delta that it gave, and that nobody else has; as delta_refill. */
MUST_USE int train_params_refill(const struct train_params *p, struct delta *d, struct err *e);
void train_params_clear(struct train_params *p); /* gradients to zero */

/* What a job is made into before it can train: the plan of what is trained, its data, a trainer. Owns all of
 * it; one thread at a time. Making it takes as long as reading the files does. */
#pragma once
#include <stdatomic.h>

#include "adapters/jobs/job_config.h"
#include "adapters/jobs/job_rows.h"
#include "adapters/jobs/running/runner_options.h"
#include "adapters/training/dataset/dataset.h"
#include "adapters/training/lora_plan.h"
#include "core/train/trainer.h"

struct work { /* zero-initialize; work_fini */
    struct lora_plan *plan;
    struct dataset *data, *valid; /* valid: NULL where there is no such file */
    struct train_options options;
    struct trainer *trainer;
    size_t bytes; /* that the trainer takes */
    char training_digest[SHA256_HEX + 1];
};

/* Where from, and for whom. */
struct work_source {
    const struct runner_options *runner;
    uint32_t tenant;
    const struct job_config *config;
    const struct version *source; /* NULL: the base */
    uint64_t seed;
    const atomic_bool *stop; /* may be NULL: becoming true ends it with "cancelled" */
};

/* In this order; each may fail and leaves what was made to work_fini. */
MUST_USE int work_plan(struct work *w, const struct work_source *s, struct err *e);
MUST_USE int work_read(struct work *w, const struct work_source *s, struct err *e);
/* The options of its trainer, and the bytes that it will take. */
MUST_USE int work_measure(struct work *w, const struct work_source *s, struct err *e);
MUST_USE int work_start(struct work *w, const struct work_source *s, struct err *e);
void work_fini(struct work *w);

/* "training_too_large" where it and a pass of so many bytes are more than there may be. */
MUST_USE int work_fits(const struct work *w, size_t pass_bytes, size_t memory, struct err *e);
/* Bytes of its files, and the SHA-256 of the training file. "file_not_found", "unsupported_value": it is not
 * there to be trained with. */
MUST_USE int work_look(const struct work_source *s, uint64_t *bytes, char digest[SHA256_HEX + 1],
                       struct err *e);
/* Numbers that are trained. */
int64_t work_parameters(const struct work *w, const struct model *m);
/* Tokens of the longest example of both files. */
int work_longest(const struct work *w);

/* What a job was asked to do: OpenAI's fields and those of PEFT and transformers, checked one by one, with
 * what the field takes where nothing is said. The whole of it is kept as JSON, which reads back as it was
 * sent and is itself a valid request. Owns its JSON; any thread. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "adapters/types/name.h"
#include "core/base/sha256.h"
#include "core/base/buf.h"
#include "core/base/err.h"
#include "adapters/training/dataset/encoding.h"
#include "core/train/train_options.h"

enum {
    JOB_SUFFIX_BYTES_MAX = 64,
    JOB_CONFIG_BYTES_MAX = 64 << 10, /* all of it, as JSON */
    JOB_METADATA_MAX = 16,
    JOB_METADATA_KEY_MAX = 64,
    JOB_METADATA_VALUE_MAX = 512
};
enum {
    JOB_BATCH_AUTO = 16,
    JOB_EPOCHS_AUTO = 3,
    JOB_STEPS_MAX = 10000000,
    JOB_EPOCHS_MAX = 1000,
    JOB_BATCH_MAX = 4096
};

/* 0 or -1, where null is allowed: as the comment says. */
struct job_training {
    double learning_rate, warmup_ratio, weight_decay, adam_beta1, adam_beta2, adam_epsilon, max_grad_norm,
        beta;
    double n_epochs;      /* 0: auto */
    int64_t batch_size;   /* 0: auto */
    int64_t warmup_steps; /* -1: by the ratio */
    int64_t gradient_accumulation_steps;
    int64_t max_steps;                                             /* 0: by epochs */
    int64_t max_length;                                            /* 0: as long as a pass */
    int64_t eval_steps, checkpoint_steps, early_stopping_patience; /* 0: null */
    int64_t schedule, optimizer, loss, train_on, method;           /* enums */
    bool shuffle, packing, decay_all, eval_on_start;
};

struct job_config {                                      /* zero-initialize; job_config_fini */
    const char *model, *training_file, *validation_file; /* in `json`; the second file NULL: none */
    char name[NAME_MAX_BYTES + 1];                       /* of the adapter; "": by the job's id */
    uint64_t seed;
    bool seeded; /* it was sent */
    bool activate;
    double multiplier; /* of the learning rate */
    struct job_training training;
    json_t *lora; /* in `json`: fields of PEFT's LoraConfig, as sent; NULL: none was */
    json_t *json; /* owned */
};

/* A request's body, or what was kept of one. Errors: "missing_field", "unknown_field", "invalid_type",
 * "out_of_range", "unsupported_value", "field_conflict", each with its param. */
MUST_USE int job_config_read(struct job_config *out, const json_t *body, struct err *e);
MUST_USE int job_config_parse(struct job_config *out, const char *text, size_t length, struct err *e);
void job_config_fini(struct job_config *c);
/* What the trainer is to do with so many lines. Dropout is the plan's. */
void job_config_options(const struct job_config *c, uint64_t seed, size_t lines, struct train_options *out);

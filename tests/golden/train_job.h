/* A training job with what PyTorch and PEFT made of it, run through dataset, trainer, pass and export, for
 * tests. What fails, fails the test. */
#pragma once
#include <jansson.h>

#include "adapters/training/dataset/dataset.h"
#include "adapters/training/lora_plan.h"
#include "core/train/trainer.h"

/* NAME of the folder of jobs: job.json, expected.json, init/, final/, train.jsonl, valid.jsonl. */
struct train_job {
    char directory[512];
    json_t *job, *expected;
    struct model *model;
    struct lora_plan *plan;
    struct dataset *train, *valid;
    char *scratch; /* of the datasets */
    struct train_options options;
};
/* ADAPTERD_TRAINING_JOBS (default: those of the fixtures). */
const char *train_job_root(void);
void train_job_open(struct train_job *j, const char *name);
void train_job_close(struct train_job *j);
/* Values that a variant has in the place of the job's. */
void train_job_vary(struct train_job *j, const json_t *variant);

/* How it is computed, which changes nothing. */
struct train_job_way {
    int threads, tokens; /* of a pass; 0: as many as the longest line and a few more */
    int examples;        /* of a pass; 0: as many as there is room for */
    bool lives;          /* each step is computed by a trainer that was restored from a checkpoint */
};

enum { TRAIN_JOB_STEPS = 64 };
struct train_job_result {
    struct train_report steps[TRAIN_JOB_STEPS];
    int count;
    double before, after;          /* losses of the validation data */
    struct buf weights, gradients; /* adapter_model.safetensors; gradients of step 1, of a language model */
    double seconds;
};
void train_job_run(const struct train_job *j, const struct train_job_way *way, struct train_job_result *out);
void train_job_result_fini(struct train_job_result *r);

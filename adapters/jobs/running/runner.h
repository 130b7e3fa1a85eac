/* Runs training jobs: takes them up from the registry, computes all that run in common passes over the base,
 * writes down how far they are, and publishes what they made. What it needs to go on after any end of the
 * process is in the registry, the job's files and its checkpoint.
 *
 * Three threads of its own. The keeper writes to the registry, publishes, and decides who runs; it runs as
 * everybody does, since others wait for its locks. The trainer, with a pool, computes passes; the preparer
 * reads files: both are SCHED_IDLE, and the trainer stops at the gate while the engine computes.
 *
 * Functions may be called from any thread that may block on the disk. */
#pragma once
#include "adapters/jobs/job_config.h"
#include "adapters/jobs/job_rows.h"
#include "adapters/jobs/running/runner_options.h"

struct runner;

MUST_USE int runner_new(struct runner **out, const struct runner_options *o, struct err *e);
/* From now on no request reads a file: those that do end with "shutting_down". */
void runner_quiesce(struct runner *r);
/* Jobs that run leave a checkpoint and go on with the next start. NULL is fine. */
void runner_free(struct runner *r);

/* A new job, with all that can be said of it before its file is read: the base's name or an adapter's is
 * resolved by the caller (`source` NULL: the base). Short files are read at once, and what is wrong with them
 * is this call's error; the job then exists only if there is none. Errors also: those of job_rows_create and
 * of plans; "training_too_large"; "too_many_in_flight" (of the tenant's requests that read files),
 * "overloaded" (of all). */
MUST_USE int runner_create(struct runner *r, uint32_t tenant, const struct job_config *c,
                           const struct version *source, struct job_row *out, struct err *e);
/* As job_rows_become, for what a customer asks for: a job that is just being published is waited for. */
MUST_USE int runner_change(struct runner *r, uint32_t tenant, const char *id, const struct job_change *c,
                           struct job_row *out, struct err *e);

/* What a job would take, before anything starts. */
struct runner_estimate {
    int64_t examples, tokens, targets; /* of the file, after the template */
    int64_t steps, trained_tokens;     /* of the whole job */
    int64_t parameters;
    size_t memory_bytes;
    double seconds; /* on this machine, with nothing else to do */
    bool measured;  /* by jobs that ran since the start; otherwise by one pass for this */
};
MUST_USE int runner_estimate(struct runner *r, uint32_t tenant, const struct job_config *c,
                             const struct version *source, struct runner_estimate *out, struct err *e);

void runner_stats(struct runner *r, struct runner_stats *out);

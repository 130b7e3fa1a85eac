/* Training jobs as rows: what each is, what it said, what it left on its way. Plain data. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "adapters/types/name.h"
#include "core/base/buf.h"
#include "core/base/sha256.h"

enum {
    JOB_ID_BYTES = 40, /* "ftjob-" and 24 digits */
    JOB_ERROR_BYTES = 48,
    JOB_MESSAGE_BYTES = 512,
    JOB_PARAM_BYTES = 96,
    JOBS_ALIVE_MAX = 1000, /* of all tenants, and of one: beyond it "limit_reached" */
    JOBS_ALIVE_TENANT_MAX = 200
};

/* OpenAI's words, and where each leads to:
 *
 *     validating_files -> queued -> running -> succeeded
 *            |              |  ^       |
 *            |              v  |       v
 *            |            paused <- (asked for, disk full, quota reached)
 *            v
 *        failed, cancelled: from all four of these */
enum job_status {
    JOB_VALIDATING,
    JOB_QUEUED,
    JOB_RUNNING,
    JOB_PAUSED,
    JOB_SUCCEEDED,
    JOB_FAILED,
    JOB_CANCELLED,
    JOB_STATUSES
};
extern const char *const job_status_names[JOB_STATUSES];
bool job_may_become(enum job_status from, enum job_status to);
bool job_is_over(enum job_status status);
/* -1: none is called so. */
int job_status_named(const char *name);

struct job_error {
    char code[JOB_ERROR_BYTES]; /* "": none */
    char message[JOB_MESSAGE_BYTES];
    char param[JOB_PARAM_BYTES];
};

struct job_row { /* zero-initialize; job_row_fini */
    int64_t number;
    char id[JOB_ID_BYTES];
    uint32_t tenant;
    enum job_status status;
    char name[NAME_MAX_BYTES + 1];
    char base[SHA256_HEX + 1], source[SHA256_HEX + 1], version[SHA256_HEX + 1];
    char training_file[NAME_MAX_BYTES + 1], validation_file[NAME_MAX_BYTES + 1];
    char training_digest[SHA256_HEX + 1];
    char result_file[NAME_MAX_BYTES + 1]; /* "": none (yet) */
    uint64_t seed;
    struct buf config;                                         /* JSON */
    int64_t created_ms, started_ms, finished_ms, estimated_ms; /* 0: not (yet) */
    int64_t steps, step, tokens;
    struct job_error error;
};
void job_row_fini(struct job_row *j);
/* `now` is the same job later: its state is taken over, `now` is finished. What a job was made with is not
 * written, so that others may read it meanwhile. */
void job_row_update(struct job_row *j, struct job_row *now);
void job_rows_fini(struct job_row *rows, size_t count);

struct job_event { /* zero-initialize; job_event_fini */
    int64_t place; /* 1.. of its job; given by the store */
    int64_t at_ms;
    const char *level, *type; /* static */
    struct buf message, data; /* text; JSON, or empty */
};
void job_event_fini(struct job_event *e);

struct job_checkpoint { /* zero-initialize; job_checkpoint_fini */
    int64_t step, at_ms;
    char version[SHA256_HEX + 1];
    struct buf metrics; /* JSON */
};
void job_checkpoint_fini(struct job_checkpoint *c);

/* What moved since the last time, written in one transaction. */
struct job_progress {
    int64_t step, tokens; /* by now */
    int64_t estimated_ms;
};

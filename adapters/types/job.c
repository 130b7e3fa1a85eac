#include "adapters/types/job.h"

#include <string.h>

const char *const job_status_names[JOB_STATUSES] = {"validating_files", "queued", "running",  "paused",
                                                    "succeeded",        "failed", "cancelled"};

/* By what it is, what it may become: the drawing in the header. */
static const unsigned transitions[JOB_STATUSES] = {
    [JOB_VALIDATING] = 1 << JOB_QUEUED | 1 << JOB_FAILED | 1 << JOB_CANCELLED | 1 << JOB_PAUSED,
    [JOB_QUEUED] = 1 << JOB_RUNNING | 1 << JOB_PAUSED | 1 << JOB_FAILED | 1 << JOB_CANCELLED,
    [JOB_RUNNING] =
        1 << JOB_QUEUED | 1 << JOB_PAUSED | 1 << JOB_SUCCEEDED | 1 << JOB_FAILED | 1 << JOB_CANCELLED,
    [JOB_PAUSED] = 1 << JOB_QUEUED | 1 << JOB_FAILED | 1 << JOB_CANCELLED,
};

bool job_may_become(enum job_status from, enum job_status to)
{
    return transitions[from] >> to & 1;
}

bool job_is_over(enum job_status status)
{
    return transitions[status] == 0;
}

int job_status_named(const char *name)
{
    for (int i = 0; i < JOB_STATUSES; i++)
        if (strcmp(name, job_status_names[i]) == 0)
            return i;
    return -1;
}

void job_row_fini(struct job_row *j)
{
    buf_fini(&j->config);
}

void job_row_update(struct job_row *j, struct job_row *now)
{
    j->status = now->status;
    memcpy(j->version, now->version, sizeof j->version);
    memcpy(j->result_file, now->result_file, sizeof j->result_file);
    j->started_ms = now->started_ms;
    j->finished_ms = now->finished_ms;
    j->estimated_ms = now->estimated_ms;
    j->steps = now->steps;
    j->step = now->step;
    j->tokens = now->tokens;
    j->error = now->error;
    job_row_fini(now);
}

void job_rows_fini(struct job_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        job_row_fini(&rows[i]);
}

void job_event_fini(struct job_event *e)
{
    buf_fini(&e->message);
    buf_fini(&e->data);
}

void job_checkpoint_fini(struct job_checkpoint *c)
{
    buf_fini(&c->metrics);
}

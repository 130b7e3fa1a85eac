/* A job as it goes on: a bar for the person in front of it, and what it said, kept. One thread. */
#pragma once
#include "cli/lib/commands.h"
#include "cli/training/curve.h"

struct follow {
    struct context *context;
    const char *job, *tenant; /* the job's id; tenant may be NULL */
    struct curve training, validation;
    json_t *samples; /* what base and adapter answer; owned, NULL: none were told */
    double accuracy; /* of the last evaluation; negative: there was none */
    double began_ms;
};

/* Until the job is over; *job becomes the job as it is then (a new reference). Connections that break are
 * made again. "interrupted": the job goes on. */
MUST_USE int follow_run(struct follow *f, json_t **job, struct err *e);
void follow_fini(struct follow *f);
/* The job itself, a new reference. */
MUST_USE int follow_job(struct context *c, const char *id, const char *tenant, json_t **job, struct err *e);

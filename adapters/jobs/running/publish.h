/* What was made becomes versions: see live.h. */
#pragma once
#include "adapters/jobs/running/live.h"

/* A version that is not active, and the job's row of it; the oldest above CHECKPOINTS_KEPT goes. */
MUST_USE int publish_checkpoint(struct runner *r, struct live *l, struct report *p, struct err *e);
/* The adapter in two files that wait to be published. The owner of the trainer's thread. */
MUST_USE int publish_stage(struct runner *r, const struct live *l, struct staged **out, struct err *e);
/* The end of a job that trained all its steps: its version, result file, last event. */
MUST_USE int publish_result(struct runner *r, struct live *l, struct err *e);
/* What a job left on its way goes with it. */
void publish_take_back(struct runner *r, const struct job_row *j);

/* Jobs, events and checkpoints as OpenAI's clients know them. Any thread. */
#pragma once
#include <jansson.h>

#include "adapters/types/job.h"

enum { JOB_EVENT_ID_BYTES = 56 };

/* New references; NULL: out of memory. */
json_t *job_json(const struct job_row *j);
json_t *job_json_event(const struct job_row *j, const struct job_event *v);
json_t *job_json_checkpoint(const struct job_row *j, const struct job_checkpoint *c);
/* {"object": "list", "data", "has_more", "first_id", "last_id", "next"}; `data` is taken over. */
json_t *job_json_list(json_t *data, bool more);

/* The number in the id of an event or checkpoint; -1: it is none of this job. */
int64_t job_json_event_place(const struct job_row *j, const char *id);
int64_t job_json_checkpoint_step(const struct job_row *j, const char *id);

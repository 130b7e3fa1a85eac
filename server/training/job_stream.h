/* Who follows the events of a job as they come. A stream reads them from the registry on job threads and
 * sleeps in between; whoever changes a job says so. */
#pragma once
#include <stdint.h>

#include "adapters/types/job.h"
#include "core/base/err.h"

struct request;

struct job_streams;

MUST_USE int job_streams_new(struct job_streams **out, struct err *e);
void job_streams_free(struct job_streams *s); /* no stream is left; NULL is fine */
/* The job with this number has changed. Any thread, without a lock. */
void job_streams_notify(struct job_streams *s, int64_t job);
/* The daemon stops: all streams end. */
void job_streams_stop(struct job_streams *s);
/* Answers with the events behind `place`, and with those to come until the job is over.
 * "too_many_in_flight" of the tenant's. */
MUST_USE int job_stream_start(struct request *r, const struct job_row *j, int64_t place, struct err *e);

/* A few threads for work that may block or take long: disk, large texts. A bounded queue; any thread may
 * submit. */
#pragma once
#include "core/base/err.h"

struct jobs;

MUST_USE int jobs_new(struct jobs **out, const char *name, int threads, int queue_max, struct err *e);
/* Runs what is queued, then ends. NULL is fine. */
void jobs_free(struct jobs *j);
/* 0, or -1 when the queue is full: `run` is not called then. */
int jobs_submit(struct jobs *j, void (*run)(void *arg), void *arg);

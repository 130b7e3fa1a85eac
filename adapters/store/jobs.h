/* The statements of training jobs, their events and checkpoints. As store.h, which see: the caller holds the
 * registry's writer mutex; changes stand between store_begin and store_end. */
#pragma once
#include "adapters/store/store.h"
#include "adapters/types/job.h"

/* Gives the row its number. */
MUST_USE int store_job_insert(struct store *s, struct job_row *j, struct err *e);
/* Status, times, steps, tokens, version and error of the row with this number. */
MUST_USE int store_job_change(struct store *s, const struct job_row *j, struct err *e);
/* Of this tenant (0: of any); *found false: there is none. */
MUST_USE int store_job_find(struct store *s, uint32_t tenant, const char *id, struct job_row *out,
                            bool *found, struct err *e);
/* Newest first, before the one with this number (0: from the newest). */
MUST_USE int store_job_list(struct store *s, uint32_t tenant, int64_t before, size_t limit,
                            struct job_row *out, size_t *count, bool *more, struct err *e);
/* Those that are not over, oldest first; at most JOBS_ALIVE_MAX. */
MUST_USE int store_job_alive(struct store *s, struct job_row *out, size_t *count, struct err *e);
/* Of a tenant (0: of all): validating, queued or running; with `paused`, these too. */
MUST_USE int store_job_count(struct store *s, uint32_t tenant, bool paused, int64_t *count, struct err *e);

/* Gives the event its place. */
MUST_USE int store_job_event_add(struct store *s, int64_t job, struct job_event *event, struct err *e);
/* Newest first, before this place (0: from the newest); or oldest first, after it. */
MUST_USE int store_job_event_list(struct store *s, int64_t job, int64_t from, bool newest_first, size_t limit,
                                  struct job_event *out, size_t *count, bool *more, struct err *e);

MUST_USE int store_job_checkpoint_put(struct store *s, int64_t job, const struct job_checkpoint *c,
                                      struct err *e);
MUST_USE int store_job_checkpoint_delete(struct store *s, int64_t job, int64_t step, struct err *e);
/* Newest first, before this step (0: from the newest). */
MUST_USE int store_job_checkpoint_list(struct store *s, int64_t job, int64_t before, size_t limit,
                                       struct job_checkpoint *out, size_t *count, bool *more, struct err *e);

/* What the ledger says that a tenant trained on a day. */
MUST_USE int store_job_trained(struct store *s, uint32_t tenant, const char *day, int64_t *tokens,
                               struct err *e);

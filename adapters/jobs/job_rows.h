/* Jobs as the registry keeps them: made, found, moved from state to state, their events and checkpoints. Each
 * change is one transaction, on disk when it returns, with its row in the audit log and what is charged in
 * the ledger. Any thread that may block on the disk. */
#pragma once
#include "adapters/registry/registry.h"
#include "adapters/types/job.h"

/* Fills number, id, creation time and, where it has none, the adapter's name; writes its first event. The
 * tenant's quota decides: "quota_exceeded"; "limit_reached": there are
 * JOBS_ALIVE_MAX, or JOBS_ALIVE_TENANT_MAX of the tenant's. */
MUST_USE int job_rows_create(struct registry *r, struct job_row *j, int64_t rank, struct err *e);
/* "job_not_found", also of another tenant's; tenant 0: of any. */
MUST_USE int job_rows_find(struct registry *r, uint32_t tenant, const char *id, struct job_row *out,
                           struct err *e);
/* Newest first, behind the job `after` (NULL: from the newest). "job_not_found": there is none called so. */
MUST_USE int job_rows_list(struct registry *r, uint32_t tenant, const char *after, size_t limit,
                           struct job_row *out, size_t *count, bool *more, struct err *e);
/* All that are not over, oldest first; `out` has JOBS_ALIVE_MAX places. */
MUST_USE int job_rows_alive(struct registry *r, struct job_row *out, size_t *count, struct err *e);

/* What a job becomes, and what is said about it. */
struct job_change {
    enum job_status to;
    unsigned
        from; /* 1 << status of those from which it goes; a job on its way elsewhere stays as it is. 0: any */
    const struct job_error *error; /* NULL: none */
    const char *level, *message;   /* of its event; message NULL: by the state */
    const char *version;           /* digest of what it made; NULL: as it is */
    const char *result_file;       /* NULL: as it is */
    const struct buf *data;        /* of its event, JSON; NULL or empty: none */
};
/* Gives the row as it is then. It is nothing, and no event, where it has that state already, or one that is
 * not in `from`. "job_not_found", "job_conflict": it cannot become that any more. */
MUST_USE int job_rows_become(struct registry *r, uint32_t tenant, const char *id, const struct job_change *c,
                             struct job_row *out, struct err *e);

/* Events, and how far it is; tokens beyond those that the row has are charged to the tenant. "job_not_found":
 * it was deleted with its tenant. *over: it is, and nothing was written. */
MUST_USE int job_rows_advance(struct registry *r, const struct job_row *j, const struct job_progress *p,
                              struct job_event *events, size_t count, bool *over, struct err *e);
/* How many steps there are, once it is known. */
MUST_USE int job_rows_set_steps(struct registry *r, const struct job_row *j, int64_t steps, struct err *e);
MUST_USE int job_rows_add_event(struct registry *r, const struct job_row *j, struct job_event *event,
                                struct err *e);
MUST_USE int job_rows_events(struct registry *r, const struct job_row *j, int64_t from, bool newest_first,
                             size_t limit, struct job_event *out, size_t *count, bool *more, struct err *e);

MUST_USE int job_rows_add_checkpoint(struct registry *r, const struct job_row *j,
                                     const struct job_checkpoint *c, struct err *e);
MUST_USE int job_rows_drop_checkpoint(struct registry *r, const struct job_row *j, int64_t step,
                                      struct err *e);
MUST_USE int job_rows_checkpoints(struct registry *r, const struct job_row *j, int64_t before, size_t limit,
                                  struct job_checkpoint *out, size_t *count, bool *more, struct err *e);

/* Tokens that the tenant may train today; INT64_MAX: no quota. "tenant_not_found" */
MUST_USE int job_rows_tokens_left(struct registry *r, uint32_t tenant, int64_t *left, struct err *e);
/* Its share where tenants compete. "tenant_not_found" */
MUST_USE int job_rows_weight(struct registry *r, uint32_t tenant, int *weight, struct err *e);

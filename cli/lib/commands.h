/* The commands: what each does with the daemon and what it prints. One thread. They print to standard output
 * and leave errors to their caller. */
#pragma once
#include "cli/lib/args.h"
#include "cli/lib/client.h"
#include "cli/lib/print.h"

struct context {
    struct client *client; /* borrowed */
    int json;
};

/* Every command, ending with a NULL group. */
extern const struct command commands[];

MUST_USE int tenants_list(struct context *c, const struct args *a, struct err *e);
MUST_USE int tenants_create(struct context *c, const struct args *a, struct err *e);
MUST_USE int tenants_show(struct context *c, const struct args *a, struct err *e);
MUST_USE int tenants_delete(struct context *c, const struct args *a, struct err *e);
MUST_USE int tenants_quota(struct context *c, const struct args *a, struct err *e);
MUST_USE int tenants_default(struct context *c, const struct args *a, struct err *e);
/* The quota that the options ask for, {} for nothing; a new reference. */
MUST_USE int quota_options(const struct args *a, json_t **out, struct err *e);
/* The table of a tenant's quota. */
MUST_USE int quota_print(const json_t *tenant, struct err *e);

MUST_USE int keys_create(struct context *c, const struct args *a, struct err *e);
MUST_USE int keys_rotate(struct context *c, const struct args *a, struct err *e);
MUST_USE int keys_list(struct context *c, const struct args *a, struct err *e);
MUST_USE int keys_revoke(struct context *c, const struct args *a, struct err *e);

MUST_USE int adapters_list(struct context *c, const struct args *a, struct err *e);
MUST_USE int adapters_show(struct context *c, const struct args *a, struct err *e);
MUST_USE int adapters_upload(struct context *c, const struct args *a, struct err *e);
/* The table of an adapter's versions, of the answer that shows it. */
MUST_USE int adapters_print_versions(const json_t *adapter, struct err *e);
/* The table of its labels, note, end and pin; a line that says so where it has none. */
MUST_USE int adapters_print_metadata(const json_t *adapter, struct err *e);

MUST_USE int versions_activate(struct context *c, const struct args *a, struct err *e);
MUST_USE int versions_rollback(struct context *c, const struct args *a, struct err *e);
MUST_USE int versions_delete(struct context *c, const struct args *a, struct err *e);
MUST_USE int versions_canary(struct context *c, const struct args *a, struct err *e);
MUST_USE int versions_label(struct context *c, const struct args *a, struct err *e);
MUST_USE int versions_note(struct context *c, const struct args *a, struct err *e);
MUST_USE int versions_expire(struct context *c, const struct args *a, struct err *e);
MUST_USE int versions_pin(struct context *c, const struct args *a, struct err *e);
MUST_USE int versions_unpin(struct context *c, const struct args *a, struct err *e);
MUST_USE int versions_download(struct context *c, const struct args *a, struct err *e);

MUST_USE int backup_take(struct context *c, const struct args *a, struct err *e);
MUST_USE int backup_restore(struct context *c, const struct args *a, struct err *e);
MUST_USE int fsck_check(struct context *c, const struct args *a, struct err *e);

MUST_USE int jobs_list(struct context *c, const struct args *a, struct err *e);
MUST_USE int jobs_show(struct context *c, const struct args *a, struct err *e);
MUST_USE int jobs_events(struct context *c, const struct args *a, struct err *e);
MUST_USE int jobs_checkpoints(struct context *c, const struct args *a, struct err *e);
MUST_USE int jobs_cancel(struct context *c, const struct args *a, struct err *e);
MUST_USE int jobs_pause(struct context *c, const struct args *a, struct err *e);
MUST_USE int jobs_resume(struct context *c, const struct args *a, struct err *e);

MUST_USE int usage_list(struct context *c, const struct args *a, struct err *e);
MUST_USE int audit_list(struct context *c, const struct args *a, struct err *e);

MUST_USE int infer_run(struct context *c, const struct args *a, struct err *e);
MUST_USE int status_show(struct context *c, const struct args *a, struct err *e);

/* The commands of training: files, and what is made of them. See cli/lib/commands.h. */
#pragma once
#include <stdbool.h>

#include "cli/lib/commands.h"

MUST_USE int files_list(struct context *c, const struct args *a, struct err *e);
MUST_USE int files_show(struct context *c, const struct args *a, struct err *e);
MUST_USE int files_upload(struct context *c, const struct args *a, struct err *e);
MUST_USE int files_download(struct context *c, const struct args *a, struct err *e);
MUST_USE int files_delete(struct context *c, const struct args *a, struct err *e);

MUST_USE int train_run(struct context *c, const struct args *a, struct err *e);
/* "usage" where --sweep was given and says nothing that could be done. */
MUST_USE int sweep_check(const struct args *a, struct err *e);
/* --sweep: a job for each rank and choice of modules, and a table of them. `request` is borrowed. */
MUST_USE int sweep_run(struct context *c, const struct args *a, json_t *request, const char *valid_path,
                       struct err *e);

/* ---- for those that train ---- */
/* The id of the file with these bytes: of one that the tenant has, or of a new one (*sent). A new string. */
MUST_USE int files_have(struct context *c, const char *path, const char *tenant, char **id, bool *sent,
                        struct err *e);
MUST_USE int files_drop(struct context *c, const char *id, const char *tenant, struct err *e);

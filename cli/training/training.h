/* The commands of training: files, and what is made of them. See cli/lib/commands.h. */
#pragma once
#include "cli/lib/commands.h"

MUST_USE int files_list(struct context *c, const struct args *a, struct err *e);
MUST_USE int files_show(struct context *c, const struct args *a, struct err *e);
MUST_USE int files_upload(struct context *c, const struct args *a, struct err *e);
MUST_USE int files_download(struct context *c, const struct args *a, struct err *e);
MUST_USE int files_delete(struct context *c, const struct args *a, struct err *e);
/* Upload the file at `path`; the answer is the file object. */
MUST_USE int files_send(struct context *c, const char *path, const char *tenant, const char *seconds,
                        struct answer *answer, struct err *e);

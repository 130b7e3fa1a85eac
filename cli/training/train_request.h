/* What a training job is asked to do, made of the command's options. One thread. */
#pragma once
#include "cli/lib/commands.h"

/* The body of POST /v1/fine_tuning/jobs, but for its files. `name` is the adapter's. Asks the daemon for the
 * base's name where no model is given. Errors: "usage" too. */
MUST_USE int train_request_new(json_t **out, struct context *c, const struct args *a, const char *name,
                               struct err *e);
/* Rank and modules instead of what it says: "q", "qkvo", "all", or names of modules with "+" between. 0: as
 * it is; NULL: the same. */
MUST_USE int train_request_lora(json_t *request, long long rank, const char *targets, struct err *e);

/* A job's state on disk: DATA/training/ID.state, written whole or not at all, with a digest of its bytes. A
 * job can do without: where it is missing or damaged the job begins again and reaches the same bits. One
 * thread at a time for each job. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

struct trainer;

/* Errors: "storage_full", "io_error": the one before stays. */
MUST_USE int checkpoint_write(const char *directory, const char *id, const struct trainer *t, struct err *e);
/* Into a new trainer of the same job. *found false: there is none. Errors: "checkpoint_malformed",
 * "io_error"; the trainer is as it was. */
MUST_USE int checkpoint_read(const char *directory, const char *id, struct trainer *t, bool *found,
                             struct err *e);
void checkpoint_remove(const char *directory, const char *id);
/* Remove what belongs to no job that `keep` wants, and what was left half written. What is there then is on
 * the disk, also where a process died between a rename and its sync. */
MUST_USE int checkpoint_sweep(const char *directory, bool (*keep)(void *arg, const char *id), void *arg,
                              struct err *e);

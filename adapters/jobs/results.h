/* What a job leaves beside its adapter: a table of its steps, as a file of the tenant's. */
#pragma once
#include "adapters/jobs/job_rows.h"
#include "adapters/types/files.h"

/* "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy", a line for each step that its events
 * tell of, in the place of one that an end of the job which was not acknowledged left. Gives the file's id.
 * Blocks; errors: those of files_upload_accept. */
MUST_USE int results_write(struct registry *r, const struct job_row *j, char id[FILE_ID_BYTES],
                           struct err *e);

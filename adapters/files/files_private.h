/* What files.c and files_upload.c share. */
#pragma once
#include "adapters/registry/registry_private.h"

/* The writer: may the tenant keep one more file, of so many bytes? "quota_exceeded", "limit_reached" */
MUST_USE int files_check_room(struct registry *r, const struct tenant *t, uint64_t bytes, struct err *e);

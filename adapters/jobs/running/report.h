/* What was computed becomes events: see live.h. */
#pragma once
#include "adapters/jobs/running/live.h"

/* What the job's trainer said, as events; those that were written before its last end are passed over. */
MUST_USE int report_write(struct runner *r, struct live *l, struct reports *reports, bool *over,
                          struct err *e);
void report_free(struct report *p);

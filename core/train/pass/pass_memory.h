/* Memory of a pass: all that it needs is taken at its start, so that a pass cannot fail. */
#pragma once
#include "core/train/pass/pass.h"

/* p->model, tokens and head_rows are set, and so is the pool. Errors: "out_of_memory". */
MUST_USE int pass_memory_init(struct train_pass *p, struct err *e);
void pass_memory_fini(struct train_pass *p);
/* Of a pass with that many workers; p->model, tokens and head_rows are set. */
size_t pass_memory_bytes(const struct train_pass *p, int threads);

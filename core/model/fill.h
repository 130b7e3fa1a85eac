/* One reading of a model's files: brings the tensors that are kept to their places, and finds the digest of
 * all. For core/model only. */
#pragma once
#include "core/base/sha256.h"
#include "core/model/info.h"
#include "core/model/weights.h"
#include "core/system/pool.h"

/* Where the digest is remembered, only what is kept is read. `model`: its directory. Errors: "io_error",
 * "out_of_memory". */
MUST_USE int fill_weights(struct weights *w, const char *model, const struct model_options *o,
                          struct pool *pool, uint8_t digest[SHA256_BYTES], struct err *e);

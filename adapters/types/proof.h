/* What shows an adapter's effect, beside the change of logits that every upload is proved by: how large the
 * update of each module is, and a sample answer of the base against the adapter. Computed on the job thread
 * of an upload, kept in the registry. No SQL, no I/O. */
#pragma once
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"

enum { PROOF_NORMS_LARGEST = 10, PROOF_PROMPT_BYTES_MAX = 4096 };

struct version_proof { /* zero-initialize; proof_fini */
    int norm_count;    /* modules with a low-rank update */
    double norm_sum;
    /* JSON, [{"module": path, "norm": Frobenius norm of scale * B A}], largest first: the first
     * PROOF_NORMS_LARGEST, and all. Empty: not known, or not read. */
    struct buf norms_largest, norms;
    struct buf prompt, base, adapter; /* UTF-8; an empty prompt: no sample */
};
void proof_fini(struct version_proof *p);

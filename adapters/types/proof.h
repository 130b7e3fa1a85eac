/* What shows an adapter's effect, beside the change of logits that every upload is proved by: how large the
 * update of each module is, and a sample answer of the base against the adapter. Computed on the job thread
 * of an upload, kept in the registry. No SQL, no I/O. */
#pragma once
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"

struct delta;
struct delta_source;
struct engine;
struct model;
struct tokenizer;

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

/* Of the update itself, without forming B A: ||B A||^2 is the sum over (B^T B) .* (A A^T), in double. What
 * DoRA makes of it, biases and saved modules are not in it. Error: "out_of_memory". */
MUST_USE int proof_norms(struct version_proof *p, const struct model *m, const struct delta_source *s,
                         struct err *e);
/* The likeliest answers of the base and of the adapter to `prompt`, PROOF_PROMPT_BYTES_MAX at most. Blocks
 * the caller, not the engine. Errors: those of tokenizer_encode and engine_submit. */
MUST_USE int proof_sample(struct version_proof *p, struct engine *g, uint32_t tenant, struct delta *d,
                          const struct tokenizer *t, const char *prompt, struct err *e);

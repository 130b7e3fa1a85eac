/* The frozen base model. Knows tensors, never tenants, text or files of others.
 *
 * A `struct model` is immutable after model_open, and any thread may read it. */
#pragma once
#include "core/base/err.h"
#include "core/model/config/families.h"
#include "core/model/generation.h"
#include "core/model/info.h"

const char *precision_name(enum precision p); /* "exact", "int8", "int4"; "default" */

struct model;

/* Open a Hugging Face directory. What the config switches on and this code does not have is refused by field
 * and value (code "model_unsupported"); damaged files are "model_malformed" or "safetensors_malformed"; more
 * context than there is, "context_too_long". */
MUST_USE int model_open(struct model **out, const char *directory, const struct model_options *o,
                        struct err *e);
void model_close(struct model *m);
const struct model_info *model_info(const struct model *m);
/* What the model's makers would have where a request says nothing about sampling. */
const struct generation *model_generation(const struct model *m);
const struct family *model_family(const struct model *m);

/* In the order of the network, embeddings behind all others. */
const struct site *model_sites(const struct model *m, size_t *count);
int model_find_site(const struct model *m, const char *path); /* index, or -1 */
/* Every module of the base by its path (also norms and embeddings), in the order of the network: what PEFT
 * matches target_modules against. Sites are among them. */
const char *const *model_modules(const struct model *m, size_t *count);
/* In the order of the network; a module's tensors stand one behind the other. */
const struct parameter *model_parameters(const struct model *m, size_t *count);
int model_find_parameter(const struct model *m, const char *path, const char *leaf); /* index, or -1 */
/* Elements [at, at + count) of a parameter's tensor as the base has it, widened to `out`. Of packed weights
 * they are read from the files: error "io_error" where those have changed since the start. */
MUST_USE int model_parameter_values(const struct model *m, int parameter, size_t at, size_t count, float *out,
                                    struct err *e);
/* What it takes in each precision, whichever it is in. */
struct model_sizes model_sizes(const struct model *m);
/* Do lm_head and the embedding share one matrix? */
bool model_is_tied(const struct model *m);

/* A PEFT LoRA adapter's two files -> a delta_source, or a refusal that names what was expected and found.
 * No I/O but reading the two descriptors by pread, no SQL, no globals, no logging. Any thread.
 * Source of the semantics: PEFT's LoraConfig, LoraModel and set_peft_model_state_dict. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/base/sha256.h"
#include "core/delta/delta.h"
#include "core/head/head.h"
#include "core/model/model.h"

struct warnings;
struct peft; /* owns what its source points into and reads from, also a descriptor of the weights file */

struct peft_info {
    uint8_t version[SHA256_BYTES]; /* of the canonical form, see docs/http-api.md */
    int rank_max;
    int sites;
    int64_t parameters;  /* elements of all A, B, magnitudes, replaced tensors and rows */
    enum head_kind task; /* what it gives labels of, by a head of its own; HEAD_NONE: nothing */
    int vocab;           /* tokens that there are with it; 0: as many as the base has */
    bool changes_rows;   /* some of the base's, which no prompt of a few tokens may show */
};

enum peft_options {
    PEFT_ALLOW_NO_EFFECT = 1, /* accept B that is zero everywhere */
    PEFT_STORED = 2 /* it was accepted before: its effect is not asked, its version not computed (zeros) */
};

/* Errors: the adapter_*, safetensors_malformed, config_malformed and pickle_refused codes of the HTTP API.
 * `options`: of enum peft_options, or 0. */
int peft_load(struct peft **out, const struct model *m, int config_fd, int weights_fd, unsigned options,
              struct err *e);
void peft_free(struct peft *p);
/* It reads A, B and magnitudes when they are asked for. One thread at a time. */
const struct delta_source *peft_source(const struct peft *p);
const struct peft_info *peft_info(const struct peft *p);
struct warnings *peft_warnings(struct peft *p); /* of what was accepted; the caller may take them away */

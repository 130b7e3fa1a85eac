/* The base model's tensors: one or more safetensors files, mapped read-only once. Counts which tensors were
 * taken, so that none is silently left out. Built by one thread, immutable afterwards. */
#pragma once
#include <stdint.h>

#include "core/base/err.h"
#include "core/base/sha256.h"
#include "core/format/safetensors.h"

struct weights;

/* DIRECTORY/model.safetensors, or the shards of DIRECTORY/model.safetensors.index.json.
 * Errors: "model_malformed", "safetensors_malformed", "pickle_refused", "io_error". */
int weights_open(struct weights **out, const char *directory, struct err *e);
void weights_close(struct weights *w);

/* The tensor's description and its bytes, aligned to its elements; NULL when there is none of that name. */
const struct tensor *weights_find(struct weights *w, const char *name, const void **data);
/* Like weights_find, and marks it as taken. */
const struct tensor *weights_take(struct weights *w, const char *name, const void **data);
/* Name of a tensor that nobody took, or NULL. */
const char *weights_left(const struct weights *w, int (*may_be_left)(const char *name));
uint64_t weights_bytes(const struct weights *w);     /* of all tensors, as stored */
int64_t weights_parameters(const struct weights *w); /* elements of all tensors */
/* Hash of names, dtypes, shapes and a sample of every tensor's bytes. */
void weights_fingerprint(struct weights *w, uint8_t out[SHA256_BYTES]);
/* Let the kernel take mapped pages back: those of `bytes` bytes at `data`, which lies in a tensor, or all.
 * They are read again when they are touched. Any thread. */
void weights_forget(struct weights *w, const void *data, size_t bytes);
void weights_forget_all(struct weights *w);

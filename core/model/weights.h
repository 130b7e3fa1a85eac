/* The base model's tensors: one or more safetensors files. Built by one thread, immutable afterwards.
 *
 * What is served lies in memory of the process's own, never in a mapped file: a file that is cut short or
 * written over changes no answer and ends no process. Every tensor has a place from the start; its bytes are
 * there once somebody brings them, and until then the place cannot be looked at. Counts which tensors were
 * taken, so that none is silently left out. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/format/safetensors.h"

struct weights;

/* Bytes of a tensor, from its first one on. */
struct stretch {
    uint64_t at, bytes;
};

/* DIRECTORY/model.safetensors, or the shards of DIRECTORY/model.safetensors.index.json. Reads headers only.
 * Errors: "model_malformed", "safetensors_malformed", "pickle_refused", "io_error", "out_of_memory". */
MUST_USE int weights_open(struct weights **out, const char *directory, struct err *e);
void weights_close(struct weights *w);

size_t weights_count(const struct weights *w);
const struct tensor *weights_at(const struct weights *w, size_t index); /* by name, whatever file it is in */
const struct tensor *weights_find(const struct weights *w, const char *name); /* NULL: there is none */
const struct tensor *weights_take(struct weights *w, const char *name);       /* the same, marked as taken */
/* Name of a tensor that nobody took, or NULL. */
const char *weights_left(const struct weights *w, bool (*may_be_left)(const void *arg, const char *name),
                         const void *arg);
uint64_t weights_bytes(const struct weights *w);     /* of all tensors, as stored */
int64_t weights_parameters(const struct weights *w); /* elements of all tensors */

/* ---- reading; any thread ---- */

/* Of a tensor into `out`. Error "io_error" where the file has become shorter, or another one. */
MUST_USE int weights_read(const struct weights *w, const struct tensor *t, struct stretch part, void *out,
                          struct err *e);

/* ---- places ---- */

/* Where the tensor's bytes will be, aligned to a page. */
const void *weights_place(const struct weights *w, const struct tensor *t);
/* It is to stay in memory; fill.h brings it. */
MUST_USE int weights_keep(struct weights *w, const struct tensor *t, struct err *e);
bool weights_is_kept(const struct weights *w, const struct tensor *t);
/* Read a part of it to its place. Several threads may bring parts of one tensor. */
MUST_USE int weights_bring(struct weights *w, const struct tensor *t, struct stretch part, struct err *e);
/* Give the memory of whole pages of what was brought back. */
void weights_forget(struct weights *w, const struct tensor *t, struct stretch part);
/* Nothing is brought any more: what is kept becomes read-only, and the rest is gone. Error "io_error" where a
 * file has changed since it was opened: what was read may be neither the old model nor the new one. */
MUST_USE int weights_seal(struct weights *w, struct err *e);

/* ---- which files these are ---- */

/* A line for each file: name, size, inode, times of the last writing and of the last change. */
MUST_USE int weights_describe(const struct weights *w, struct buf *out, struct err *e);
/* When the latest of them changed, seconds since 1970. */
int64_t weights_changed_s(const struct weights *w);

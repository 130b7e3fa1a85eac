/* Reads safetensors files: the base model's and the tenants'. Never laxer than the reference implementation.
 *
 * Format: u64 little-endian header length, a JSON object, the data. Checked on opening: header within
 * `header_limit`, no duplicate keys, offsets contiguous from 0 to the end of the file without holes or
 * overlap, length equal to the product of the shape and the dtype's size (overflow checked). Errors:
 * "safetensors_malformed"; "pickle_refused" for a pickle or a torch zip archive. An open file is immutable;
 * any thread may read it. Does not own the descriptor. */
#pragma once
#include <stddef.h>

#include "core/base/err.h"
#include "core/format/tensor.h"

struct safetensors;

/* `header_limit` is 1 MiB for tenants' files, more for the base. Dtypes but F32, F16 and BF16 are refused. */
MUST_USE int safetensors_open(struct safetensors **out, int fd, size_t header_limit, struct err *e);
void safetensors_close(struct safetensors *s);

size_t safetensors_count(const struct safetensors *s);
const struct tensor *safetensors_at(const struct safetensors *s, size_t index); /* sorted by name, bytewise */
const struct tensor *safetensors_find(const struct safetensors *s, const char *name);

/* Read a whole tensor by pread, widened to f32 [elements]. With `finite`, NaN or infinity is refused
 * ("adapter_not_finite"). */
MUST_USE int safetensors_read(int fd, const struct tensor *t, float *out, int finite, struct err *e);

/* Prometheus' text format, version 0.0.4: lines of it. Owns nothing; any thread. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/histogram.h"

enum metrics_type { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM };

/* Each of these: -1: memory ran out. `labels` are `name="value",...` with a comma at the end, or empty. */
int metrics_text_head(struct buf *out, const char *name, enum metrics_type type, const char *help);
/* `seconds`: the value is in microseconds. */
int metrics_text_number(struct buf *out, const char *name, const char *labels, uint64_t value, bool seconds);
/* Its count is the sum of the buckets as they were read. */
int metrics_text_histogram(struct buf *out, const char *name, const char *labels, const struct histogram *h,
                           const struct histogram_scale *scale, bool seconds);

uint64_t metrics_text_read(const atomic_uint_least64_t *counter);
uint64_t metrics_text_count(const struct histogram *h); /* of its values */

#include "server/metrics/metrics_text.h"

#include <inttypes.h>
#include <string.h>

int metrics_text_head(struct buf *out, const char *name, enum metrics_type type, const char *help)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    return buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, types[type]);
}

uint64_t metrics_text_read(const atomic_uint_least64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

uint64_t metrics_text_count(const struct histogram *h)
{
    uint64_t sum = 0;
    for (int i = 0; i <= HISTOGRAM_BOUNDS_MAX; i++)
        sum += metrics_text_read(&h->bucket[i]);
    return sum;
}

/* The name of a series, with a space behind it. */
static int print_series(struct buf *out, const char *name, const char *suffix, const char *labels)
{
    int inner = labels[0] ? (int)strlen(labels) - 1 : 0;
    return buf_printf(out, "%s%s%s%.*s%s ", name, suffix, inner ? "{" : "", inner, labels, inner ? "}" : "");
}

static int print_value(struct buf *out, bool seconds, uint64_t value)
{
    if (seconds)
        return buf_printf(out, "%" PRIu64 ".%06" PRIu64 "\n", value / 1000000, value % 1000000);
    return buf_printf(out, "%" PRIu64 "\n", value);
}

int metrics_text_number(struct buf *out, const char *name, const char *labels, uint64_t value, bool seconds)
{
    return print_series(out, name, "", labels) == 0 ? print_value(out, seconds, value) : -1;
}

int metrics_text_histogram(struct buf *out, const char *name, const char *labels, const struct histogram *h,
                           const struct histogram_scale *scale, bool seconds)
{
    uint64_t sum = metrics_text_read(&h->sum), count = 0;
    double unit = seconds ? 1e-6 : 1;
    int failed = 0;
    for (int i = 0; i <= scale->count && !failed; i++) {
        count += metrics_text_read(&h->bucket[i]);
        failed = buf_printf(out, "%s_bucket{%sle=\"", name, labels) != 0 ||
                 (i < scale->count ? buf_printf(out, "%g\"} ", (double)scale->bound[i] * unit)
                                   : buf_printf(out, "+Inf\"} ")) != 0 ||
                 print_value(out, false, count) != 0;
    }
    failed = failed || print_series(out, name, "_sum", labels) != 0 || print_value(out, seconds, sum) != 0 ||
             print_series(out, name, "_count", labels) != 0 || print_value(out, false, count) != 0;
    return failed ? -1 : 0;
}

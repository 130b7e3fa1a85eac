/* The header traceparent of W3C's Trace Context: which trace a request is a part of, by the ids that whoever
 * asked gave it. Stateless; any thread. */
#pragma once
#include <stdbool.h>

enum { TRACE_ID_DIGITS = 32 };

struct trace {
    char id[TRACE_ID_DIGITS + 1]; /* lowercase hex; empty: none */
};

/* What is malformed is no trace (section 4.3 of the recommendation: the header is ignored then). */
void trace_read(const char *header, struct trace *out);

/* How the daemon is doing: looked at every second, kept for an hour and for a day in two rings of fixed size.
 * Owns a thread; any thread may read. What it has is of the
 * whole daemon, and for admins alone. */
#pragma once
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"

struct pulse;
struct server;

enum { PULSE_WINDOW_S = 60, PULSE_RATE_S = 5, PULSE_HOUR_S = 10, PULSE_DAY_S = 300 };

/* Rates of the last PULSE_RATE_S, latencies of the last PULSE_WINDOW_S. */
struct pulse_now {
    double decode, prefill, requests, errors;        /* a second */
    double first_p50, first_p99, next_p50, next_p99; /* ms; below 0: there was none */
    uint64_t first_count, next_count;
    uint64_t resident_bytes;
};

/* Borrows the server until pulse_free. `beaten` is called every second, without a lock. */
MUST_USE int pulse_new(struct pulse **out, struct server *s, void (*beaten)(struct server *s), struct err *e);
void pulse_free(struct pulse *p); /* NULL is fine */
void pulse_look(struct pulse *p, struct pulse_now *out);
/* Append both rings as JSON. -1: memory ran out. */
int pulse_print(struct pulse *p, struct buf *out);

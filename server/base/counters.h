/* What the daemon counts of the requests that it answers, since its start. Owns the numbers; every thread
 * adds to them, relaxed and without a lock, and metrics.c alone reads them. Labels are the daemon's own words
 * (routes, statuses, codes), never a tenant's, so that their number is bounded whatever comes over the
 * wire. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "adapters/types/usage.h"
#include "core/base/histogram.h"
#include "core/engine/engine.h"

enum {
    COUNTERS_ROUTES_MAX = 80,
    COUNTERS_CLASSES = COUNTERS_ROUTES_MAX + 1,
    COUNTERS_STATUSES = 20,
    REPLY_CODES_MAX = 128
};

/* A class is a method and the fixed beginning of a pattern: "GET" and "/adapters" for "/adapters/{name}",
 * too. It has the place of its first route, and 0 is what matched no route. */
struct counters_class {
    const char *method, *prefix; /* NULL: nothing has this place */
    int prefix_length;
};

struct counters {
    struct counters_class classes[COUNTERS_CLASSES]; /* set before the first request, as is class_of */
    int class_of[COUNTERS_CLASSES];                  /* of the route in each place */
    atomic_uint_least64_t answers[COUNTERS_CLASSES][COUNTERS_STATUSES]; /* HTTP threads */
    struct histogram request_us[COUNTERS_CLASSES];                      /* HTTP threads */
    atomic_uint_least64_t errors[REPLY_CODES_MAX]; /* in the order of reply_code; whoever answers */
    atomic_uint_least64_t connections;             /* accepted; HTTP threads */
    atomic_uint_least64_t upload_bytes;            /* of forms; HTTP threads */
    /* Of runs of the model, the engine thread. */
    struct histogram queue_us;       /* from submitting to the first step */
    struct histogram first_token_us; /* from the request line */
    struct histogram next_token_us;  /* from one token of a run to the next */
    atomic_uint_least64_t runs[ENGINE_FAILED + 1];
    /* Where GET /usage counts, too; whoever ends a request. */
    atomic_uint_least64_t usage[USAGE_KINDS];
};

static inline void counters_add(atomic_uint_least64_t *counter, uint64_t value)
{
    atomic_fetch_add_explicit(counter, value, memory_order_relaxed);
}

/* The route in this place, 1..COUNTERS_ROUTES_MAX, and all before it already; both texts are static. */
void counters_name(struct counters *c, int place, const char *method, const char *pattern);
/* One request is over. `place`: of its route, 0 when none matched; `status` 0: its client left before there
 * was one. */
void counters_answer(struct counters *c, int place, int status, uint64_t us);

/* ---- for metrics.c ---- */
/* Is there a class in place `i`, and which? */
bool counters_class(const struct counters *c, int i, struct counters_class *out);
/* "200"; the last is "other": what is not in the list. */
const char *counters_status(int i);

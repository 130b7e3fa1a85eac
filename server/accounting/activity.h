/* Who asks for what at this moment and in the last minute: requests by tenant, adapter and version, for
 * people who look. Owns an entry for each that had a request in that time, ACTIVITY_ENTRIES_MAX at most; what
 * is more is not told apart. Any thread may call; tokens are counted without a lock. Knows no requests and no
 * keys. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "adapters/types/name.h"
#include "core/base/err.h"
#include "core/base/histogram.h"
#include "core/base/sha256.h"

enum {
    ACTIVITY_ENTRIES_MAX = 4096,
    ACTIVITY_SLOT_MS = 10000,
    ACTIVITY_SLOTS = 7 /* the one that is being filled, and a minute of whole ones */
};

struct activity;
struct activity_entry;

/* Whose request, and what serves it. Empty adapter and version: the bare base. */
struct activity_name {
    uint32_t tenant;
    char tenant_id[NAME_MAX_BYTES + 1];
    char adapter[NAME_MAX_BYTES + 1];
    char version[SHA256_HEX + 1];
};

struct activity_row {
    struct activity_name name;
    int running;
    uint64_t tokens; /* generated in the last minute */
};

struct activity_sums {
    int running;
    double seconds; /* that the counts are of */
    uint64_t tokens, requests, errors;
    uint64_t first_us[HISTOGRAM_BOUNDS_MAX + 1], next_us[HISTOGRAM_BOUNDS_MAX + 1]; /* histogram_times */
};

MUST_USE int activity_new(struct activity **out, struct err *e);
void activity_free(struct activity *a); /* every request has ended; NULL is fine */

/* A request begins. NULL where there is no room for one more entry, which the other functions take. */
struct activity_entry *activity_begin(struct activity *a, const struct activity_name *name);
/* A token of it: so long after the request began, or after the token before. */
void activity_first_token(struct activity_entry *t, uint64_t us);
void activity_next_token(struct activity_entry *t, uint64_t us);
void activity_end(struct activity_entry *t, bool failed);

/* Every ACTIVITY_SLOT_MS: a new slot begins, the oldest is forgotten, and entries that are empty go. */
void activity_turn(struct activity *a);
/* Of one tenant; 0: of all. */
void activity_sum(struct activity *a, uint32_t tenant, struct activity_sums *out);
/* Those with requests that run, at most `max`, the busiest first. Returns how many; *more: so many others. */
size_t activity_running(struct activity *a, uint32_t tenant, struct activity_row *out, size_t max,
                        size_t *more);

/* A few threads that work for many tenants in fair turns: parsing, templates, tokens. Who sends much waits
 * for itself, not others for it. Any thread may submit; nothing waits.
 *
 * Next is the tenant that has used the least of the threads' time, divided by its weight (start-time fair
 * queueing, Goyal and others 1996; a tenant that comes begins where the others are). Who has used the most
 * gets the last idle thread only while it has none: a flood of long jobs leaves one to who comes. */
#pragma once
#include <stdint.h>

#include "core/base/err.h"

struct turns;

struct turns_options {
    const char *name; /* of the threads */
    int threads;      /* 2 at least */
    int waiting_max;  /* jobs of all tenants; of one */
    int waiting_tenant_max;
};

struct turns_stats {
    int waiting, working, waiting_max;
};

MUST_USE int turns_new(struct turns **out, const struct turns_options *options, struct err *e);
/* Runs what waits, then ends. NULL is fine. */
void turns_free(struct turns *t);
/* `weight`: of the tenant, as of now; 1 at least. "tenant_queue_full", "queue_full", "out_of_memory"; `run`
 * is not called then. */
MUST_USE int turns_submit(struct turns *t, uint32_t tenant, int weight, void (*run)(void *arg), void *arg,
                          struct err *e);
void turns_look(struct turns *t, struct turns_stats *out);

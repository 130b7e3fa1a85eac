/* Uploads under way and whose they are: so many in all, and no tenant so many that others find no place,
 * however slowly it sends. Owns nothing but its lock; any thread, nothing waits. */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"

enum { UPLOADS_MAX = 16, UPLOADS_TENANT_MAX = 8 };

struct upload_slots {
    pthread_mutex_t lock;
    struct {
        bool taken;
        uint32_t tenant;
    } place[UPLOADS_MAX];
};

void upload_slots_init(struct upload_slots *p);
void upload_slots_fini(struct upload_slots *p);
/* The number of a place, from 1 on. Tenant 0, who is an admin, may have them all. 0: "too_many_uploads" of
 * this tenant, or "overloaded". */
MUST_USE int upload_slots_take(struct upload_slots *p, uint32_t tenant, struct err *e);
void upload_slots_give(struct upload_slots *p, int place);
int upload_slots_used(struct upload_slots *p);

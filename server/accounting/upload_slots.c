#include "server/accounting/upload_slots.h"

#include <assert.h>

void upload_slots_init(struct upload_slots *p)
{
    *p = (struct upload_slots){0};
    pthread_mutex_init(&p->lock, NULL);
}

void upload_slots_fini(struct upload_slots *p)
{
    pthread_mutex_destroy(&p->lock);
}

/* The free place, or -1; how many the tenant has. */
static int look(const struct upload_slots *p, uint32_t tenant, int *own)
{
    int free_place = -1;
    *own = 0;
    for (int i = 0; i < UPLOADS_MAX; i++)
        if (!p->place[i].taken)
            free_place = i;
        else if (p->place[i].tenant == tenant)
            ++*own;
    return free_place;
}

static int take_locked(struct upload_slots *p, uint32_t tenant, struct err *e)
{
    int own, place = look(p, tenant, &own);
    if (tenant && own >= UPLOADS_TENANT_MAX) {
        err_set(e, "too_many_uploads",
                "%d uploads of this tenant are under way already, the most at the same time", own);
        return 0;
    }
    if (place < 0) {
        err_set(e, "overloaded", "%d uploads are under way already", UPLOADS_MAX);
        return 0;
    }
    p->place[place].taken = true;
    p->place[place].tenant = tenant;
    return place + 1;
}

int upload_slots_take(struct upload_slots *p, uint32_t tenant, struct err *e)
{
    pthread_mutex_lock(&p->lock);
    int place = take_locked(p, tenant, e);
    pthread_mutex_unlock(&p->lock);
    return place;
}

void upload_slots_give(struct upload_slots *p, int place)
{
    pthread_mutex_lock(&p->lock);
    assert(p->place[place - 1].taken);
    p->place[place - 1].taken = false;
    pthread_mutex_unlock(&p->lock);
}

int upload_slots_used(struct upload_slots *p)
{
    pthread_mutex_lock(&p->lock);
    int used = 0;
    for (int i = 0; i < UPLOADS_MAX; i++)
        used += p->place[i].taken;
    pthread_mutex_unlock(&p->lock);
    return used;
}

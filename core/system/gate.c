#include "core/system/gate.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Open, it costs one load: it is passed thousands of times a second. */
struct gate {
    atomic_bool shut;
    atomic_int waiting;
    pthread_mutex_t lock;
    pthread_cond_t opened;
};

int gate_new(struct gate **out, struct err *e)
{
    struct gate *g = calloc(1, sizeof *g);
    if (!g)
        return err_memory(e);
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->opened, NULL);
    *out = g;
    return 0;
}

void gate_free(struct gate *g)
{
    if (!g)
        return;
    pthread_cond_destroy(&g->opened);
    pthread_mutex_destroy(&g->lock);
    free(g);
}

/* Without the lock: who shuts it has no time to wait for those who train. One that is on its way through
 * computes one more piece. */
void gate_shut(struct gate *g)
{
    atomic_store(&g->shut, true);
}

void gate_open(struct gate *g)
{
    atomic_store(&g->shut, false);
    if (atomic_load(&g->waiting) == 0)
        return;
    pthread_mutex_lock(&g->lock); /* nobody is between looking and sleeping */
    pthread_cond_broadcast(&g->opened);
    pthread_mutex_unlock(&g->lock);
}

void gate_pass(struct gate *g)
{
    if (!g || !atomic_load_explicit(&g->shut, memory_order_relaxed))
        return;
    pthread_mutex_lock(&g->lock);
    atomic_fetch_add(&g->waiting, 1);
    while (atomic_load(&g->shut))
        pthread_cond_wait(&g->opened, &g->lock);
    atomic_fetch_sub(&g->waiting, 1);
    pthread_mutex_unlock(&g->lock);
}

bool gate_is_wanted(const struct gate *g)
{
    return atomic_load(&g->waiting) > 0;
}

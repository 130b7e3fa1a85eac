#include "adapters/blobs/retired.h"

#include <stdlib.h>
#include <string.h>

static uint64_t blob_hash(const char *blob)
{
    uint64_t start;
    memcpy(&start, blob, sizeof start);
    return start;
}

int retired_init(struct retired *d, struct err *e)
{
    struct retired made = {0};
    if (hashtable_init(&made.config, e) != 0)
        return -1;
    if (hashtable_init(&made.weights, e) != 0) {
        hashtable_fini(&made.config);
        return -1;
    }
    *d = made;
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->work, NULL);
    return 0;
}

void retired_fini(struct retired *d)
{
    for (struct version_files *f; (f = retired_take(d));)
        free(f);
    hashtable_fini(&d->config);
    hashtable_fini(&d->weights);
    pthread_cond_destroy(&d->work);
    pthread_mutex_destroy(&d->lock);
}

void retired_add(struct retired *d, const struct version *v)
{
    struct version_files *f = v->files;
    pthread_mutex_lock(&d->lock);
    if (!atomic_load(&f->retired)) {
        hashtable_add(&d->config, &f->by_config, blob_hash(f->config_blob));
        hashtable_add(&d->weights, &f->by_weights, blob_hash(f->weights_blob));
        atomic_store(&f->retired, d);
    }
    pthread_mutex_unlock(&d->lock);
}

static bool uses_locked(const struct retired *d, const char *blob)
{
    for (struct hashtable_link *l = hashtable_first(&d->config, blob_hash(blob)); l; l = hashtable_next(l))
        if (strcmp(HASHTABLE_ITEM(l, struct version_files, by_config)->config_blob, blob) == 0)
            return true;
    for (struct hashtable_link *l = hashtable_first(&d->weights, blob_hash(blob)); l; l = hashtable_next(l))
        if (strcmp(HASHTABLE_ITEM(l, struct version_files, by_weights)->weights_blob, blob) == 0)
            return true;
    return false;
}

bool retired_uses(struct retired *d, const char *blob)
{
    pthread_mutex_lock(&d->lock);
    bool uses = uses_locked(d, blob);
    pthread_mutex_unlock(&d->lock);
    return uses;
}

void retired_release(struct retired *d, struct version_files *f)
{
    pthread_mutex_lock(&d->lock);
    hashtable_remove(&d->config, &f->by_config);
    hashtable_remove(&d->weights, &f->by_weights);
    f->next = d->unused;
    d->unused = f;
    pthread_cond_signal(&d->work);
    pthread_mutex_unlock(&d->lock);
}

struct version_files *retired_take(struct retired *d)
{
    pthread_mutex_lock(&d->lock);
    struct version_files *f = d->unused;
    if (f)
        d->unused = f->next;
    pthread_mutex_unlock(&d->lock);
    return f;
}

bool retired_wait(struct retired *d)
{
    pthread_mutex_lock(&d->lock);
    while (!d->unused && !d->stopping)
        pthread_cond_wait(&d->work, &d->lock);
    bool stopping = d->stopping;
    pthread_mutex_unlock(&d->lock);
    return !stopping;
}

void retired_stop(struct retired *d)
{
    pthread_mutex_lock(&d->lock);
    d->stopping = true;
    pthread_cond_signal(&d->work);
    pthread_mutex_unlock(&d->lock);
}

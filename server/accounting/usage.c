#include "server/accounting/usage.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/system/clock.h"
#include "core/base/sha256.h"
#include "server/base/log.h"

struct usage {
    usage_write *write;
    void *arg;
    pthread_mutex_t flushing; /* one writes at a time; taken before `lock` */
    pthread_mutex_t lock;
    pthread_cond_t stop;
    struct hashtable tables[2]; /* of entries: one counts, the other is empty but while it is written */
    int counting;               /* which */
    uint64_t seed;              /* of the hash: who names adapters cannot choose where they go */
    bool stopping, started, failing;
    pthread_t thread;
};

/* ---- entries ---- */

struct usage_entry *usage_entry_new(uint32_t tenant, const char *tenant_id)
{
    struct usage_entry *entry = calloc(1, sizeof *entry);
    if (entry) {
        entry->row.tenant = tenant;
        strcpy(entry->row.tenant_id, tenant_id);
    }
    return entry;
}

static uint64_t mix(uint64_t hash, const void *bytes, size_t length)
{
    const uint8_t *p = bytes;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ p[i]) * UINT64_C(0x100000001b3); /* FNV-1a */
    return hash;
}

static uint64_t hash_of(const struct usage *l, const struct usage_row *row)
{
    uint64_t hash = mix(l->seed, &row->tenant, sizeof row->tenant);
    hash = mix(hash, row->day, strlen(row->day));
    hash = mix(hash, row->adapter, strlen(row->adapter) + 1);
    return mix(hash, row->version, strlen(row->version));
}

static bool same_row(const struct usage_row *a, const struct usage_row *b)
{
    return a->tenant == b->tenant && strcmp(a->day, b->day) == 0 && strcmp(a->adapter, b->adapter) == 0 &&
           strcmp(a->version, b->version) == 0;
}

/* Into the row that is there, or as a new one; cannot fail. */
static void add_locked(struct usage *l, struct usage_entry *entry)
{
    struct hashtable *t = &l->tables[l->counting];
    uint64_t hash = hash_of(l, &entry->row);
    for (struct hashtable_link *link = hashtable_first(t, hash); link; link = hashtable_next(link)) {
        struct usage_entry *there = HASHTABLE_ITEM(link, struct usage_entry, link);
        if (!same_row(&there->row, &entry->row))
            continue;
        for (int i = 0; i < USAGE_KINDS; i++)
            there->row.count[i] += entry->row.count[i];
        free(entry);
        return;
    }
    hashtable_add(t, &entry->link, hash);
}

void usage_count(struct usage *l, struct usage_entry *entry)
{
    char now[32];
    clock_format(clock_unix_ms(), now, sizeof now);
    memcpy(entry->row.day, now, DAY_BYTES - 1);
    pthread_mutex_lock(&l->lock);
    add_locked(l, entry);
    pthread_mutex_unlock(&l->lock);
}

bool usage_full(struct usage *l)
{
    pthread_mutex_lock(&l->lock);
    bool full = l->tables[0].count + l->tables[1].count >= USAGE_ENTRIES_MAX;
    pthread_mutex_unlock(&l->lock);
    return full;
}

/* ---- writing ---- */

static struct usage_row *copy_rows(const struct hashtable *t)
{
    size_t n = 0;
    struct usage_row *rows = calloc(t->count, sizeof *rows);
    for (size_t i = 0; rows && i < (size_t)1 << t->bits; i++)
        for (struct hashtable_link *link = t->buckets[i]; link; link = link->next)
            rows[n++] = HASHTABLE_ITEM(link, struct usage_entry, link)->row;
    return rows;
}

/* Empty a table: forget its entries, or count them again. */
static void clear_locked(struct usage *l, struct hashtable *t, bool keep)
{
    for (size_t i = 0; i < (size_t)1 << t->bits; i++)
        while (t->buckets[i]) {
            struct usage_entry *entry = HASHTABLE_ITEM(t->buckets[i], struct usage_entry, link);
            hashtable_remove(t, &entry->link);
            if (keep)
                add_locked(l, entry);
            else
                free(entry);
        }
}

static int write_table(struct usage *l, const struct hashtable *t, struct err *e)
{
    struct usage_row *rows = copy_rows(t);
    int result = rows ? l->write(l->arg, rows, t->count, e) : err_memory(e);
    free(rows);
    return result;
}

int usage_flush(struct usage *l, struct err *e)
{
    int result = 0;
    pthread_mutex_lock(&l->flushing);
    pthread_mutex_lock(&l->lock);
    struct hashtable *t = &l->tables[l->counting];
    size_t count = t->count;
    if (count)
        l->counting = !l->counting;
    pthread_mutex_unlock(&l->lock);
    if (!count) {
        result = l->write(l->arg, NULL, 0, e);
    } else { /* nobody else touches this table now */
        result = write_table(l, t, e);
        pthread_mutex_lock(&l->lock);
        clear_locked(l, t, result != 0);
        pthread_mutex_unlock(&l->lock);
    }
    pthread_mutex_unlock(&l->flushing);
    return result;
}

static void flush_and_log(struct usage *l)
{
    struct err e;
    bool failed = usage_flush(l, &e) != 0;
    if (failed && !l->failing)
        log_message("error", "the usage cannot be written and is kept in memory: %s", e.message);
    else if (!failed && l->failing)
        log_message("info", "the usage is written again");
    l->failing = failed;
}

static bool wait_for_stop(struct usage *l)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += USAGE_FLUSH_MS / 1000;
    pthread_mutex_lock(&l->lock);
    int waited = 0;
    while (!l->stopping && waited == 0)
        waited = pthread_cond_timedwait(&l->stop, &l->lock, &until);
    bool stopping = l->stopping;
    pthread_mutex_unlock(&l->lock);
    return stopping;
}

static void *usage_main(void *arg)
{
    struct usage *l = arg;
    while (!wait_for_stop(l))
        flush_and_log(l);
    return NULL;
}

/* ---- life ---- */

static int start(struct usage *l, struct err *e)
{
    if (hashtable_init(&l->tables[0], e) != 0 || hashtable_init(&l->tables[1], e) != 0)
        return -1;
    if (pthread_create(&l->thread, NULL, usage_main, l) != 0)
        return err_set(e, "out_of_memory", "cannot start the thread \"usage\"");
    pthread_setname_np(l->thread, "usage");
    l->started = true;
    return 0;
}

static void destroy(struct usage *l)
{
    for (int i = 0; i < 2; i++) {
        if (l->tables[i].buckets)
            clear_locked(l, &l->tables[i], false);
        hashtable_fini(&l->tables[i]);
    }
    pthread_cond_destroy(&l->stop);
    pthread_mutex_destroy(&l->lock);
    pthread_mutex_destroy(&l->flushing);
    free(l);
}

int usage_new(struct usage **out, usage_write *write, void *arg, struct err *e)
{
    struct usage *l = calloc(1, sizeof *l);
    pthread_condattr_t monotonic;
    if (!l)
        return err_memory(e);
    l->write = write;
    l->arg = arg;
    random_bytes(&l->seed, sizeof l->seed);
    pthread_mutex_init(&l->flushing, NULL);
    pthread_mutex_init(&l->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&l->stop, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (start(l, e) != 0) {
        destroy(l);
        return -1;
    }
    *out = l;
    return 0;
}

static void stop(struct usage *l)
{
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    pthread_cond_signal(&l->stop);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
}

int usage_free(struct usage *l, struct err *e)
{
    int result = 0;
    if (!l)
        return 0;
    if (l->started) {
        stop(l);
        result = usage_flush(l, e);
    }
    destroy(l);
    return result;
}

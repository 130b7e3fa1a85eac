#include "server/ledger.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/clock.h"
#include "core/base/sha256.h"
#include "server/log.h"

struct ledger {
    ledger_write *write;
    void *arg;
    pthread_mutex_t flushing; /* one writes at a time; taken before `lock` */
    pthread_mutex_t lock;
    pthread_cond_t stop;
    struct table tables[2]; /* of entries: one counts, the other is empty but while it is written */
    int counting;           /* which */
    uint64_t seed;          /* of the hash: who names adapters cannot choose where they go */
    bool stopping, started, failing;
    pthread_t thread;
};

/* ---- entries ---- */

struct ledger_entry *ledger_entry_new(uint32_t tenant, const char *tenant_id)
{
    struct ledger_entry *entry = calloc(1, sizeof *entry);
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

static uint64_t hash_of(const struct ledger *l, const struct usage_row *row)
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
static void add_locked(struct ledger *l, struct ledger_entry *entry)
{
    struct table *t = &l->tables[l->counting];
    uint64_t hash = hash_of(l, &entry->row);
    for (struct table_link *link = table_first(t, hash); link; link = table_next(link)) {
        struct ledger_entry *there = TABLE_ITEM(link, struct ledger_entry, link);
        if (!same_row(&there->row, &entry->row))
            continue;
        for (int i = 0; i < USAGE_KINDS; i++)
            there->row.count[i] += entry->row.count[i];
        free(entry);
        return;
    }
    table_add(t, &entry->link, hash);
}

void ledger_count(struct ledger *l, struct ledger_entry *entry)
{
    char now[32];
    clock_format(clock_unix_ms(), now, sizeof now);
    memcpy(entry->row.day, now, DAY_BYTES - 1);
    pthread_mutex_lock(&l->lock);
    add_locked(l, entry);
    pthread_mutex_unlock(&l->lock);
}

bool ledger_full(struct ledger *l)
{
    pthread_mutex_lock(&l->lock);
    bool full = l->tables[0].count + l->tables[1].count >= LEDGER_ENTRIES_MAX;
    pthread_mutex_unlock(&l->lock);
    return full;
}

/* ---- writing ---- */

static struct usage_row *copy_rows(const struct table *t)
{
    size_t n = 0;
    struct usage_row *rows = calloc(t->count, sizeof *rows);
    for (size_t i = 0; rows && i < (size_t)1 << t->bits; i++)
        for (struct table_link *link = t->buckets[i]; link; link = link->next)
            rows[n++] = TABLE_ITEM(link, struct ledger_entry, link)->row;
    return rows;
}

/* Empty a table: forget its entries, or count them again. */
static void clear_locked(struct ledger *l, struct table *t, bool keep)
{
    for (size_t i = 0; i < (size_t)1 << t->bits; i++)
        while (t->buckets[i]) {
            struct ledger_entry *entry = TABLE_ITEM(t->buckets[i], struct ledger_entry, link);
            table_remove(t, &entry->link);
            if (keep)
                add_locked(l, entry);
            else
                free(entry);
        }
}

static int write_table(struct ledger *l, const struct table *t, struct err *e)
{
    struct usage_row *rows = copy_rows(t);
    int result = rows ? l->write(l->arg, rows, t->count, e) : err_memory(e);
    free(rows);
    return result;
}

int ledger_flush(struct ledger *l, struct err *e)
{
    int result = 0;
    pthread_mutex_lock(&l->flushing);
    pthread_mutex_lock(&l->lock);
    struct table *t = &l->tables[l->counting];
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

static void flush_and_log(struct ledger *l)
{
    struct err e;
    bool failed = ledger_flush(l, &e) != 0;
    if (failed && !l->failing)
        log_message("error", "the usage cannot be written and is kept in memory: %s", e.message);
    else if (!failed && l->failing)
        log_message("info", "the usage is written again");
    l->failing = failed;
}

static bool wait_for_stop(struct ledger *l)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += LEDGER_FLUSH_MS / 1000;
    pthread_mutex_lock(&l->lock);
    int waited = 0;
    while (!l->stopping && waited == 0)
        waited = pthread_cond_timedwait(&l->stop, &l->lock, &until);
    bool stopping = l->stopping;
    pthread_mutex_unlock(&l->lock);
    return stopping;
}

static void *ledger_main(void *arg)
{
    struct ledger *l = arg;
    while (!wait_for_stop(l))
        flush_and_log(l);
    return NULL;
}

/* ---- life ---- */

static int start(struct ledger *l, struct err *e)
{
    if (table_init(&l->tables[0], e) != 0 || table_init(&l->tables[1], e) != 0)
        return -1;
    if (pthread_create(&l->thread, NULL, ledger_main, l) != 0)
        return err_set(e, "out_of_memory", "cannot start the thread \"usage\"");
    pthread_setname_np(l->thread, "usage");
    l->started = true;
    return 0;
}

int ledger_new(struct ledger **out, ledger_write *write, void *arg, struct err *e)
{
    struct ledger *l = calloc(1, sizeof *l);
    pthread_condattr_t monotonic;
    struct err ignored;
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
        ledger_free(l, &ignored);
        return -1;
    }
    *out = l;
    return 0;
}

static void stop(struct ledger *l)
{
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    pthread_cond_signal(&l->stop);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
}

int ledger_free(struct ledger *l, struct err *e)
{
    int result = 0;
    if (!l)
        return 0;
    if (l->started) {
        stop(l);
        result = ledger_flush(l, e);
    }
    for (int i = 0; i < 2; i++) {
        if (l->tables[i].buckets)
            clear_locked(l, &l->tables[i], false);
        table_fini(&l->tables[i]);
    }
    pthread_cond_destroy(&l->stop);
    pthread_mutex_destroy(&l->lock);
    pthread_mutex_destroy(&l->flushing);
    free(l);
    return result;
}

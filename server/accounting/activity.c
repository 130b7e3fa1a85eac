#include "server/accounting/activity.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "core/base/hashtable.h"
#include "core/system/clock.h"

struct slot {
    atomic_uint_least32_t tokens, requests, errors;
    atomic_uint_least32_t first_us[HISTOGRAM_BOUNDS_MAX + 1], next_us[HISTOGRAM_BOUNDS_MAX + 1];
};

struct activity_entry {
    struct hashtable_link link;
    LIST_ENTRY(activity_entry) entry;
    struct activity *owner;
    struct activity_name name;
    int running; /* under the lock */
    struct slot slots[ACTIVITY_SLOTS];
};

struct activity {
    pthread_mutex_t lock;
    struct hashtable by_name;
    LIST_HEAD(, activity_entry) all;
    size_t count;
    atomic_int place; /* of the slot that is being filled */
    uint64_t turned_us[ACTIVITY_SLOTS];
};

int activity_new(struct activity **out, struct err *e)
{
    struct activity *a = calloc(1, sizeof *a);
    if (!a || hashtable_init(&a->by_name, e) != 0) {
        free(a);
        return err_memory(e);
    }
    pthread_mutex_init(&a->lock, NULL);
    LIST_INIT(&a->all);
    for (int i = 0; i < ACTIVITY_SLOTS; i++)
        a->turned_us[i] = clock_us();
    *out = a;
    return 0;
}

static void remove_entry(struct activity *a, struct activity_entry *t)
{
    hashtable_remove(&a->by_name, &t->link);
    LIST_REMOVE(t, entry);
    a->count--;
    free(t);
}

void activity_free(struct activity *a)
{
    struct activity_entry *t;
    if (!a)
        return;
    while ((t = LIST_FIRST(&a->all)))
        remove_entry(a, t);
    hashtable_fini(&a->by_name);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

/* ---- counting ---- */

/* FNV-1a: names were chosen by those who may have them, and there are few. */
static uint64_t hash_text(uint64_t hash, const char *text)
{
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * UINT64_C(1099511628211);
    return (hash ^ 0xff) * UINT64_C(1099511628211);
}

static uint64_t hash_name(const struct activity_name *n)
{
    uint64_t hash = UINT64_C(14695981039346656037) ^ n->tenant;
    return hash_text(hash_text(hash, n->adapter), n->version);
}

static bool same_name(const struct activity_name *a, const struct activity_name *b)
{
    return a->tenant == b->tenant && strcmp(a->adapter, b->adapter) == 0 &&
           strcmp(a->version, b->version) == 0;
}

static struct activity_entry *find_locked(struct activity *a, const struct activity_name *name, uint64_t hash)
{
    struct hashtable_link *link = hashtable_first(&a->by_name, hash);
    for (; link; link = hashtable_next(link)) {
        struct activity_entry *t = HASHTABLE_ITEM(link, struct activity_entry, link);
        if (same_name(&t->name, name))
            return t;
    }
    return NULL;
}

static struct activity_entry *add_locked(struct activity *a, const struct activity_name *name, uint64_t hash)
{
    struct activity_entry *t = a->count < ACTIVITY_ENTRIES_MAX ? calloc(1, sizeof *t) : NULL;
    if (!t)
        return NULL;
    t->owner = a;
    t->name = *name;
    hashtable_add(&a->by_name, &t->link, hash);
    LIST_INSERT_HEAD(&a->all, t, entry);
    a->count++;
    return t;
}

struct activity_entry *activity_begin(struct activity *a, const struct activity_name *name)
{
    uint64_t hash = hash_name(name);
    pthread_mutex_lock(&a->lock);
    struct activity_entry *t = find_locked(a, name, hash);
    if (!t)
        t = add_locked(a, name, hash);
    if (t)
        t->running++;
    pthread_mutex_unlock(&a->lock);
    return t;
}

static struct slot *slot_now(struct activity_entry *t)
{
    return &t->slots[atomic_load_explicit(&t->owner->place, memory_order_relaxed)];
}

static void add_one(atomic_uint_least32_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

void activity_first_token(struct activity_entry *t, uint64_t us)
{
    if (!t)
        return;
    struct slot *slot = slot_now(t);
    add_one(&slot->tokens);
    add_one(&slot->first_us[histogram_place(&histogram_times, us)]);
}

void activity_next_token(struct activity_entry *t, uint64_t us)
{
    if (!t)
        return;
    struct slot *slot = slot_now(t);
    add_one(&slot->tokens);
    add_one(&slot->next_us[histogram_place(&histogram_times, us)]);
}

void activity_end(struct activity_entry *t, bool failed)
{
    if (!t)
        return;
    struct slot *slot = slot_now(t);
    add_one(&slot->requests);
    if (failed)
        add_one(&slot->errors);
    pthread_mutex_lock(&t->owner->lock);
    t->running--;
    pthread_mutex_unlock(&t->owner->lock);
}

static bool is_empty(const struct activity_entry *t)
{
    bool empty = t->running == 0;
    for (int i = 0; i < ACTIVITY_SLOTS && empty; i++)
        empty = atomic_load(&t->slots[i].tokens) == 0 && atomic_load(&t->slots[i].requests) == 0;
    return empty;
}

/* Not by memset: a token may be counted there at this moment. */
static void clear(struct slot *s)
{
    atomic_store(&s->tokens, 0);
    atomic_store(&s->requests, 0);
    atomic_store(&s->errors, 0);
    for (int i = 0; i <= HISTOGRAM_BOUNDS_MAX; i++) {
        atomic_store(&s->first_us[i], 0);
        atomic_store(&s->next_us[i], 0);
    }
}

void activity_turn(struct activity *a)
{
    pthread_mutex_lock(&a->lock);
    int next = (atomic_load(&a->place) + 1) % ACTIVITY_SLOTS;
    struct activity_entry *t = LIST_FIRST(&a->all);
    while (t) {
        struct activity_entry *after = LIST_NEXT(t, entry);
        clear(&t->slots[next]);
        if (is_empty(t))
            remove_entry(a, t);
        t = after;
    }
    a->turned_us[next] = clock_us();
    atomic_store(&a->place, next);
    pthread_mutex_unlock(&a->lock);
}

/* ---- looking ---- */

static void sum_entry(const struct activity_entry *t, struct activity_sums *out)
{
    out->running += t->running;
    for (int i = 0; i < ACTIVITY_SLOTS; i++) {
        const struct slot *s = &t->slots[i];
        out->tokens += atomic_load_explicit(&s->tokens, memory_order_relaxed);
        out->requests += atomic_load_explicit(&s->requests, memory_order_relaxed);
        out->errors += atomic_load_explicit(&s->errors, memory_order_relaxed);
        for (int k = 0; k <= HISTOGRAM_BOUNDS_MAX; k++) {
            out->first_us[k] += atomic_load_explicit(&s->first_us[k], memory_order_relaxed);
            out->next_us[k] += atomic_load_explicit(&s->next_us[k], memory_order_relaxed);
        }
    }
}

void activity_sum(struct activity *a, uint32_t tenant, struct activity_sums *out)
{
    const struct activity_entry *t;
    *out = (struct activity_sums){0};
    pthread_mutex_lock(&a->lock);
    int oldest = (atomic_load(&a->place) + 1) % ACTIVITY_SLOTS;
    out->seconds = (double)(clock_us() - a->turned_us[oldest]) / 1e6;
    LIST_FOREACH(t, &a->all, entry)
        if (tenant == 0 || t->name.tenant == tenant)
            sum_entry(t, out);
    pthread_mutex_unlock(&a->lock);
}

/* Where it stands among `count` rows that are in order. */
static size_t place_of(const struct activity_row *rows, size_t count, int running)
{
    size_t at = count;
    while (at > 0 && rows[at - 1].running < running)
        at--;
    return at;
}

static void fill_row(const struct activity_entry *t, struct activity_row *out)
{
    *out = (struct activity_row){.name = t->name, .running = t->running};
    for (int i = 0; i < ACTIVITY_SLOTS; i++)
        out->tokens += atomic_load_explicit(&t->slots[i].tokens, memory_order_relaxed);
}

size_t activity_running(struct activity *a, uint32_t tenant, struct activity_row *out, size_t max,
                        size_t *more)
{
    const struct activity_entry *t;
    size_t count = 0, found = 0;
    pthread_mutex_lock(&a->lock);
    LIST_FOREACH(t, &a->all, entry) {
        if (t->running == 0 || (tenant && t->name.tenant != tenant))
            continue;
        found++;
        size_t at = place_of(out, count, t->running);
        if (at == max)
            continue;
        count += count < max;
        memmove(&out[at + 1], &out[at], (count - at - 1) * sizeof *out);
        fill_row(t, &out[at]);
    }
    pthread_mutex_unlock(&a->lock);
    *more = found - count;
    return count;
}

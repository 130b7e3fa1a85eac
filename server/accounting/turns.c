#include "server/accounting/turns.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <time.h>

enum { STACK_BYTES = 2 << 20 /* jansson: one frame per level of nesting */ };

struct job {
    STAILQ_ENTRY(job) next;
    void (*run)(void *arg);
    void *arg;
};

/* A tenant that has something waiting or at work, or has used more than its share of late. */
struct party {
    LIST_ENTRY(party) link;
    uint32_t tenant;
    int weight, waiting, working;
    double used; /* microseconds of the threads, divided by the weight */
    STAILQ_HEAD(, job) jobs;
};

struct turns {
    pthread_mutex_t lock;
    pthread_cond_t arrived;
    struct turns_options options;
    LIST_HEAD(, party) parties;
    double now; /* what the tenant had used whose turn was last */
    int waiting, working, thread_count;
    bool stopping;
    pthread_t threads[];
};

static double thread_us(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return 1e6 * (double)time.tv_sec + (double)time.tv_nsec / 1e3;
}

/* ---- whose turn it is ---- */

static double most_used_locked(const struct turns *t)
{
    const struct party *p;
    double most = 0;
    LIST_FOREACH(p, &t->parties, link) {
        if ((p->waiting || p->working) && p->used > most)
            most = p->used;
    }
    return most;
}

static struct party *next_locked(const struct turns *t)
{
    struct party *p, *next = NULL;
    bool last = t->thread_count - t->working == 1;
    double most = last ? most_used_locked(t) : 0;
    LIST_FOREACH(p, &t->parties, link) {
        bool may = p->waiting && (!last || !p->working || p->used < most);
        if (may && (!next || p->used < next->used))
            next = p;
    }
    return next;
}

/* What a tenant used is forgotten once the others have used as much, or nobody is left to be fair to. */
static void forget_locked(struct turns *t)
{
    struct party *p = LIST_FIRST(&t->parties), *next;
    bool quiet = t->waiting + t->working == 0;
    for (; p; p = next) {
        next = LIST_NEXT(p, link);
        if (p->waiting || p->working || (p->used > t->now && !quiet))
            continue;
        LIST_REMOVE(p, link);
        free(p);
    }
}

static void work_locked(struct turns *t, struct party *p)
{
    struct job *job = STAILQ_FIRST(&p->jobs);
    STAILQ_REMOVE_HEAD(&p->jobs, next);
    assert(p->waiting > 0 && t->waiting > 0 && t->working < t->thread_count);
    t->now = p->used > t->now ? p->used : t->now;
    p->waiting--, t->waiting--;
    p->working++, t->working++;
    pthread_mutex_unlock(&t->lock);
    double began = thread_us();
    job->run(job->arg);
    free(job);
    double used = thread_us() - began;
    pthread_mutex_lock(&t->lock);
    p->working--, t->working--;
    p->used += used / p->weight;
    forget_locked(t);
    pthread_cond_broadcast(&t->arrived); /* whoever waited for another thread to be idle */
}

static void *work(void *arg)
{
    struct turns *t = arg;
    pthread_mutex_lock(&t->lock);
    for (;;) {
        struct party *p = next_locked(t);
        if (p)
            work_locked(t, p);
        else if (t->stopping && t->waiting == 0)
            break;
        else
            pthread_cond_wait(&t->arrived, &t->lock);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

/* ---- what waits ---- */

static struct party *party_locked(struct turns *t, uint32_t tenant)
{
    struct party *p;
    LIST_FOREACH(p, &t->parties, link) {
        if (p->tenant == tenant)
            return p;
    }
    p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->tenant = tenant;
    p->used = t->now;
    STAILQ_INIT(&p->jobs);
    LIST_INSERT_HEAD(&t->parties, p, link);
    return p;
}

static int submit_locked(struct turns *t, uint32_t tenant, int weight, struct job *job, struct err *e)
{
    if (t->waiting >= t->options.waiting_max)
        return err_set(e, "queue_full", "%d requests wait to be read already, the most that may", t->waiting);
    struct party *p = party_locked(t, tenant);
    if (!p)
        return err_memory(e);
    if (p->waiting >= t->options.waiting_tenant_max)
        return err_set(e, "tenant_queue_full",
                       "%d requests of this tenant wait to be read already; at most %d may", p->waiting,
                       t->options.waiting_tenant_max);
    if (p->used < t->now) /* time that was not used is not saved up */
        p->used = t->now;
    p->weight = weight > 0 ? weight : 1;
    STAILQ_INSERT_TAIL(&p->jobs, job, next);
    p->waiting++, t->waiting++;
    pthread_cond_signal(&t->arrived);
    return 0;
}

int turns_submit(struct turns *t, uint32_t tenant, int weight, void (*run)(void *arg), void *arg,
                 struct err *e)
{
    struct job *job = malloc(sizeof *job);
    if (!job)
        return err_memory(e);
    *job = (struct job){.run = run, .arg = arg};
    pthread_mutex_lock(&t->lock);
    int result = submit_locked(t, tenant, weight, job, e);
    pthread_mutex_unlock(&t->lock);
    if (result != 0)
        free(job);
    return result;
}

void turns_look(struct turns *t, struct turns_stats *out)
{
    pthread_mutex_lock(&t->lock);
    *out = (struct turns_stats){t->waiting, t->working, t->options.waiting_max};
    pthread_mutex_unlock(&t->lock);
}

/* ---- life ---- */

static int start_thread(struct turns *t)
{
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0)
        return -1;
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_mutex_lock(&t->lock); /* it looks at how many there are */
    int result = pthread_create(&t->threads[t->thread_count], &attributes, work, t);
    if (result == 0)
        pthread_setname_np(t->threads[t->thread_count++], t->options.name);
    pthread_mutex_unlock(&t->lock);
    pthread_attr_destroy(&attributes);
    return result == 0 ? 0 : -1;
}

int turns_new(struct turns **out, const struct turns_options *options, struct err *e)
{
    struct turns *t = calloc(1, sizeof *t + (size_t)options->threads * sizeof *t->threads);
    if (!t)
        return err_memory(e);
    t->options = *options;
    LIST_INIT(&t->parties);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->arrived, NULL);
    while (t->thread_count < options->threads && start_thread(t) == 0)
        continue;
    if (t->thread_count < options->threads) {
        turns_free(t);
        return err_set(e, "out_of_memory", "cannot start %d threads \"%s\"", options->threads, options->name);
    }
    *out = t;
    return 0;
}

void turns_free(struct turns *t)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    t->stopping = true;
    pthread_cond_broadcast(&t->arrived);
    pthread_mutex_unlock(&t->lock);
    for (int i = 0; i < t->thread_count; i++)
        pthread_join(t->threads[i], NULL);
    t->now = 0;
    forget_locked(t);
    pthread_cond_destroy(&t->arrived);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

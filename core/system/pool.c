#include "core/system/pool.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { THREADS_MAX = 256, SPINS = 2000, YIELDS = 20 };

struct worker {
    struct pool *pool;
    pthread_t thread;
    int index;
};

struct pool {
    int threads;
    void (*work)(void *arg, int worker, int workers);
    void *arg;
    bool stopping;
    bool alone;             /* the caller works, nobody else */
    atomic_uint round;      /* changes when there is work */
    atomic_uint finished;   /* workers done with this round, worker 0 left out */
    atomic_uint arrived;    /* workers at the barrier */
    atomic_uint phase;      /* changes when the barrier opens */
    atomic_uint sleepers;   /* threads in futex wait */
    struct worker *workers; /* owned, [threads] */
};

static void pause_briefly(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Wait until *word is not `old`: spin, then yield, then sleep. Spinning alone would be a catastrophe on a
 * busy machine. */
static void wait_for_change(struct pool *p, atomic_uint *word, unsigned old)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(word, memory_order_acquire) != old)
            return;
        pause_briefly();
    }
    for (int i = 0; i < YIELDS; i++) {
        if (atomic_load_explicit(word, memory_order_acquire) != old)
            return;
        sched_yield();
    }
    atomic_fetch_add(&p->sleepers, 1);
    while (atomic_load(word) == old)
        syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
    atomic_fetch_sub(&p->sleepers, 1);
}

static void change(struct pool *p, atomic_uint *word)
{
    atomic_fetch_add(word, 1);
    if (atomic_load(&p->sleepers) > 0)
        syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct pool *p = w->pool;
    for (unsigned seen = 0;; seen++) {
        wait_for_change(p, &p->round, seen);
        if (p->stopping)
            return NULL;
        p->work(p->arg, w->index, p->threads);
        change(p, &p->finished);
    }
}

/* Cores worth of CPU time per second that the control group grants; 0: no limit. */
static int cgroup_quota(void)
{
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "re");
    if (!f)
        return 0;
    long quota = 0, period = 0;
    int fields = fscanf(f, "%ld %ld", &quota, &period);
    fclose(f);
    return fields == 2 && quota > 0 && period > 0 ? (int)((quota + period - 1) / period) : 0;
}

static int threads_allowed(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    int quota = cgroup_quota();
    if (quota > 0 && quota < count)
        count = quota;
    return count < 1 ? 1 : count > THREADS_MAX ? THREADS_MAX : count;
}

static int start_workers(struct pool *p, struct err *e)
{
    for (int i = 1; i < p->threads; i++) {
        p->workers[i] = (struct worker){.pool = p, .index = i};
        if (pthread_create(&p->workers[i].thread, NULL, worker_main, &p->workers[i]) != 0) {
            p->threads = i;
            return err_set(e, "out_of_memory", "cannot start compute thread %d", i);
        }
        pthread_setname_np(p->workers[i].thread, "compute");
    }
    return 0;
}

int pool_new(struct pool **out, int threads, struct err *e)
{
    struct pool *p = calloc(1, sizeof *p);
    if (!p)
        return err_memory(e);
    p->threads = threads > 0 ? threads : threads_allowed();
    p->workers = calloc((size_t)p->threads, sizeof *p->workers);
    if (!p->workers) {
        free(p);
        return err_memory(e);
    }
    if (start_workers(p, e) != 0) {
        pool_free(p);
        return -1;
    }
    *out = p;
    return 0;
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    p->stopping = true;
    change(p, &p->round);
    for (int i = 1; i < p->threads; i++)
        pthread_join(p->workers[i].thread, NULL);
    free(p->workers);
    free(p);
}

int pool_threads(const struct pool *p)
{
    return p->threads;
}

void pool_run(struct pool *p, void (*work)(void *arg, int worker, int workers), void *arg)
{
    unsigned others = (unsigned)p->threads - 1;
    p->work = work;
    p->arg = arg;
    atomic_store(&p->finished, 0);
    if (others > 0)
        change(p, &p->round);
    work(arg, 0, p->threads);
    for (unsigned done; (done = atomic_load(&p->finished)) != others;)
        wait_for_change(p, &p->finished, done);
}

void pool_run_alone(struct pool *p, void (*work)(void *arg, int worker, int workers), void *arg)
{
    p->alone = true;
    work(arg, 0, 1);
    p->alone = false;
}

void pool_barrier(struct pool *p)
{
    if (p->threads == 1 || p->alone)
        return;
    unsigned phase = atomic_load(&p->phase);
    if (atomic_fetch_add(&p->arrived, 1) + 1 < (unsigned)p->threads) {
        wait_for_change(p, &p->phase, phase);
        return;
    }
    atomic_store(&p->arrived, 0);
    change(p, &p->phase);
}

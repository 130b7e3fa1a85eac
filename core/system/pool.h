/* The compute workers: one thread per allowed core; the calling thread is worker 0. One caller at a time.
 *
 * pool_run hands every worker the same function and waits for all. Who does which share is the function's own
 * business, decided by (worker, workers) alone. */
#pragma once

#include "core/base/err.h"

struct pool;

/* `threads` workers in all, the caller among them; 0: as many as the process may use (affinity mask, cgroup
 * quota). */
MUST_USE int pool_new(struct pool **out, int threads, struct err *e);
void pool_free(struct pool *p); /* NULL is fine */
int pool_threads(const struct pool *p);
void pool_run(struct pool *p, void (*work)(void *arg, int worker, int workers), void *arg);
/* The same with the caller alone, as worker 0 of 1: for work so small that waking and waiting for others
 * takes longer. On a busy machine, much longer. */
void pool_run_alone(struct pool *p, void (*work)(void *arg, int worker, int workers), void *arg);
/* Inside a running function: wait until every worker has come here. */
void pool_barrier(struct pool *p);

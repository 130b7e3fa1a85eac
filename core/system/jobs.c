#include "core/system/jobs.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

/* jansson parses with one stack frame per level of nesting. */
enum { JOB_STACK_BYTES = 2 << 20 };

struct job {
    void (*run)(void *arg);
    void *arg;
};

struct jobs {
    pthread_mutex_t lock;
    pthread_cond_t arrived;
    struct job *ring; /* [capacity] */
    int capacity, first, count;
    bool stopping;
    int thread_count;
    pthread_t threads[];
};

static void *work(void *arg)
{
    struct jobs *j = arg;
    pthread_mutex_lock(&j->lock);
    for (;;) {
        while (j->count == 0 && !j->stopping)
            pthread_cond_wait(&j->arrived, &j->lock);
        if (j->count == 0)
            break;
        struct job job = j->ring[j->first];
        j->first = (j->first + 1) % j->capacity;
        j->count--;
        pthread_mutex_unlock(&j->lock);
        job.run(job.arg);
        pthread_mutex_lock(&j->lock);
    }
    pthread_mutex_unlock(&j->lock);
    return NULL;
}

static int start_thread(struct jobs *j, const char *name)
{
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0)
        return -1;
    pthread_attr_setstacksize(&attributes, JOB_STACK_BYTES);
    int result = pthread_create(&j->threads[j->thread_count], &attributes, work, j);
    pthread_attr_destroy(&attributes);
    if (result != 0)
        return -1;
    pthread_setname_np(j->threads[j->thread_count], name);
    j->thread_count++;
    return 0;
}

int jobs_new(struct jobs **out, const char *name, int threads, int queue_max, struct err *e)
{
    struct jobs *j = calloc(1, sizeof *j + (size_t)threads * sizeof *j->threads);
    if (!j)
        return err_memory(e);
    pthread_mutex_init(&j->lock, NULL);
    pthread_cond_init(&j->arrived, NULL);
    j->capacity = queue_max;
    j->ring = calloc((size_t)queue_max, sizeof *j->ring);
    while (j->ring && j->thread_count < threads && start_thread(j, name) == 0)
        continue;
    if (!j->ring || j->thread_count < threads) {
        jobs_free(j);
        return err_set(e, "out_of_memory", "cannot start %d threads \"%s\"", threads, name);
    }
    *out = j;
    return 0;
}

void jobs_free(struct jobs *j)
{
    if (!j)
        return;
    pthread_mutex_lock(&j->lock);
    j->stopping = true;
    pthread_cond_broadcast(&j->arrived);
    pthread_mutex_unlock(&j->lock);
    for (int i = 0; i < j->thread_count; i++)
        pthread_join(j->threads[i], NULL);
    pthread_cond_destroy(&j->arrived);
    pthread_mutex_destroy(&j->lock);
    free(j->ring);
    free(j);
}

int jobs_submit(struct jobs *j, void (*run)(void *arg), void *arg)
{
    int result = -1;
    pthread_mutex_lock(&j->lock);
    if (j->count < j->capacity && !j->stopping) {
        j->ring[(j->first + j->count) % j->capacity] = (struct job){run, arg};
        j->count++;
        result = 0;
        pthread_cond_signal(&j->arrived);
    }
    pthread_mutex_unlock(&j->lock);
    return result;
}

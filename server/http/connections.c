#include "server/http/connections.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <fcntl.h>

#include "core/system/clock.h"
#include "server/http/request.h"

enum { TICK_MS = 50, EVENTS = 64, DRAIN_BYTES = 64 << 10, DRAIN_ROUNDS = 16 };
#define LINGER_FLAG (UINT64_C(1) << 63)

struct peer {
    struct peer *next, *previous;
    struct request *request; /* not referenced: detached before its connection lets it go */
    uint64_t serial;
    _Atomic uint64_t deadline_us;
    _Atomic uint64_t body_us; /* when a part of a body came last; 0: none is arriving */
    uint64_t gone_us;         /* when the client closed its side; 0: it did not */
    int fd;
};

struct farewell {
    int fd; /* -1: free */
    uint64_t until_us;
};

struct connections {
    pthread_mutex_t lock; /* before any request's lock */
    pthread_t thread;
    int epoll;
    struct peer *first;
    uint64_t serials;
    struct farewell lingers[LINGERS_MAX];
    atomic_bool stopping;
    char drain[DRAIN_BYTES];
};

/* ---- clients that left ---- */

/* Events carry a serial number, not a pointer: the connection may be gone by the time they are looked at. */
static void client_left_locked(struct connections *w, uint64_t serial)
{
    for (struct peer *p = w->first; p; p = p->next) {
        if (p->serial != serial)
            continue;
        p->gone_us = clock_us();
        if (p->request)
            request_cancel(p->request);
        return;
    }
}

/* ---- clients that still send ---- */

static void linger_end_locked(struct connections *w, struct farewell *l)
{
    epoll_ctl(w->epoll, EPOLL_CTL_DEL, l->fd, NULL);
    close(l->fd);
    l->fd = -1;
}

static void linger_read_locked(struct connections *w, struct farewell *l)
{
    if (l->fd < 0)
        return;
    for (int i = 0; i < DRAIN_ROUNDS; i++) {
        ssize_t n = recv(l->fd, w->drain, sizeof w->drain, MSG_DONTWAIT);
        if (n > 0)
            continue;
        if (n == 0)
            linger_end_locked(w, l);
        return;
    }
}

void connections_linger(struct connections *w, const struct peer *p)
{
    pthread_mutex_lock(&w->lock);
    struct farewell *l = w->lingers;
    while (l < w->lingers + LINGERS_MAX && l->fd >= 0)
        l++;
    int fd = l < w->lingers + LINGERS_MAX ? fcntl(p->fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (fd >= 0) {
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = LINGER_FLAG | (uint64_t)(l - w->lingers)};
        shutdown(fd, SHUT_WR);
        *l = (struct farewell){fd, clock_us() + LINGER_MS * UINT64_C(1000)};
        if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
            linger_end_locked(w, l);
    }
    pthread_mutex_unlock(&w->lock);
}

/* ---- deadlines ---- */

static bool overdue_locked(const struct peer *p, uint64_t now)
{
    uint64_t deadline = atomic_load(&p->deadline_us), body = atomic_load(&p->body_us);
    if (deadline && now >= deadline)
        return true;
    uint64_t last = body > p->gone_us ? body : p->gone_us;
    return body && p->gone_us && now >= last + DEADLINE_GONE_MS * UINT64_C(1000);
}

static void sign_of_life_locked(struct peer *p, uint64_t now)
{
    struct request *r = p->request;
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    bool due = r->keepalive_due_us && now >= r->keepalive_due_us && r->suspended;
    pthread_mutex_unlock(&r->lock);
    if (due)
        request_wake(r);
}

static void check_times_locked(struct connections *w, uint64_t now)
{
    for (struct peer *p = w->first; p; p = p->next) {
        if (overdue_locked(p, now)) {
            connections_deadline(p, 0);
            shutdown(p->fd, SHUT_RDWR);
        }
        sign_of_life_locked(p, now);
    }
    for (struct farewell *l = w->lingers; l < w->lingers + LINGERS_MAX; l++)
        if (l->fd >= 0 && now >= l->until_us)
            linger_end_locked(w, l);
}

static void *run(void *arg)
{
    struct connections *w = arg;
    struct epoll_event events[EVENTS];
    uint64_t next = 0;
    while (!atomic_load(&w->stopping)) {
        int count = epoll_wait(w->epoll, events, EVENTS, TICK_MS);
        uint64_t now = clock_us();
        pthread_mutex_lock(&w->lock);
        for (int i = 0; i < count; i++) {
            if (events[i].data.u64 & LINGER_FLAG)
                linger_read_locked(w, &w->lingers[events[i].data.u64 & ~LINGER_FLAG]);
            else
                client_left_locked(w, events[i].data.u64);
        }
        if (now >= next) {
            check_times_locked(w, now);
            next = now + TICK_MS * UINT64_C(1000);
        }
        pthread_mutex_unlock(&w->lock);
    }
    return NULL;
}

/* ---- connections ---- */

struct peer *connections_add(struct connections *w, int fd)
{
    struct peer *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->fd = fd;
    connections_deadline(p, clock_us() + DEADLINE_HEADERS_MS * UINT64_C(1000));
    pthread_mutex_lock(&w->lock);
    p->serial = ++w->serials;
    p->next = w->first;
    if (p->next)
        p->next->previous = p;
    w->first = p;
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLET, .data.u64 = p->serial};
    int result = epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &event);
    pthread_mutex_unlock(&w->lock);
    if (result == 0)
        return p;
    connections_remove(w, p);
    return NULL;
}

void connections_remove(struct connections *w, struct peer *p)
{
    pthread_mutex_lock(&w->lock);
    epoll_ctl(w->epoll, EPOLL_CTL_DEL, p->fd, NULL);
    if (p->previous)
        p->previous->next = p->next;
    else
        w->first = p->next;
    if (p->next)
        p->next->previous = p->previous;
    pthread_mutex_unlock(&w->lock);
    free(p);
}

void connections_attach(struct connections *w, struct peer *p, struct request *r)
{
    pthread_mutex_lock(&w->lock);
    p->request = r;
    if (r && p->gone_us)
        request_cancel(r);
    pthread_mutex_unlock(&w->lock);
}

void connections_deadline(struct peer *p, uint64_t at_us)
{
    atomic_store(&p->body_us, 0);
    atomic_store(&p->deadline_us, at_us);
}

void connections_body_deadline(struct peer *p, uint64_t at_us)
{
    atomic_store(&p->body_us, clock_us());
    atomic_store(&p->deadline_us, at_us);
}

void connections_deadline_at_most(struct peer *p, uint64_t at_us)
{
    uint64_t deadline = atomic_load(&p->deadline_us);
    if (!deadline || deadline > at_us)
        connections_deadline(p, at_us);
}

int connections_fd(const struct peer *p)
{
    return p->fd;
}

void connections_cancel_all(struct connections *w)
{
    pthread_mutex_lock(&w->lock);
    for (struct peer *p = w->first; p; p = p->next)
        if (p->request)
            request_cancel(p->request);
    pthread_mutex_unlock(&w->lock);
}

void connections_cut_all(struct connections *w)
{
    pthread_mutex_lock(&w->lock);
    for (struct peer *p = w->first; p; p = p->next)
        shutdown(p->fd, SHUT_RDWR);
    pthread_mutex_unlock(&w->lock);
}

int connections_new(struct connections **out, struct err *e)
{
    struct connections *w = calloc(1, sizeof *w);
    if (!w)
        return err_memory(e);
    for (int i = 0; i < LINGERS_MAX; i++)
        w->lingers[i].fd = -1;
    pthread_mutex_init(&w->lock, NULL);
    w->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (w->epoll < 0 || pthread_create(&w->thread, NULL, run, w) != 0) {
        err_errno(e, "cannot start the connection watch");
        if (w->epoll >= 0)
            close(w->epoll);
        free(w);
        return -1;
    }
    pthread_setname_np(w->thread, "watch");
    *out = w;
    return 0;
}

void connections_free(struct connections *w)
{
    if (!w)
        return;
    atomic_store(&w->stopping, true);
    pthread_join(w->thread, NULL);
    for (int i = 0; i < LINGERS_MAX; i++)
        if (w->lingers[i].fd >= 0)
            close(w->lingers[i].fd);
    close(w->epoll);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

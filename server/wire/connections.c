#include "server/wire/connections.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/system/clock.h"
#include "server/wire/places.h"
#include "server/wire/receive.h"

enum { EVENTS = 64, DRAIN_BYTES = 64 << 10, DRAIN_ROUNDS = 16 };
#define LINGER_FLAG (UINT64_C(1) << 63)

struct connection {
    TAILQ_ENTRY(connection) link;
    struct place place;
    const struct connection_user *user; /* NULL: it is idle */
    void *arg;                          /* not referenced: detached before its connection lets it go */
    struct strict strict; /* what came of it, and how many requests of that are known to the user */
    uint32_t requests;
    uint64_t serial;
    _Atomic uint64_t deadline_us;
    _Atomic uint64_t body_us; /* when a part of a body came last; 0: none is arriving */
    uint64_t gone_us;         /* when the client closed its side; 0: it did not */
    int fd;
};

struct lingering {
    int fd; /* -1: free */
    uint64_t until_us;
};

struct connections {
    pthread_mutex_t lock; /* before any request's lock */
    pthread_t thread;
    int epoll;
    TAILQ_HEAD(, connection) all;
    struct places places;
    uint64_t serials, crowded_out;
    struct lingering lingers[LINGERS_MAX];
    atomic_bool stopping;
    char drain[DRAIN_BYTES];
};

/* ---- clients that left ---- */

static void leave_locked(struct connection *x)
{
    if (x->user)
        x->user->left(x->arg);
}

/* Events carry a serial number, not a pointer: the connection may be gone by the time they are looked at. */
static void client_left_locked(struct connections *c, uint64_t serial)
{
    struct connection *x;
    TAILQ_FOREACH(x, &c->all, link) {
        if (x->serial != serial)
            continue;
        x->gone_us = clock_us();
        leave_locked(x);
        return;
    }
}

/* ---- clients that still send ---- */

static void linger_end_locked(struct connections *c, struct lingering *l)
{
    epoll_ctl(c->epoll, EPOLL_CTL_DEL, l->fd, NULL);
    close(l->fd);
    l->fd = -1;
}

static void linger_read_locked(struct connections *c, struct lingering *l)
{
    if (l->fd < 0)
        return;
    for (int i = 0; i < DRAIN_ROUNDS; i++) {
        ssize_t n = recv(l->fd, c->drain, sizeof c->drain, MSG_DONTWAIT);
        if (n > 0)
            continue;
        if (n == 0)
            linger_end_locked(c, l);
        return;
    }
}

void connections_linger(struct connections *c, const struct connection *x)
{
    pthread_mutex_lock(&c->lock);
    struct lingering *l = c->lingers;
    while (l < c->lingers + LINGERS_MAX && l->fd >= 0)
        l++;
    int fd = l < c->lingers + LINGERS_MAX ? fcntl(x->fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (fd >= 0) {
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = LINGER_FLAG | (uint64_t)(l - c->lingers)};
        shutdown(fd, SHUT_WR);
        *l = (struct lingering){fd, clock_us() + LINGER_MS * UINT64_C(1000)};
        if (epoll_ctl(c->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
            linger_end_locked(c, l);
    }
    pthread_mutex_unlock(&c->lock);
}

/* ---- deadlines ---- */

static bool overdue_locked(const struct connection *x, uint64_t now)
{
    uint64_t deadline = atomic_load(&x->deadline_us), body = atomic_load(&x->body_us);
    if (deadline && now >= deadline)
        return true;
    uint64_t last = body > x->gone_us ? body : x->gone_us;
    return body && x->gone_us && now >= last + DEADLINE_GONE_MS * UINT64_C(1000);
}

static void check_times_locked(struct connections *c, uint64_t now)
{
    struct connection *x;
    TAILQ_FOREACH(x, &c->all, link) {
        if (overdue_locked(x, now)) {
            connections_deadline(x, 0);
            shutdown(x->fd, SHUT_RDWR);
        }
        if (x->user)
            x->user->look(x->arg, now);
    }
    for (struct lingering *l = c->lingers; l < c->lingers + LINGERS_MAX; l++)
        if (l->fd >= 0 && now >= l->until_us)
            linger_end_locked(c, l);
}

static void *run(void *arg)
{
    struct connections *c = arg;
    struct epoll_event events[EVENTS];
    uint64_t next = 0;
    while (!atomic_load(&c->stopping)) {
        int count = epoll_wait(c->epoll, events, EVENTS, CONNECTIONS_TICK_MS);
        uint64_t now = clock_us();
        pthread_mutex_lock(&c->lock);
        for (int i = 0; i < count; i++) {
            if (events[i].data.u64 & LINGER_FLAG)
                linger_read_locked(c, &c->lingers[events[i].data.u64 & ~LINGER_FLAG]);
            else
                client_left_locked(c, events[i].data.u64);
        }
        if (now >= next) {
            check_times_locked(c, now);
            next = now + CONNECTIONS_TICK_MS * UINT64_C(1000);
        }
        pthread_mutex_unlock(&c->lock);
    }
    return NULL;
}

/* ---- connections ---- */

/* libmicrohttpd finds it closed, and gives its place back. */
static void make_room_locked(struct connections *c, const struct connection *newcomer)
{
    struct place *crowded = places_crowded(&c->places, &newcomer->place);
    if (!crowded)
        return;
    struct connection *x = (struct connection *)((char *)crowded - offsetof(struct connection, place));
    shutdown(x->fd, SHUT_RDWR);
    c->crowded_out++;
}

struct connection *connections_add(struct connections *c, int fd, const struct sockaddr *from)
{
    struct connection *x = calloc(1, sizeof *x);
    if (!x)
        return NULL;
    x->fd = fd;
    connections_deadline(x, clock_us() + DEADLINE_HEADERS_MS * UINT64_C(1000));
    pthread_mutex_lock(&c->lock);
    x->serial = ++c->serials;
    TAILQ_INSERT_HEAD(&c->all, x, link);
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLET, .data.u64 = x->serial};
    int result = epoll_ctl(c->epoll, EPOLL_CTL_ADD, fd, &event);
    places_take(&c->places, &x->place, from);
    make_room_locked(c, x);
    pthread_mutex_unlock(&c->lock);
    if (result == 0 && receive_watch(fd, &x->strict) == 0)
        return x;
    connections_remove(c, x);
    return NULL;
}

void connections_remove(struct connections *c, struct connection *x)
{
    receive_unwatch(x->fd);
    pthread_mutex_lock(&c->lock);
    epoll_ctl(c->epoll, EPOLL_CTL_DEL, x->fd, NULL);
    TAILQ_REMOVE(&c->all, x, link);
    places_give(&c->places, &x->place);
    pthread_mutex_unlock(&c->lock);
    free(x);
}

void connections_attach(struct connections *c, struct connection *x, const struct connection_user *user,
                        void *arg)
{
    pthread_mutex_lock(&c->lock);
    x->user = user;
    x->arg = arg;
    places_set_idle(&c->places, &x->place, !user);
    if (x->gone_us)
        leave_locked(x);
    pthread_mutex_unlock(&c->lock);
}

void connections_known(struct connections *c, struct connection *x)
{
    pthread_mutex_lock(&c->lock);
    places_set_known(&c->places, &x->place);
    pthread_mutex_unlock(&c->lock);
}

uint64_t connections_crowded_out(struct connections *c)
{
    pthread_mutex_lock(&c->lock);
    uint64_t count = c->crowded_out;
    pthread_mutex_unlock(&c->lock);
    return count;
}

void connections_deadline(struct connection *x, uint64_t at_us)
{
    atomic_store(&x->body_us, 0);
    atomic_store(&x->deadline_us, at_us);
}

void connections_body_deadline(struct connection *x, uint64_t at_us)
{
    atomic_store(&x->body_us, clock_us());
    atomic_store(&x->deadline_us, at_us);
}

void connections_deadline_at_most(struct connection *x, uint64_t at_us)
{
    uint64_t deadline = atomic_load(&x->deadline_us);
    if (!deadline || deadline > at_us)
        connections_deadline(x, at_us);
}

void connections_next(struct connection *x)
{
    x->requests++;
}

const char *connections_problem(const struct connection *x)
{
    return strict_problem(&x->strict, x->requests);
}

int connections_fd(const struct connection *x)
{
    return x->fd;
}

void connections_cancel_all(struct connections *c)
{
    pthread_mutex_lock(&c->lock);
    struct connection *x;
    TAILQ_FOREACH(x, &c->all, link)
        leave_locked(x);
    pthread_mutex_unlock(&c->lock);
}

void connections_cut_all(struct connections *c)
{
    pthread_mutex_lock(&c->lock);
    struct connection *x;
    TAILQ_FOREACH(x, &c->all, link)
        shutdown(x->fd, SHUT_RDWR);
    pthread_mutex_unlock(&c->lock);
}

int connections_new(struct connections **out, const struct connections_options *options, struct err *e)
{
    struct connections *c = calloc(1, sizeof *c);
    if (!c)
        return err_memory(e);
    if (places_init(&c->places, options->max, options->address_max, e) != 0) {
        free(c);
        return -1;
    }
    for (int i = 0; i < LINGERS_MAX; i++)
        c->lingers[i].fd = -1;
    TAILQ_INIT(&c->all);
    pthread_mutex_init(&c->lock, NULL);
    c->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (c->epoll < 0 || pthread_create(&c->thread, NULL, run, c) != 0) {
        err_errno(e, "cannot look after connections");
        if (c->epoll >= 0)
            close(c->epoll);
        places_fini(&c->places);
        free(c);
        return -1;
    }
    pthread_setname_np(c->thread, "connections");
    *out = c;
    return 0;
}

void connections_free(struct connections *c)
{
    if (!c)
        return;
    atomic_store(&c->stopping, true);
    pthread_join(c->thread, NULL);
    for (int i = 0; i < LINGERS_MAX; i++)
        if (c->lingers[i].fd >= 0)
            close(c->lingers[i].fd);
    close(c->epoll);
    places_fini(&c->places);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

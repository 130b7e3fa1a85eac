/* Looks after connections where libmicrohttpd does not: deadlines of slow clients, clients that left while
 * their connection is suspended, and the last words to clients that are still sending. One thread of its own;
 * any thread may call. It cuts a connection by shutdown() on its socket, never by closing it. */
#pragma once
#include <stdint.h>

#include "core/base/err.h"

struct connections;
struct connection;

/* Who is busy on a connection. Called under the lock of the connections, by their thread or by whoever
 * cancels all. */
struct connection_user {
    void (*left)(void *arg);                  /* its client has closed its side, or everything ends */
    void (*look)(void *arg, uint64_t now_us); /* every CONNECTIONS_TICK_MS or so */
};

enum {
    CONNECTIONS_SPARE = 64, /* more than the limit, for those that are being closed */
    CONNECTIONS_TICK_MS = 50,
    DEADLINE_HEADERS_MS = 5000, /* from accept, or from a later request line, to the end of the headers */
    DEADLINE_BODY_MS = 10000,   /* and one second per BODY_RATE_MIN bytes that came */
    DEADLINE_WRITE_MS =
        30000, /* a client that does not read; and one second per BODY_RATE_MIN bytes of answer */
    DEADLINE_IDLE_MS = 75000, /* between two requests */
    DEADLINE_GONE_MS = 1000,  /* for the rest of a body whose client closed its side */
    BODY_RATE_MIN = 64 << 10, /* bytes per second */
    KEEPALIVE_MS = 10000,     /* a comment in a stream that has nothing to say */
    LINGER_MS = 5000,
    LINGERS_MAX = 64
};

struct connections_options {
    int max, address_max; /* places.h */
};

MUST_USE int connections_new(struct connections **out, const struct connections_options *options,
                             struct err *e);
void connections_free(struct connections *c);

struct sockaddr;

/* A connection was accepted: look after its socket. Where there are too many, one that is idle is closed.
 * NULL when memory ran out. */
struct connection *connections_add(struct connections *c, int fd, const struct sockaddr *from);
/* It has shown a key that is good. */
void connections_known(struct connections *c, struct connection *x);
/* How many were closed because there were too many. */
uint64_t connections_crowded_out(struct connections *c);
/* It is about to be closed. */
void connections_remove(struct connections *c, struct connection *x);
/* Who the connection is busy for from now on; NULL: nobody. `left` is called at once where its client already
 * has. */
void connections_attach(struct connections *c, struct connection *x, const struct connection_user *user,
                        void *arg);
/* Cut the connection at that time of clock_us(); 0: no deadline. */
void connections_deadline(struct connection *x, uint64_t at_us);
/* The same while a body is arriving, and cut DEADLINE_GONE_MS after the last of it when its client has closed
 * its side: what is not in the socket by then never comes. libmicrohttpd can miss an end that comes together
 * with data. */
void connections_body_deadline(struct connection *x, uint64_t at_us);
/* Shorten the time that is left. */
void connections_deadline_at_most(struct connection *x, uint64_t at_us);
int connections_fd(const struct connection *x);
/* The thread that receives from it: another request has begun; what is wrong with the bytes of this one, as
 * far as they came. NULL: nothing. */
void connections_next(struct connection *x);
const char *connections_problem(const struct connection *x);
/* The connection closes while its client may still be sending: read and drop for LINGER_MS, so that the
 * answer is not lost to a reset. */
void connections_linger(struct connections *c, const struct connection *x);

void connections_cancel_all(struct connections *c); /* every request under way */
void connections_cut_all(struct connections *c);    /* every connection */

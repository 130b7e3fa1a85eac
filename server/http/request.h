/* One HTTP request, from its first line to the end of its answer. Reference-counted: the connection holds one
 * reference, each thing under way on another thread one more; request_unref is the one cleanup.
 *
 * Handlers run once the body is complete. A handler ends in exactly one reply_*, or calls request_hold and
 * lets another thread go on, which ends in request_wake (reply_* wakes too). Only http.c touches the
 * connection. */
#pragma once
#include <jansson.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "adapters/types/usage.h"
#include "core/base/buf.h"
#include "core/base/err.h"
#include "server/http/cors.h"
#include "server/http/etag.h"
#include "server/http/query.h"
#include "server/accounting/ratelimit.h"
#include "server/base/trace.h"
#include "server/http/route.h"
#include "server/http/server.h"

struct connection;
struct activity_entry;
struct usage_entry;

enum { REQUEST_PATH_BYTES_MAX = 2048 };

/* More headers of an answer, static; behind the last stands one without a name. */
struct reply_header {
    const char *name, *value;
};

/* What goes out; filled by reply.c. */
struct reply {
    bool ready;
    int status;
    struct buf body;
    ssize_t (*stream)(struct request *r, char *out, size_t max); /* instead of a body: see reply_stream */
    uint64_t stream_bytes;                                       /* its Content-Length; 0: not known */
    const char *content_type;
    const struct reply_header *more; /* NULL: none */
    char adapter_version[80];        /* X-Adapter-Version; empty: none */
    char etag[ETAG_BYTES];           /* with its quotes; empty: none */
    char allow[64];
    int retry_s; /* Retry-After; 0: none */
    bool challenge, no_store, close;
};

/* Of a body that is coming. */
struct request_coming {
    bool has_body, expect_continue;
    bool discard;           /* it was refused: what still comes is dropped */
    int64_t content_length; /* -1: chunked */
    uint64_t received;      /* bytes */
    uint64_t charged;       /* of these, counted as memory of the tenant and of all */
    uint64_t clock_us;      /* when it began, moved on by the time spent waiting for ourselves */
};

/* How far a request is on the HTTP thread. */
struct request_progress {
    bool begun;          /* its headers are complete */
    bool active;         /* it is one of server.active */
    bool handled;        /* its handler was called */
    bool answered_early; /* by hand, while the body was coming */
    bool counted;        /* counters.h */
};

/* Who let a request in and holds something for it: a place, a share, memory. */
struct request_holder {
    void (*answered)(struct request *r, int status); /* an answer without a stream is about to go out */
    void (*ended)(struct request *r);                /* the request is about to be freed */
};

struct request_held {
    const struct request_holder *by; /* NULL: nothing was taken yet */
    int upload_slot;                 /* 0: none */
    struct ticket ticket;            /* limits.h */
    struct usage_entry *usage;       /* to be counted when it ends; owned; NULL: nothing, or it was counted */
    struct activity_entry *activity; /* it is one of those that run; NULL: it is not */
};

/* A connection that waits for other threads. */
struct request_waits {
    bool pending;   /* another thread is at work for this request */
    bool suspended; /* and its connection waits */
    bool cancelled; /* the client left, or the daemon ends */
    uint64_t suspended_us;
    uint64_t keepalive_due_us; /* of a sleeping stream: when a sign of life is due; 0: not a stream */
};

struct request {
    struct server *server;
    atomic_int refs;
    pthread_mutex_t lock;
    struct MHD_Connection *connection; /* NULL once it is gone; HTTP thread */
    struct connection *peer;
    char id[REQUEST_ID_BYTES];
    double began_ms;
    struct trace trace; /* that its client says it is a part of */

    char method[16];
    char path[REQUEST_PATH_BYTES_MAX]; /* raw, without the query */
    struct query query;
    char *if_match, *if_none_match; /* owned; NULL: not sent */
    bool wants_page;                /* its client is a browser: HTML before JSON */
    bool takes_gzip;                /* its client may be sent what is compressed */
    struct cors cors;
    struct route_match match;
    struct caller caller;
    struct tenant_row
        tenant; /* whose request it is; number 0: not known (yet), its id is for the log alone */

    struct buf body;
    struct request_coming coming;
    struct request_progress progress; /* HTTP thread */
    struct reply reply;
    struct request_held held;
    struct request_waits waits; /* under `lock` */

    void (*resume)(struct request *r);    /* on the HTTP thread after a wake without a reply */
    void (*on_cancel)(struct request *r); /* any thread, without the lock */
    void *task;                           /* the handler's own, freed with the request */
    void (*task_free)(void *task);
};

struct request *request_new(struct server *s, const char *uri);
void request_ref(struct request *r);
void request_unref(struct request *r);

/* It is what this connection is busy with, from now on. */
void request_attach(struct request *r, struct connections *all, struct connection *connection);
/* The body is arriving: when it must be complete, by what came of it so far. */
void request_body_deadline(struct request *r);

/* Another thread goes on with this request: takes a reference for it. */
void request_hold(struct request *r);
/* That thread is done for now; request_unref is still to be called. */
void request_wake(struct request *r);
/* HTTP thread, with r->lock held, nothing pending, from inside a stream's read: wait for request_wake. */
void request_sleep_locked(struct request *r);
/* The client left or the daemon ends; on_cancel is called the first time. */
void request_cancel(struct request *r);
bool request_cancelled(struct request *r);

/* Run `work` on a job thread, holding the request; it ends in a reply, a request_wake or in passing the
 * request on. -1: the queue is full, nothing happened. */
int request_defer(struct request *r, struct jobs *jobs, void (*work)(struct request *r));

/* The same on a thread for text, when it is the turn of the request's tenant. "tenant_queue_full",
 * "queue_full", "out_of_memory": nothing happened. */
MUST_USE int request_take_turn(struct request *r, void (*work)(struct request *r), struct err *e);

/* Fills r->tenant, whose things are meant: the key's tenant, or what an admin named in the body (`named`, may
 * be NULL) or the query. Admission did where the headers say it; a body takes time, in which a tenant may be
 * deleted and its id pass to another. Errors: "tenant_required", "tenant_conflict", "forbidden",
 * "tenant_not_found". */
MUST_USE int request_tenant(struct request *r, const char *named, struct err *e);
/* Is it still there, after something that took a while? "tenant_not_found" */
MUST_USE int request_tenant_again(struct request *r, struct err *e);
/* The same, named in the field "tenant" of a JSON body. */
MUST_USE int request_body_tenant(struct request *r, const json_t *body, struct err *e);

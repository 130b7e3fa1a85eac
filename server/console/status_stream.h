/* Who follows the status as it changes: an event every second, made when the client takes it, so that a slow
 * one skips what it missed. A stream ends with its key. */
#pragma once
#include "core/base/err.h"

struct request;
struct status_streams;

enum {
    STATUS_STREAMS_MAX = 64,
    STATUS_STREAMS_TENANT_MAX = 8
}; /* of all tenants, or of admins; of one tenant */

MUST_USE int status_streams_new(struct status_streams **out, struct err *e);
void status_streams_free(struct status_streams *s); /* no stream is left; NULL is fine */
/* Another second. Any thread, without a lock; NULL is fine. */
void status_streams_notify(struct status_streams *s);
/* The daemon stops: all streams end. */
void status_streams_stop(struct status_streams *s);
/* The handler's end. "too_many_in_flight" */
MUST_USE int status_stream_start(struct request *r, struct err *e);

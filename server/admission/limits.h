/* Who may run an inference now: the share of the queue, the quotas of requests and tokens. The bridge from a
 * request to the meter; each request that is let in holds a ticket until its run is over. Any thread.
 *
 *   limits_admit -> limits_take -> limits_submitted -> limits_settle
 *
 * and limits_leave from anywhere: what ends otherwise gives everything back. */
#pragma once
#include "adapters/types/usage.h"
#include "server/http/request.h"

/* Before the body, where the headers tell whose request it is; otherwise once its body did. Sets what
 * Retry-After says. Errors: "tenant_queue_full", "too_many_in_flight", "rate_limited". */
MUST_USE int limits_admit(struct request *r, struct err *e);
/* The whole daemon: "queue_full". */
MUST_USE int limits_admit_any(struct request *r, struct err *e);
/* What it may use is known. "rate_limited" */
MUST_USE int limits_take(struct request *r, int64_t tokens, struct err *e);
void limits_submitted(struct request *r);
void limits_settle(struct request *r, int64_t used);
void limits_leave(struct request *r);

/* Each request whose tenant is known is counted once: by its run, or by the answer that refuses it. */
void limits_name(struct request *r, const char *adapter, const char *version);
/* It is known what serves it: from now on, until it is over, it is one of those that run (activity.h). */
void limits_begin(struct request *r);
void limits_over(struct request *r, bool failed);
/* `tokens` NULL: none. Counted already: nothing. */
void limits_count(struct request *r, const int64_t tokens[USAGE_KINDS], bool failed);

/* The headers x-ratelimit-* of an answer; `add` is called for each. */
void limits_headers(struct request *r, void (*add)(void *arg, const char *name, const char *value),
                    void *arg);

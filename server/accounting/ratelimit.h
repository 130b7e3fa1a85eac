/* What each tenant has under way at this moment: requests, tokens of the last minute, bodies. Owns a small
 * entry for each tenant that has any; any thread may call, nothing waits. Knows no requests and no clock:
 * times are microseconds of a clock that never goes back.
 *
 * Tokens are a bucket that holds one minute's worth and is filled evenly. A request is let in while there is
 * at least one token, takes all that it may use, also more than there is, and gives back what it did not
 * use: so a large one is never refused for ever, and the time to wait is known. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "adapters/types/quota.h"
#include "core/base/err.h"

struct ratelimit;

/* One request's place; in the caller's storage, zero-initialized; touched by these functions alone. */
struct ticket {
    bool known;  /* whose it is */
    bool open;   /* it counts as under way */
    bool coming; /* and is not in the engine yet */
    uint32_t tenant;
    struct quota quota; /* as it was when the request came */
    int64_t taken;      /* tokens */
};

struct ratelimit_state {
    int64_t requests_left; /* QUOTA_UNSET: no limit */
    int64_t tokens_left;   /* QUOTA_UNSET: no limit; never below 0 */
    uint64_t full_us;      /* until all tokens are there again */
};

MUST_USE int ratelimit_new(struct ratelimit **out, struct err *e);
void ratelimit_free(struct ratelimit *m); /* every ticket is closed; NULL is fine */

/* Open the ticket. Errors: "too_many_in_flight", "rate_limited", then *wait_us is how long it takes until
 * there is a token; "out_of_memory". */
MUST_USE int ratelimit_open(struct ratelimit *m, struct ticket *t, uint32_t tenant, const struct quota *quota,
                            uint64_t now_us, uint64_t *wait_us, struct err *e);
/* So many tokens may be used. "rate_limited" when others took them since. */
MUST_USE int ratelimit_take(struct ratelimit *m, struct ticket *t, int64_t tokens, uint64_t now_us,
                            uint64_t *wait_us, struct err *e);
/* The engine has it: it waits there from now on. */
void ratelimit_submitted(struct ratelimit *m, struct ticket *t);
/* It is over and used so many tokens. Closed already: nothing. */
void ratelimit_close(struct ratelimit *m, struct ticket *t, int64_t used, uint64_t now_us);

/* So many bytes of its bodies come into memory; no more than `limit` together. "tenant_queue_full" (nothing
 * was added), "out_of_memory". */
MUST_USE int ratelimit_add_body(struct ratelimit *m, uint32_t tenant, uint64_t bytes, uint64_t limit,
                                uint64_t now_us, struct err *e);
void ratelimit_remove_body(struct ratelimit *m, uint32_t tenant, uint64_t bytes);

/* Requests that are let in and not in the engine yet: of this tenant, of all. */
void ratelimit_coming(struct ratelimit *m, uint32_t tenant, int *of_tenant, int *of_all);
void ratelimit_look(struct ratelimit *m, const struct ticket *t, uint64_t now_us,
                    struct ratelimit_state *out);

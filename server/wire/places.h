/* Who has a place among the connections, and who is asked to go when there are too many: first an idle one of
 * an address that has more than its share of those that have shown no key; then, when all places are taken,
 * the one without a key that is idle longest, and then the one with a key. Who is busy stays. What has shown
 * a key counts for no address, so a proxy's connections are not its clients' loss.
 *
 * Owns an entry for each address; the caller locks. Knows no sockets. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "core/base/hashtable.h"

struct place_address;

/* Of one connection, in the caller's storage; zeros before places_take. */
struct place {
    TAILQ_ENTRY(place) link;       /* while it is idle */
    struct place_address *address; /* NULL: it counts for none */
    bool known;                    /* it has shown a key */
    bool idle, closing;
};

struct places {
    int max, address_max; /* address_max 0: no limit */
    int taken;
    TAILQ_HEAD(place_list, place) strangers, known; /* idle ones, the longest first */
    struct hashtable addresses;
    uint64_t seed;
};

MUST_USE int places_init(struct places *p, int max, int address_max, struct err *e);
void places_fini(struct places *p); /* every place was given back */

/* A connection came, and is idle. NULL `from`, or no memory: it counts for no address. */
void places_take(struct places *p, struct place *x, const struct sockaddr *from);
void places_give(struct places *p, struct place *x);
void places_set_idle(struct places *p, struct place *x, bool idle);
void places_set_known(struct places *p, struct place *x);
/* Whom to close now that `newcomer` has a place; NULL: nobody need go, or nobody can. Never the same
 * again. */
struct place *places_crowded(struct places *p, const struct place *newcomer);

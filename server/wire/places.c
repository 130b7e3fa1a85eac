#include "server/wire/places.h"

#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/sha256.h"

enum { ADDRESS_BYTES = 16, NETWORK_BYTES = 8 /* of IPv6: what one subscriber has is a /64 */ };

struct place_address {
    struct hashtable_link link;
    uint8_t bytes[ADDRESS_BYTES]; /* IPv4 as IPv6 has it */
    int strangers;
};

int places_init(struct places *p, int max, int address_max, struct err *e)
{
    *p = (struct places){.max = max, .address_max = address_max};
    TAILQ_INIT(&p->strangers);
    TAILQ_INIT(&p->known);
    random_bytes(&p->seed, sizeof p->seed);
    return hashtable_init(&p->addresses, e);
}

void places_fini(struct places *p)
{
    assert(p->taken == 0 && p->addresses.count == 0);
    hashtable_fini(&p->addresses);
}

/* ---- addresses ---- */

/* -1: neither IPv4 nor IPv6. */
static int read_address(const struct sockaddr *from, uint8_t out[ADDRESS_BYTES])
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    memset(out, 0, ADDRESS_BYTES);
    if (from && from->sa_family == AF_INET) {
        memcpy(out, mapped, sizeof mapped);
        memcpy(out + sizeof mapped, &((const struct sockaddr_in *)from)->sin_addr, 4);
        return 0;
    }
    if (!from || from->sa_family != AF_INET6)
        return -1;
    const uint8_t *bytes = ((const struct sockaddr_in6 *)from)->sin6_addr.s6_addr;
    memcpy(out, bytes, memcmp(bytes, mapped, sizeof mapped) == 0 ? ADDRESS_BYTES : NETWORK_BYTES);
    return 0;
}

static uint64_t hash_of(const struct places *p, const uint8_t bytes[ADDRESS_BYTES])
{
    uint64_t hash = p->seed;
    for (int i = 0; i < ADDRESS_BYTES; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3); /* FNV-1a */
    return hash;
}

static struct place_address *find_or_add(struct places *p, const struct sockaddr *from)
{
    uint8_t bytes[ADDRESS_BYTES];
    if (read_address(from, bytes) != 0)
        return NULL;
    uint64_t hash = hash_of(p, bytes);
    for (struct hashtable_link *l = hashtable_first(&p->addresses, hash); l; l = hashtable_next(l)) {
        struct place_address *a = HASHTABLE_ITEM(l, struct place_address, link);
        if (memcmp(a->bytes, bytes, ADDRESS_BYTES) == 0)
            return a;
    }
    struct place_address *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    memcpy(a->bytes, bytes, ADDRESS_BYTES);
    hashtable_add(&p->addresses, &a->link, hash);
    return a;
}

static void leave_address(struct places *p, struct place *x)
{
    struct place_address *a = x->address;
    x->address = NULL;
    if (!a || --a->strangers > 0)
        return;
    hashtable_remove(&p->addresses, &a->link);
    free(a);
}

/* ---- places ---- */

static struct place_list *list_of(struct places *p, const struct place *x)
{
    return x->known ? &p->known : &p->strangers;
}

void places_set_idle(struct places *p, struct place *x, bool idle)
{
    if (x->closing || x->idle == idle)
        return;
    x->idle = idle;
    if (idle)
        TAILQ_INSERT_TAIL(list_of(p, x), x, link);
    else
        TAILQ_REMOVE(list_of(p, x), x, link);
}

void places_take(struct places *p, struct place *x, const struct sockaddr *from)
{
    p->taken++;
    x->address = find_or_add(p, from);
    if (x->address)
        x->address->strangers++;
    places_set_idle(p, x, true);
}

void places_give(struct places *p, struct place *x)
{
    assert(p->taken > 0);
    p->taken--;
    places_set_idle(p, x, false);
    leave_address(p, x);
}

void places_set_known(struct places *p, struct place *x)
{
    bool idle = x->idle;
    if (x->known)
        return;
    places_set_idle(p, x, false);
    x->known = true;
    places_set_idle(p, x, idle);
    leave_address(p, x);
}

static struct place *close_one(struct places *p, struct place *x)
{
    places_set_idle(p, x, false);
    x->closing = true;
    return x;
}

static struct place *longest_of_address(const struct places *p, const struct place_address *a)
{
    struct place *x;
    TAILQ_FOREACH(x, &p->strangers, link) {
        if (x->address == a)
            return x;
    }
    return NULL;
}

struct place *places_crowded(struct places *p, const struct place *newcomer)
{
    const struct place_address *a = newcomer->address;
    struct place *x = NULL;
    if (a && p->address_max && a->strangers > p->address_max)
        x = longest_of_address(p, a);
    else if (p->taken > p->max)
        x = TAILQ_FIRST(&p->strangers) != newcomer ? TAILQ_FIRST(&p->strangers) : TAILQ_FIRST(&p->known);
    return x ? close_one(p, x) : NULL;
}

#include "core/grammar/automaton/states.h"

#include <stdlib.h>
#include <string.h>

struct place { /* in the automaton, and the calls that it is in */
    int32_t state, calls;
};

struct call { /* where it goes on when it has ended, and the calls that it is in itself */
    int32_t back, outer;
    int32_t depth;
};

struct index {      /* open addressing; what is in it is found by the hash and compared by the owner */
    int32_t *slots; /* [1 << bits], -1: free */
    int bits, count;
};

enum { OUTERMOST = 0, INDEX_BITS = 8, SEEN_BITS = 8 };

struct seen { /* places that the present closure has been at */
    struct place place;
    uint32_t round;
};

struct states_inside {
    struct place *places; /* of all sets, one after the other; behind them the set that is being made */
    int32_t place_count, place_capacity;
    struct call *calls; /* [0] is the outermost: none */
    int32_t call_count, call_capacity;
    struct index sets, by_call;
    struct seen *seen; /* [1 << seen_bits] */
    int seen_bits, seen_count;
    uint32_t round;
    struct place *todo;
    int32_t todo_count, todo_capacity;
    int32_t set_capacity;
    bool accepts; /* the set that is being made */
    bool no_memory;
};

/* ---- memory ---- */

static bool grow(struct states *s, void **items, size_t size, int32_t count, int32_t *capacity)
{
    if (count < *capacity)
        return true;
    int32_t larger = *capacity < 64 ? 64 : 2 * *capacity;
    void *moved = count < INT32_MAX / 4 ? reallocarray(*items, (size_t)larger, size) : NULL;
    if (!moved) {
        s->inside->no_memory = true;
        return false;
    }
    s->bytes += (size_t)(larger - *capacity) * size;
    *items = moved;
    *capacity = larger;
    return true;
}

static uint32_t mix(uint32_t a, uint32_t b)
{
    uint64_t x = ((uint64_t)a << 32 | b) * UINT64_C(0x9E3779B97F4A7C15);
    x ^= x >> 29;
    return (uint32_t)((x * UINT64_C(0xBF58476D1CE4E5B9)) >> 32);
}

static void index_put(struct index *x, uint32_t hash, int32_t item)
{
    uint32_t mask = (UINT32_C(1) << x->bits) - 1, at = hash & mask;
    while (x->slots[at] >= 0)
        at = (at + 1) & mask;
    x->slots[at] = item;
}

/* Room for one more; `hash_of` tells the hash of what is in there. */
static bool index_reserve(struct states *s, struct index *x,
                          uint32_t (*hash_of)(const struct states *, int32_t))
{
    if (x->slots && x->count < 1 << (x->bits - 1))
        return true;
    struct index larger = {.bits = x->slots ? x->bits + 1 : INDEX_BITS, .count = x->count};
    size_t size = (size_t)1 << larger.bits;
    larger.slots = malloc(size * sizeof *larger.slots);
    if (!larger.slots) {
        s->inside->no_memory = true;
        return false;
    }
    memset(larger.slots, 0xFF, size * sizeof *larger.slots);
    for (size_t i = 0; x->slots && i < size / 2; i++)
        if (x->slots[i] >= 0)
            index_put(&larger, hash_of(s, x->slots[i]), x->slots[i]);
    s->bytes += size / 2 * sizeof *larger.slots;
    free(x->slots);
    *x = larger;
    return true;
}

/* ---- calls ---- */

static uint32_t call_hash(const struct states *s, int32_t call)
{
    return mix((uint32_t)s->inside->calls[call].back, (uint32_t)s->inside->calls[call].outer);
}

/* The one call that goes on at `back` within `outer`; NONE: out of memory. */
static int32_t call_find(struct states *s, int32_t back, int32_t outer)
{
    struct states_inside *in = s->inside;
    if (!index_reserve(s, &in->by_call, call_hash))
        return STATES_NONE;
    uint32_t mask = (UINT32_C(1) << in->by_call.bits) - 1;
    for (uint32_t at = mix((uint32_t)back, (uint32_t)outer) & mask; in->by_call.slots[at] >= 0;
         at = (at + 1) & mask) {
        const struct call *c = &in->calls[in->by_call.slots[at]];
        if (c->back == back && c->outer == outer)
            return in->by_call.slots[at];
    }
    if (!grow(s, (void **)&in->calls, sizeof *in->calls, in->call_count, &in->call_capacity))
        return STATES_NONE;
    in->calls[in->call_count] =
        (struct call){.back = back, .outer = outer, .depth = in->calls[outer].depth + 1};
    in->by_call.count++;
    index_put(&in->by_call, mix((uint32_t)back, (uint32_t)outer), in->call_count);
    return in->call_count++;
}

/* ---- closures: what is reached without reading ---- */

static uint32_t place_hash(struct place p)
{
    return mix((uint32_t)p.state, (uint32_t)p.calls);
}

static bool seen_grow(struct states *s)
{
    struct states_inside *in = s->inside;
    int bits = in->seen ? in->seen_bits + 1 : SEEN_BITS;
    size_t size = (size_t)1 << bits;
    struct seen *larger = calloc(size, sizeof *larger);
    if (!larger) {
        in->no_memory = true;
        return false;
    }
    for (size_t i = 0; in->seen && i < size / 2; i++) {
        if (in->seen[i].round != in->round)
            continue;
        uint32_t at = place_hash(in->seen[i].place) & (uint32_t)(size - 1);
        while (larger[at].round == in->round)
            at = (at + 1) & (uint32_t)(size - 1);
        larger[at] = in->seen[i];
    }
    s->bytes += size / 2 * sizeof *larger;
    free(in->seen);
    in->seen = larger;
    in->seen_bits = bits;
    return true;
}

/* Is it new to this closure? */
static bool see(struct states *s, struct place p)
{
    struct states_inside *in = s->inside;
    if (in->seen_count >= STATES_STEPS_MAX)
        return false;
    if ((!in->seen || in->seen_count >= 1 << (in->seen_bits - 1)) && !seen_grow(s))
        return false;
    uint32_t mask = (UINT32_C(1) << in->seen_bits) - 1, at = place_hash(p) & mask;
    for (; in->seen[at].round == in->round; at = (at + 1) & mask)
        if (in->seen[at].place.state == p.state && in->seen[at].place.calls == p.calls)
            return false;
    in->seen[at] = (struct seen){.place = p, .round = in->round};
    in->seen_count++;
    return true;
}

static void todo_push(struct states *s, int32_t state, int32_t calls)
{
    struct states_inside *in = s->inside;
    if (calls >= 0 && grow(s, (void **)&in->todo, sizeof *in->todo, in->todo_count, &in->todo_capacity))
        in->todo[in->todo_count++] = (struct place){.state = state, .calls = calls};
}

static void keep_place(struct states *s, struct place p)
{
    struct states_inside *in = s->inside;
    const struct states_set *last = &s->sets[s->count - 1];
    if (in->place_count - (last->first + last->count) < STATES_PLACES_MAX &&
        grow(s, (void **)&in->places, sizeof *in->places, in->place_count, &in->place_capacity))
        in->places[in->place_count++] = p;
}

static void visit(struct states *s, struct place p)
{
    struct states_inside *in = s->inside;
    const struct automaton_state *a = &s->automaton->states[p.state];
    if (in->calls[p.calls].depth + a->need > AUTOMATON_CALLS_MAX || !see(s, p))
        return;
    switch (a->kind) {
    case AUTOMATON_BYTES:
        keep_place(s, p);
        break;
    case AUTOMATON_SPLIT:
        todo_push(s, a->b, p.calls);
        todo_push(s, a->a, p.calls);
        break;
    case AUTOMATON_CALL:
        todo_push(s, a->a, a->b < 0 ? p.calls : call_find(s, a->b, p.calls));
        break;
    case AUTOMATON_END:
        if (p.calls == OUTERMOST)
            in->accepts = true;
        else
            todo_push(s, in->calls[p.calls].back, in->calls[p.calls].outer);
        break;
    }
}

static void close_over(struct states *s, int32_t state, int32_t calls)
{
    struct states_inside *in = s->inside;
    todo_push(s, state, calls);
    while (in->todo_count > 0 && !in->no_memory) {
        struct place p = in->todo[--in->todo_count];
        visit(s, p);
    }
    in->todo_count = 0;
}

/* ---- sets ---- */

static uint32_t set_hash(const struct states *s, int32_t set)
{
    return s->sets[set].hash;
}

static void begin_set(struct states *s)
{
    struct states_inside *in = s->inside;
    in->accepts = false;
    in->seen_count = 0;
    if (++in->round == 0) { /* has come round: nothing is left of the rounds before */
        if (in->seen)
            memset(in->seen, 0, ((size_t)1 << in->seen_bits) * sizeof *in->seen);
        in->round = 1;
    }
}

static int32_t add_set(struct states *s, struct states_set set)
{
    struct states_inside *in = s->inside;
    size_t classes = (size_t)s->automaton->class_count;
    int32_t capacity = in->set_capacity;
    if (!grow(s, (void **)&s->sets, sizeof *s->sets, s->count, &capacity))
        return STATES_NONE;
    if (capacity != in->set_capacity) {
        int32_t *next = reallocarray(s->next, (size_t)capacity * classes, sizeof *next);
        if (!next) {
            in->no_memory = true;
            return STATES_NONE;
        }
        s->bytes += (size_t)(capacity - in->set_capacity) * classes * sizeof *next;
        s->next = next;
        in->set_capacity = capacity;
    }
    memset(s->next + (size_t)s->count * classes, 0xFF, classes * sizeof *s->next);
    s->sets[s->count] = set;
    return s->count++;
}

/* The state whose set has the places behind those of all sets, which go away where it is there already. */
static int32_t end_set(struct states *s)
{
    struct states_inside *in = s->inside;
    const struct states_set *last = &s->sets[s->count - 1];
    struct states_set set = {.first = last->first + last->count, .accepts = in->accepts, .hash = in->accepts};
    set.count = in->place_count - set.first;
    in->place_count = set.first;
    if (in->no_memory || !index_reserve(s, &in->sets, set_hash)) {
        in->no_memory = false; /* another time there may be some */
        return STATES_NONE;
    }
    if (set.count == 0 && !set.accepts)
        return STATES_DEAD;
    const struct place *places = in->places + set.first;
    for (int32_t i = 0; i < set.count; i++)
        set.hash = mix(set.hash, place_hash(places[i]));
    uint32_t mask = (UINT32_C(1) << in->sets.bits) - 1;
    for (uint32_t at = set.hash & mask; in->sets.slots[at] >= 0; at = (at + 1) & mask) {
        const struct states_set *other = &s->sets[in->sets.slots[at]];
        if (other->hash == set.hash && other->count == set.count && other->accepts == set.accepts &&
            memcmp(in->places + other->first, places, (size_t)set.count * sizeof *places) == 0)
            return in->sets.slots[at];
    }
    int32_t state = add_set(s, set);
    if (state != STATES_NONE) {
        in->place_count = set.first + set.count;
        in->sets.count++;
        index_put(&in->sets, set.hash, state);
    }
    in->no_memory = false;
    return state;
}

/* ---- the interface ---- */

int32_t states_start(struct states *s)
{
    begin_set(s);
    close_over(s, s->automaton->start, OUTERMOST);
    return end_set(s);
}

static void follow(struct states *s, struct place p, uint8_t byte)
{
    const struct automaton_state *a = &s->automaton->states[p.state];
    for (int i = 0; i < a->b; i++) {
        const struct automaton_edge *edge = &s->automaton->edges[a->a + i];
        if (edge->low <= byte && byte <= edge->high)
            close_over(s, edge->to, p.calls);
    }
}

int32_t states_compute(struct states *s, int32_t state, uint8_t byte)
{
    struct states_set set = s->sets[state];
    begin_set(s);
    for (int32_t i = 0; i < set.count; i++)
        follow(s, s->inside->places[set.first + i], byte);
    int32_t next = end_set(s);
    s->next[(size_t)state * (size_t)s->automaton->class_count + s->automaton->class_of[byte]] = next;
    return next;
}

/* The same calls as over there. */
static int32_t move_calls(struct states *s, const struct states *from, int32_t calls)
{
    int32_t backs[AUTOMATON_CALLS_MAX + 1], depth = 0, moved = OUTERMOST;
    for (; calls != OUTERMOST; calls = from->inside->calls[calls].outer)
        backs[depth++] = from->inside->calls[calls].back;
    while (depth > 0 && moved >= 0)
        moved = call_find(s, backs[--depth], moved);
    return moved;
}

int32_t states_move(struct states *s, const struct states *from, int32_t state)
{
    const struct states_set *set = &from->sets[state];
    begin_set(s);
    s->inside->accepts = set->accepts;
    for (int32_t i = 0; i < set->count; i++) {
        struct place p = from->inside->places[set->first + i];
        p.calls = move_calls(s, from, p.calls);
        if (p.calls >= 0)
            keep_place(s, p);
    }
    return end_set(s);
}

int states_new(struct states **out, const struct automaton *a, struct err *e)
{
    struct states *s = calloc(1, sizeof *s);
    struct states_inside *in = calloc(1, sizeof *in);
    if (!s || !in) {
        free(s);
        free(in);
        return err_memory(e);
    }
    s->automaton = a;
    s->inside = in;
    s->bytes = sizeof *s + sizeof *in;
    if (!grow(s, (void **)&in->calls, sizeof *in->calls, 0, &in->call_capacity) ||
        !grow(s, (void **)&in->places, sizeof *in->places, 0, &in->place_capacity) ||
        add_set(s, (struct states_set){0}) != STATES_DEAD) {
        states_free(s);
        return err_memory(e);
    }
    in->calls[in->call_count++] = (struct call){0};
    memset(s->next, 0, (size_t)a->class_count * sizeof *s->next); /* dead stays dead */
    *out = s;
    return 0;
}

void states_free(struct states *s)
{
    if (!s)
        return;
    struct states_inside *in = s->inside;
    free(in->places);
    free(in->calls);
    free(in->sets.slots);
    free(in->by_call.slots);
    free(in->seen);
    free(in->todo);
    free(in);
    free(s->next);
    free(s->sets);
    free(s);
}

#include "core/grammar/tokens/token_mask.h"

#include <limits.h>
#include <string.h>

/* What a state costs that is looked at first: itself, and its places. */
static int state_work(const struct states *s, int32_t state)
{
    return 8 + s->sets[state].count;
}

/* ---- plain characters ---- */

enum { PLAIN_STATES = 12 /* that lie within a plain character */ };

/* Do the bytes low..high, and then those of a character's end, all lead from `state` to `to` (NONE: to one
 * state that becomes *to)? -1: out of memory. */
static int all_lead(struct states *s, int32_t state, int low, int high, int rest, int32_t *to)
{
    const uint8_t *classes = s->automaton->class_of;
    for (int byte = low; byte <= high; byte++) {
        if (byte > low && classes[byte] == classes[byte - 1])
            continue;
        int32_t next = states_next(s, state, (uint8_t)byte);
        if (next == STATES_NONE)
            return -1;
        if (next == STATES_DEAD)
            return 0;
        int led = 1;
        if (rest > 0)
            led = all_lead(s, next, 0x80, 0xBF, rest - 1, to);
        else if (*to == STATES_NONE)
            *to = next;
        else
            led = next == *to;
        if (led != 1)
            return led;
    }
    return 1;
}

/* A character that begins with `lead`, whose second byte is low..high. */
static int lead_through(struct states *s, int32_t state, int lead, int low, int high, int rest, int32_t *to)
{
    int32_t next = states_next(s, state, (uint8_t)lead);
    return next == STATES_NONE ? -1 : next == STATES_DEAD ? 0 : all_lead(s, next, low, high, rest, to);
}

/* U+2000 to U+203F, which are not all plain. */
static int separators_lead(struct states *s, int32_t state, int32_t *to)
{
    int32_t next = states_next(s, state, 0xE2);
    next = next > STATES_DEAD ? states_next(s, next, 0x80) : next;
    if (next <= STATES_DEAD)
        return next == STATES_NONE ? -1 : 0;
    int led = all_lead(s, next, 0x80, 0xA7, 0, to);
    return led == 1 ? all_lead(s, next, 0xAA, 0xBF, 0, to) : led;
}

/* The one state that every plain character leads to, DEAD where there is none, NONE: out of memory. */
static int32_t find_plain_next(struct states *s, int32_t state)
{
    static const struct {
        int lead_low, lead_high; /* for each lead: */
        int low, high, rest;     /* second byte, and how many follow */
    } leads[] = {{0xE0, 0xE0, 0xA0, 0xBF, 1}, {0xE1, 0xE1, 0x80, 0xBF, 1}, {0xE2, 0xE2, 0x81, 0xBF, 1},
                 {0xE3, 0xEC, 0x80, 0xBF, 1}, {0xED, 0xED, 0x80, 0x9F, 1}, {0xEE, 0xEF, 0x80, 0xBF, 1},
                 {0xF0, 0xF0, 0x90, 0xBF, 2}, {0xF1, 0xF3, 0x80, 0xBF, 2}, {0xF4, 0xF4, 0x80, 0x8F, 2}};
    int32_t to = STATES_NONE;
    int led = all_lead(s, state, ' ', '!', 0, &to);
    led = led == 1 ? all_lead(s, state, '#', '[', 0, &to) : led;
    led = led == 1 ? all_lead(s, state, ']', '~', 0, &to) : led;
    led = led == 1 ? all_lead(s, state, 0xC2, 0xDF, 1, &to) : led;
    led = led == 1 ? separators_lead(s, state, &to) : led;
    for (size_t i = 0; led == 1 && i < sizeof leads / sizeof *leads; i++)
        for (int lead = leads[i].lead_low; led == 1 && lead <= leads[i].lead_high; lead++)
            led = lead_through(s, state, lead, leads[i].low, leads[i].high, leads[i].rest, &to);
    return led == 1 ? to : led == 0 ? STATES_DEAD : STATES_NONE;
}

/* The same, found once for each state and noted there, with 1 added. */
static int32_t plain_next(struct states *s, int32_t state)
{
    if (s->sets[state].note == 0) {
        int32_t next = find_plain_next(s, state);
        s->sets[state].note = next + 1; /* 0 again without memory */
    }
    return s->sets[state].note - 1;
}

/* Does every plain text lead back to the state? 1, 0, or -1: out of memory. */
static int is_closed(struct states *s, int32_t state)
{
    int32_t next = plain_next(s, state);
    return next == STATES_NONE ? -1 : next == state;
}

/* How many plain characters may follow, whichever they are; INT_MAX: without end; -1: out of memory. Fewer,
 * where looking further would be too much work: that is added to *work. */
static int plain_run(struct states *s, int32_t state, int *work)
{
    int run = 0;
    for (; run < TOKEN_PLAIN_MAX && *work <= TOKEN_MASK_WORK / 2; run++) {
        *work += PLAIN_STATES * state_work(s, state);
        int32_t next = plain_next(s, state);
        if (next == STATES_NONE)
            return -1;
        if (next == STATES_DEAD)
            return run;
        if (next == state)
            return INT_MAX;
        state = next;
    }
    return run;
}

/* ---- walks ---- */

enum { SUBTREE_LARGE = 64 /* nodes, from which on it pays to ask for a state of plain text */ };

struct walk {
    struct states *states;
    const struct token_tree *tree;
    uint64_t *mask;
    int work;
    int32_t at[TOKEN_BYTES_MAX + 1]; /* the state behind each byte of the node's text; [0]: the beginning */
};

/* The first visit of a state in this walk costs. */
static void pay(struct walk *w, int32_t state)
{
    struct states_set *set = &w->states->sets[state];
    if (set->walk == w->states->walk)
        return;
    set->walk = w->states->walk;
    w->work += state_work(w->states, state);
}

static void offer(struct walk *w, int32_t first, int32_t end)
{
    for (int32_t i = first; i < end; i++) {
        int32_t id = w->tree->ids[i];
        w->mask[id / 64] |= UINT64_C(1) << (id % 64);
    }
}

/* Where the walk goes on behind node `i`, whose state is `state`: within its subtree, or behind it, when its
 * tokens are all of plain text that leads nowhere else. 0: out of memory. */
static uint32_t enter(struct walk *w, uint32_t i, int32_t state)
{
    const struct token_tree *t = w->tree;
    const struct token_node *n = &t->nodes[i];
    uint32_t behind = i + n->skip;
    int closed = n->chars_max > 0 && n->skip >= SUBTREE_LARGE ? is_closed(w->states, state) : 0;
    if (closed < 0)
        return 0;
    int32_t end = behind < t->node_count ? t->nodes[behind].first : t->id_count;
    offer(w, n->first, closed ? end : n->first + n->count);
    return closed ? behind : i + 1;
}

/* The nodes from..end, whose texts begin behind the byte at `depth`, but for subtrees without a token of more
 * than `chars` characters, and the one of byte `without`. */
static int walk_nodes(struct walk *w, uint32_t from, uint32_t end, int depth, int chars, int without)
{
    for (uint32_t i = from; i < end;) {
        const struct token_node *n = &w->tree->nodes[i];
        bool out = (chars > 0 && n->chars_max <= chars) || (n->depth == 1 && n->byte == without) ||
                   (w->work > TOKEN_MASK_WORK && n->depth > depth + 1);
        int32_t next = out ? STATES_DEAD : states_next(w->states, w->at[n->depth - 1], n->byte);
        if (next == STATES_NONE)
            return -1;
        if (next == STATES_DEAD) {
            i += n->skip;
            continue;
        }
        pay(w, next);
        w->at[n->depth] = next;
        i = enter(w, i, next);
        if (i == 0)
            return -1;
    }
    return 0;
}

static int walk_tree(struct walk *w, const struct token_tree *tree, int32_t state, int chars)
{
    w->tree = tree;
    w->at[0] = state;
    return walk_nodes(w, 0, tree->node_count, 0, chars, -1);
}

/* ---- masks ---- */

static int fill_inside(struct walk *w, const struct token_trie *t, int32_t state)
{
    int run = plain_run(w->states, state, &w->work);
    if (run < 0)
        return -1;
    bool all = run >= t->plain_chars;
    const uint64_t *plain = all ? t->plain_all : t->plain_up_to + (size_t)run * t->words;
    memcpy(w->mask, plain, t->words * sizeof *plain);
    if (!all && walk_tree(w, &t->plain, state, run) != 0)
        return -1;
    return walk_tree(w, &t->other, state, 0);
}

/* Tokens that begin with a space are read without it; the space itself would be nothing. */
static int walk_first(struct walk *w, const struct token_tree *tree, int32_t state)
{
    w->tree = tree;
    w->at[0] = state;
    if (walk_nodes(w, 0, tree->node_count, 0, 0, ' ') != 0)
        return -1;
    for (uint32_t i = 0; i < tree->node_count; i += tree->nodes[i].skip) {
        if (tree->nodes[i].byte != ' ')
            continue;
        w->at[1] = state;
        return walk_nodes(w, i + 1, i + tree->nodes[i].skip, 1, 0, -1);
    }
    return 0;
}

int token_mask_fill(struct states *s, const struct token_trie *t, int32_t state, bool at_start,
                    uint64_t *mask)
{
    struct walk w = {.states = s, .mask = mask};
    s->walk++;
    int result;
    if (at_start && t->first_space_dropped) {
        memset(mask, 0, t->words * sizeof *mask);
        result = walk_first(&w, &t->plain, state) != 0 ? -1 : walk_first(&w, &t->other, state);
    } else {
        result = fill_inside(&w, t, state);
    }
    for (size_t i = 0; s->sets[state].accepts && i < t->words; i++)
        mask[i] |= t->ends[i];
    return result;
}

/* Thompson's construction from the end: a node is compiled to a state that goes on at a given next one.
 * Rules, and what is repeated more than once, are compiled once and called. */
#include "core/grammar/automaton/automaton.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/least.h"
#include "core/grammar/automaton/analysis.h"
#include "core/grammar/automaton/utf8_ranges.h"

enum {
    INLINE_STATES = 2,   /* a repeated body of that many states is copied rather than called */
    BRANCHES_DEPTH = 256 /* of texts that share beginnings */
};

struct counted {
    struct automaton a;
    atomic_int references;
};

struct compiler {
    struct grammar *g;
    const int *need; /* of the nodes */
    struct automaton_state *states;
    struct automaton_edge *edges;
    int state_count, edge_count, state_capacity, edge_capacity;
    int *last_call; /* [node_count] the state that calls a node at the end of a rule; -1: none yet */
    int *entry;     /* [node_count] where a called node begins; -1: nowhere yet */
    int *called;    /* [node_count] the called nodes in the order in which they are compiled */
    int called_count;
    struct automaton_edge *gathered; /* edges of states that are not complete yet */
    int gathered_count, gathered_capacity;
    bool no_memory, too_large;
};

static bool grow(struct compiler *c, void **items, size_t size, int count, int *capacity)
{
    if (count < *capacity)
        return true;
    if (count >= AUTOMATON_STATES_MAX) {
        c->too_large = true;
        return false;
    }
    int larger = count < 64 ? 64 : 2 * count;
    void *moved = reallocarray(*items, (size_t)larger, size);
    if (!moved) {
        c->no_memory = true;
        return false;
    }
    *items = moved;
    *capacity = larger;
    return true;
}

static int add_state(struct compiler *c, enum automaton_kind kind, int a, int b, int need)
{
    if (!grow(c, (void **)&c->states, sizeof *c->states, c->state_count, &c->state_capacity))
        return -1;
    c->states[c->state_count] = (struct automaton_state){.kind = kind, .a = a, .b = b, .need = need};
    return c->state_count++;
}

static int most(int a, int b)
{
    return a > b ? a : b;
}

/* ---- bytes ---- */

static void gather(struct compiler *c, int low, int high, int to)
{
    if (!grow(c, (void **)&c->gathered, sizeof *c->gathered, c->gathered_count, &c->gathered_capacity))
        return;
    c->gathered[c->gathered_count++] =
        (struct automaton_edge){.low = (uint8_t)low, .high = (uint8_t)high, .to = to};
}

/* The state of what was gathered behind `mark`. */
static int bytes_state(struct compiler *c, int mark)
{
    int first = c->edge_count, need = AUTOMATON_CALLS_MAX + 1;
    for (int i = mark; i < c->gathered_count; i++) {
        if (c->gathered[i].to < 0 ||
            !grow(c, (void **)&c->edges, sizeof *c->edges, c->edge_count, &c->edge_capacity))
            return -1;
        c->edges[c->edge_count++] = c->gathered[i];
        need = least(need, c->states[c->gathered[i].to].need);
    }
    c->gathered_count = mark;
    return add_state(c, AUTOMATON_BYTES, first, c->edge_count - first, need);
}

static int byte_state(struct compiler *c, int low, int high, int next)
{
    int mark = c->gathered_count;
    gather(c, low, high, next);
    return bytes_state(c, mark);
}

static int text_state(struct compiler *c, const char *bytes, int length, int next)
{
    for (int i = length; i-- > 0 && next >= 0;)
        next = byte_state(c, (uint8_t)bytes[i], (uint8_t)bytes[i], next);
    return next;
}

/* Gather the edges of a class of characters. */
static void gather_chars(struct compiler *c, const struct grammar_node *n, int next)
{
    for (int i = 0; i < n->count; i++) {
        struct utf8_bytes bytes[UTF8_RANGES_MAX];
        const struct grammar_range *r = &c->g->ranges[n->first + i];
        size_t count = utf8_ranges(r->low, r->high, bytes);
        for (size_t k = 0; k < count; k++) {
            int to = next;
            for (int at = bytes[k].length; --at > 0 && to >= 0;)
                to = byte_state(c, bytes[k].low[at], bytes[k].high[at], to);
            gather(c, bytes[k].low[0], bytes[k].high[0], to);
        }
    }
}

static int chars_state(struct compiler *c, const struct grammar_node *n, int next)
{
    int mark = c->gathered_count;
    gather_chars(c, n, next);
    return bytes_state(c, mark);
}

/* ---- alternatives ---- */

static int split_state(struct compiler *c, int a, int b)
{
    if (a < 0 || b < 0)
        return -1;
    return a == b ? a : add_state(c, AUTOMATON_SPLIT, a, b, least(c->states[a].need, c->states[b].need));
}

struct text {
    const char *bytes;
    int length;
};

static int compare_texts(const void *a, const void *b)
{
    const struct text *x = a, *y = b;
    int order = memcmp(x->bytes, y->bytes, (size_t)least(x->length, y->length));
    return order ? order : x->length - y->length;
}

static int texts_one_by_one(struct compiler *c, const struct text *t, int count, int at, int next)
{
    int state = text_state(c, t[0].bytes + at, t[0].length - at, next);
    for (int i = 1; i < count && state >= 0; i++)
        state = split_state(c, state, text_state(c, t[i].bytes + at, t[i].length - at, next));
    return state;
}

/* Sorted texts that share their first `at` bytes: what they share further is read once. */
static int texts_state(struct compiler *c, const struct text *t, int count, int at, int next, int depth)
{
    if (count == 1 || depth == BRANCHES_DEPTH)
        return texts_one_by_one(c, t, count, at, next);
    int mark = c->gathered_count, first = 0;
    while (first < count && t[first].length == at)
        first++;
    if (first == count)
        return next;
    for (int i = first, end; i < count; i = end) {
        for (end = i + 1; end < count && t[end].bytes[at] == t[i].bytes[at];)
            end++;
        int to = texts_state(c, t + i, end - i, at + 1, next, depth + 1);
        gather(c, (uint8_t)t[i].bytes[at], (uint8_t)t[i].bytes[at], to);
    }
    int state = bytes_state(c, mark);
    return first > 0 ? split_state(c, next, state) : state;
}

static int node_state(struct compiler *c, int node, int next);

static int any_texts_state(struct compiler *c, const struct grammar_node *n, int next, int texts)
{
    struct text *t = malloc((size_t)texts * sizeof *t);
    if (!t) {
        c->no_memory = true;
        return -1;
    }
    int count = 0;
    for (int i = 0; i < n->count; i++) {
        const struct grammar_node *child = &c->g->nodes[c->g->children[n->first + i]];
        if (child->kind == GRAMMAR_TEXT)
            t[count++] = (struct text){.bytes = c->g->bytes.data + child->first, .length = child->count};
    }
    qsort(t, (size_t)count, sizeof *t, compare_texts);
    int state = texts_state(c, t, count, 0, next, 0);
    free(t);
    return state;
}

static int row_state(struct compiler *c, const struct grammar_node *n, int from, int next)
{
    for (int i = n->count; i-- > from;)
        next = node_state(c, c->g->children[n->first + i], next);
    return next;
}

/* Gather the edges of an alternative that begins with a class of characters, or whose state has only edges;
 * false: it is another, whose state becomes *state. */
static bool gather_alternative(struct compiler *c, int node, int next, int *state)
{
    const struct grammar_node *n = &c->g->nodes[node];
    const struct grammar_node *lead = n->kind == GRAMMAR_ALL ? &c->g->nodes[c->g->children[n->first]] : n;
    if (lead->kind == GRAMMAR_CHARS) {
        gather_chars(c, lead, n == lead ? next : row_state(c, n, 1, next));
        return true;
    }
    *state = node_state(c, node, next);
    return false;
}

/* One state has the edges of all alternatives that begin with bytes, the others are split off. */
static int any_state(struct compiler *c, const struct grammar_node *n, int next)
{
    int texts = 0, others = -1, mark = c->gathered_count;
    bool split = false;
    for (int i = 0; i < n->count; i++) {
        int child = c->g->children[n->first + i], state;
        bool text = c->g->nodes[child].kind == GRAMMAR_TEXT;
        texts += text;
        if (text || c->need[child] < 0 || gather_alternative(c, child, next, &state))
            continue; /* texts come below; no text of what needs -1 ever ends */
        others = split ? split_state(c, others, state) : state;
        split = true;
    }
    if (texts > 0) {
        int state = any_texts_state(c, n, next, texts);
        others = split ? split_state(c, others, state) : state;
        split = true;
    }
    if (c->gathered_count == mark)
        return others;
    int state = bytes_state(c, mark);
    return split ? split_state(c, state, others) : state;
}

/* ---- calls and repetitions ---- */

static int call_state(struct compiler *c, int node, int next)
{
    if (c->entry[node] < 0) { /* compiled later; -2: on the list */
        if (c->entry[node] == -1)
            c->called[c->called_count++] = node;
        c->entry[node] = -2;
    }
    if (next < 0)
        return -1;
    if (c->states[next].kind != AUTOMATON_END)
        return add_state(c, AUTOMATON_CALL, node, next, most(c->need[node] + 1, c->states[next].need));
    if (c->last_call[node] < 0)
        c->last_call[node] = add_state(c, AUTOMATON_CALL, node, -1, c->need[node]);
    return c->last_call[node];
}

/* Is it so small that a call would be no smaller? */
static bool is_small(const struct compiler *c, const struct grammar_node *n)
{
    if (n->kind == GRAMMAR_TEXT)
        return n->count <= INLINE_STATES;
    if (n->kind == GRAMMAR_CHARS)
        return n->count == 0 || c->g->ranges[n->first + n->count - 1].high < 0x80;
    return n->kind == GRAMMAR_RULE;
}

static int repeat_state(struct compiler *c, const struct grammar_node *n, int next)
{
    if (n->max == 0 || c->need[n->first] < 0)
        return next;
    bool called = !is_small(c, &c->g->nodes[n->first]) && (n->min > 1 || n->max > 1);
    int (*body)(struct compiler *, int, int) = called ? call_state : node_state;
    int state = next, copies = n->min;
    if (n->max < 0) {
        if (next < 0)
            return -1;
        int again = add_state(c, AUTOMATON_SPLIT, -1, next, c->states[next].need);
        int first = again < 0 ? -1 : body(c, n->first, again);
        if (first < 0)
            return -1;
        c->states[again].a = first;
        state = copies > 0 ? first : again;
        copies = copies > 0 ? copies - 1 : 0;
    }
    for (int i = n->min; i < n->max && state >= 0; i++)
        state = split_state(c, body(c, n->first, state), next);
    for (int i = 0; i < copies && state >= 0; i++)
        state = body(c, n->first, state);
    return state;
}

static int node_state(struct compiler *c, int node, int next)
{
    const struct grammar_node *n = &c->g->nodes[node];
    if (next < 0)
        return -1;
    switch (n->kind) {
    case GRAMMAR_TEXT:
        return text_state(c, c->g->bytes.data + n->first, n->count, next);
    case GRAMMAR_CHARS:
        return chars_state(c, n, next);
    case GRAMMAR_ALL:
        return row_state(c, n, 0, next);
    case GRAMMAR_ANY:
        return any_state(c, n, next);
    case GRAMMAR_REPEAT:
        return repeat_state(c, n, next);
    case GRAMMAR_RULE:
        return call_state(c, c->g->rules[n->first].body, next);
    }
    return -1;
}

/* ---- the whole ---- */

static void compile_nodes(struct compiler *c)
{
    int root = c->g->rules[0].body, end = add_state(c, AUTOMATON_END, 0, 0, 0);
    c->called[c->called_count++] = root;
    c->entry[root] = -2;
    for (int i = 0; i < c->called_count && !c->no_memory && !c->too_large; i++) {
        c->entry[c->called[i]] = node_state(c, c->called[i], end);
        if (c->entry[c->called[i]] < 0)
            return;
    }
    for (int i = 0; i < c->state_count; i++)
        if (c->states[i].kind == AUTOMATON_CALL)
            c->states[i].a = c->entry[c->states[i].a];
}

static void set_classes(struct automaton *a)
{
    bool begins[257] = {true};
    for (int i = 0; i < a->edge_count; i++)
        begins[a->edges[i].low] = begins[a->edges[i].high + 1] = true;
    for (int byte = 0; byte < 256; byte++) {
        a->class_count += begins[byte];
        a->class_of[byte] = (uint8_t)(a->class_count - 1);
    }
}

static int make(struct automaton **out, struct compiler *c, struct err *e)
{
    size_t nodes = (size_t)c->g->node_count + 1;
    c->entry = malloc(nodes * sizeof *c->entry);
    c->called = malloc(nodes * sizeof *c->called);
    c->last_call = malloc(nodes * sizeof *c->last_call);
    struct counted *made = calloc(1, sizeof *made);
    bool room = made && c->entry && c->called && c->last_call;
    if (room) {
        memset(c->entry, 0xFF, nodes * sizeof *c->entry);
        memset(c->last_call, 0xFF, nodes * sizeof *c->last_call);
        compile_nodes(c);
    }
    if (!room || c->no_memory || c->too_large) {
        free(made);
        return c->too_large ? err_set(e, "grammar_too_large", "the grammar compiles to more than %d states",
                                      AUTOMATON_STATES_MAX)
                            : err_memory(e);
    }
    made->a = (struct automaton){.states = c->states,
                                 .edges = c->edges,
                                 .state_count = c->state_count,
                                 .edge_count = c->edge_count,
                                 .start = c->entry[c->g->rules[0].body]};
    c->states = NULL;
    c->edges = NULL;
    set_classes(&made->a);
    atomic_init(&made->references, 1);
    *out = &made->a;
    return 0;
}

int automaton_compile(struct automaton **out, struct grammar *g, struct err *e)
{
    struct analysis a;
    if (analysis_run(&a, g, e) != 0)
        return -1;
    struct compiler c = {.g = g, .need = a.need};
    int result = a.need[g->rules[0].body] > AUTOMATON_CALLS_MAX
                     ? err_set(e, "grammar_too_deep", "every text of the grammar nests more than %d deep",
                               AUTOMATON_CALLS_MAX)
                     : make(out, &c, e);
    analysis_fini(&a);
    free(c.states);
    free(c.edges);
    free(c.entry);
    free(c.called);
    free(c.last_call);
    free(c.gathered);
    return result;
}

struct automaton *automaton_ref(struct automaton *a)
{
    atomic_fetch_add(&((struct counted *)a)->references, 1);
    return a;
}

void automaton_unref(struct automaton *a)
{
    if (!a || atomic_fetch_sub(&((struct counted *)a)->references, 1) > 1)
        return;
    free((void *)a->states);
    free((void *)a->edges);
    free((struct counted *)a);
}

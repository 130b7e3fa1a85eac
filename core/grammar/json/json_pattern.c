#include "core/grammar/json/json_pattern.h"

#include <stdlib.h>
#include <string.h>

#include "core/grammar/automaton/analysis.h"
#include "core/grammar/automaton/states.h"
#include "core/grammar/json/json_chars.h"
#include "core/grammar/regex.h"

/* ---- without lengths: the same nodes, with characters as JSON writes them ---- */

static int spelled(struct grammar *g, const struct grammar *plain, int node)
{
    const struct grammar_node *n = &plain->nodes[node];
    if (n->kind == GRAMMAR_CHARS)
        return json_chars(g, plain->ranges + n->first, (size_t)n->count);
    if (n->kind == GRAMMAR_REPEAT)
        return grammar_repeat(g, spelled(g, plain, n->first), n->min, n->max);
    if (n->kind == GRAMMAR_TEXT)
        return grammar_empty(g);
    struct grammar_list list = {0};
    for (int i = 0; i < n->count; i++)
        grammar_list_add(g, &list, spelled(g, plain, plain->children[n->first + i]));
    return n->kind == GRAMMAR_ALL ? grammar_list_all(g, &list) : grammar_list_any(g, &list);
}

/* ---- with lengths: a rule for each state of the expression and each number of characters read ---- */

enum state_kind { CHARS, SPLIT, END, NOTHING };

struct state {
    enum state_kind kind;
    int a, b; /* SPLIT: where it goes on; CHARS: the node that is read, and where it goes on */
};

struct counting {
    struct grammar *g;
    const struct grammar *plain;
    struct state *states;
    int count, capacity;
    int min, max, lengths; /* lengths that are told apart: 0..lengths - 1 */
    int *rules;            /* [count, lengths] + 1; 0: not made */
    int *todo;             /* indices of rules without a body */
    int todo_count, todo_capacity;
    bool too_large;
};

static int add_state(struct counting *c, enum state_kind kind, int a, int b)
{
    if (c->count == c->capacity) {
        int larger = c->capacity < 64 ? 64 : 2 * c->capacity;
        struct state *moved = reallocarray(c->states, (size_t)larger, sizeof *moved);
        c->too_large |= larger > GRAMMAR_NODES_MAX;
        if (!moved || c->too_large) {
            c->g->no_memory |= !moved;
            c->states = moved ? moved : c->states;
            return -1;
        }
        c->states = moved;
        c->capacity = larger;
    }
    c->states[c->count] = (struct state){.kind = kind, .a = a, .b = b};
    return c->count++;
}

/* The state that reads the node and goes on at `next`, as automaton.c makes it. */
static int build(struct counting *c, int node, int next)
{
    const struct grammar_node *n = &c->plain->nodes[node];
    if (next < 0 || n->kind == GRAMMAR_TEXT)
        return next;
    if (n->kind == GRAMMAR_CHARS)
        return add_state(c, CHARS, json_chars(c->g, c->plain->ranges + n->first, (size_t)n->count), next);
    if (n->kind == GRAMMAR_ALL) {
        for (int i = n->count; i-- > 0;)
            next = build(c, c->plain->children[n->first + i], next);
        return next;
    }
    if (n->kind == GRAMMAR_ANY) {
        int state = n->count > 0 ? build(c, c->plain->children[n->first], next) : add_state(c, NOTHING, 0, 0);
        for (int i = 1; i < n->count && state >= 0; i++)
            state = add_state(c, SPLIT, state, build(c, c->plain->children[n->first + i], next));
        return state;
    }
    int state = next;
    if (n->max < 0) {
        state = add_state(c, SPLIT, next, next);
        int again = build(c, n->first, state);
        if (again < 0)
            return -1;
        c->states[state].a = again;
    }
    for (int i = n->min; i < n->max && state >= 0; i++)
        state = add_state(c, SPLIT, build(c, n->first, state), next);
    for (int i = 0; i < n->min && state >= 0; i++)
        state = build(c, n->first, state);
    return state;
}

/* A call of the rule for a state behind `read` characters. */
static int call(struct counting *c, int state, int read)
{
    int *rule = &c->rules[state * c->lengths + read];
    if (*rule == 0) {
        *rule = grammar_rule(c->g, "", 0) + 1;
        if (c->todo_count == c->todo_capacity) {
            int larger = c->todo_capacity < 64 ? 64 : 2 * c->todo_capacity;
            int *moved = reallocarray(c->todo, (size_t)larger, sizeof *moved);
            if (!moved) {
                c->g->no_memory = true;
                return GRAMMAR_BAD;
            }
            c->todo = moved;
            c->todo_capacity = larger;
        }
        c->todo[c->todo_count++] = state * c->lengths + read;
    }
    return grammar_call(c->g, *rule - 1);
}

static int body(struct counting *c, int state, int read)
{
    struct state s = c->states[state];
    if (s.kind == SPLIT)
        return GRAMMAR_ANY_OF(c->g, call(c, s.a, read), call(c, s.b, read));
    if (s.kind == END)
        return read >= c->min ? grammar_empty(c->g) : grammar_any(c->g, NULL, 0);
    if (s.kind == NOTHING || (c->max >= 0 && read == c->max))
        return grammar_any(c->g, NULL, 0);
    int behind = read + 1 < c->lengths ? read + 1 : read; /* without a limit, enough is enough */
    return GRAMMAR_ALL_OF(c->g, s.a, call(c, s.b, behind));
}

static int counted_rules(struct counting *c, int start)
{
    if ((int64_t)c->count * c->lengths > JSON_PATTERN_STATES_MAX) {
        c->too_large = true;
        return GRAMMAR_BAD;
    }
    c->rules = calloc((size_t)c->count * (size_t)c->lengths, sizeof *c->rules);
    if (!c->rules) {
        c->g->no_memory = true;
        return GRAMMAR_BAD;
    }
    int node = call(c, start, 0);
    while (c->todo_count > 0 && !c->g->no_memory && !c->g->too_large) {
        int index = c->todo[--c->todo_count];
        grammar_define(c->g, c->rules[index] - 1, body(c, index / c->lengths, index % c->lengths));
    }
    return node;
}

static int counted(struct grammar *g, const struct grammar *plain, int min, int max, struct err *e)
{
    struct counting c = {
        .g = g, .plain = plain, .min = min, .max = max, .lengths = (max < 0 ? min : max) + 1};
    int end = add_state(&c, END, 0, 0), start = build(&c, plain->rules[0].body, end);
    int node = start < 0 ? GRAMMAR_BAD : counted_rules(&c, start);
    if (c.too_large)
        err_set(e, "grammar_too_large",
                "the regular expression has too many states for texts of so many characters");
    free(c.states);
    free(c.rules);
    free(c.todo);
    return node;
}

int json_pattern(struct grammar *g, const char *pattern, size_t length, int min, int max, struct err *e)
{
    struct grammar plain = {0};
    struct analysis a = {0};
    int node = GRAMMAR_BAD;
    int root = grammar_rule(&plain, "root", 4), whole = regex_search(&plain, pattern, length, e);
    grammar_define(&plain, root, whole);
    /* which also takes out repetitions of nothing */
    if (whole >= 0 && analysis_run(&a, &plain, e) == 0)
        node =
            min == 0 && max < 0 ? spelled(g, &plain, plain.rules[0].body) : counted(g, &plain, min, max, e);
    analysis_fini(&a);
    grammar_fini(&plain);
    return node;
}

static int run(const struct automaton *a, const char *text, struct err *e)
{
    struct states *s;
    if (states_new(&s, a, e) != 0)
        return -1;
    int32_t state = states_start(s);
    for (; *text && state > STATES_DEAD; text++)
        state = states_next(s, state, (uint8_t)*text);
    int result = state == STATES_NONE ? err_memory(e) : s->sets[state].accepts;
    states_free(s);
    return result;
}

int json_pattern_matches(const char *pattern, const char *text, struct err *e)
{
    struct grammar plain = {0};
    struct automaton *a = NULL;
    int root = grammar_rule(&plain, "root", 4), node = regex_search(&plain, pattern, strlen(pattern), e);
    grammar_define(&plain, root, node);
    int result = node < 0 || automaton_compile(&a, &plain, e) != 0 ? -1 : run(a, text, e);
    automaton_unref(a);
    grammar_fini(&plain);
    return result;
}

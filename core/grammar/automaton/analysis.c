#include "core/grammar/automaton/analysis.h"

#include <stdlib.h>
#include <string.h>

enum relation {
    NEEDS, /* whatever a node is made of; each node counts twice: see variable */
    LEADS, /* what it may begin with */
};

struct graph {  /* for each node, the nodes that are made of it */
    int *first; /* [count + 2] in users; the last is not used */
    int *users;
};

static void graph_fini(struct graph *d)
{
    free(d->first);
    free(d->users);
}

/* How many of the node's parts count for the relation. `empty` may be NULL for NEEDS. */
static int part_count(const struct grammar *g, const struct grammar_node *n, enum relation r,
                      const int *empty)
{
    switch (n->kind) {
    case GRAMMAR_TEXT:
    case GRAMMAR_CHARS:
        return 0;
    case GRAMMAR_REPEAT:
        return n->max == 0 ? 0 : 1;
    case GRAMMAR_RULE:
        return 1;
    case GRAMMAR_ANY:
        return n->count;
    case GRAMMAR_ALL:
        break;
    }
    if (r == NEEDS)
        return n->count;
    int leading = 0;
    while (leading < n->count && empty[g->children[n->first + leading]] >= 0)
        leading++;
    return leading < n->count ? leading + 1 : leading;
}

static int part(const struct grammar *g, const struct grammar_node *n, int index)
{
    if (n->kind == GRAMMAR_REPEAT)
        return n->first;
    if (n->kind == GRAMMAR_RULE)
        return g->rules[n->first].body;
    return g->children[n->first + index];
}

/* What is asked of a node within another (2 * node), and at the end of a rule (2 * node + 1), where a call
 * takes the place of the caller. */
static int variable(const struct grammar *g, int of, int index)
{
    const struct grammar_node *n = &g->nodes[of / 2];
    bool end = n->kind == GRAMMAR_RULE || n->kind == GRAMMAR_REPEAT ||
               (of % 2 && (n->kind == GRAMMAR_ANY || index == n->count - 1));
    return 2 * part(g, n, index) + end;
}

struct relating {
    const struct grammar *g;
    enum relation relation;
    const int *empty;
};

static int relating_count(const struct relating *r)
{
    return r->relation == NEEDS ? 2 * r->g->node_count : r->g->node_count;
}

static int relating_parts(const struct relating *r, int of)
{
    return part_count(r->g, &r->g->nodes[r->relation == NEEDS ? of / 2 : of], r->relation, r->empty);
}

static int relating_part(const struct relating *r, int of, int index)
{
    return r->relation == NEEDS ? variable(r->g, of, index) : part(r->g, &r->g->nodes[of], index);
}

static int graph_init(struct graph *d, const struct relating *r, struct err *e)
{
    size_t total = 0;
    int count = relating_count(r);
    for (int i = 0; i < count; i++)
        total += (size_t)relating_parts(r, i);
    d->first = calloc((size_t)count + 2, sizeof *d->first);
    d->users = calloc(total + 1, sizeof *d->users);
    if (!d->first || !d->users)
        return err_memory(e);
    for (int i = 0; i < count; i++)
        for (int k = 0, n = relating_parts(r, i); k < n; k++)
            d->first[relating_part(r, i, k) + 2]++;
    for (int i = 2; i < count + 2; i++)
        d->first[i] += d->first[i - 1];
    for (int i = 0; i < count; i++) /* moves each beginning to the next one's */
        for (int k = 0, n = relating_parts(r, i); k < n; k++)
            d->users[d->first[relating_part(r, i, k) + 1]++] = i;
    return 0;
}

/* ---- what follows from the leaves ---- */

struct solving { /* arrays are of variables */
    const struct grammar *g;
    const struct graph *graph;
    bool empty; /* ask whether a node can be empty, else whether it can end */
    int *level, *missing;
    int *queue, *later; /* the levels' variables, and those of the next */
    int end, later_count;
};

static bool is_leaf(const struct solving *s, const struct grammar_node *n)
{
    if (n->kind == GRAMMAR_TEXT)
        return !s->empty || n->count == 0;
    if (n->kind == GRAMMAR_CHARS)
        return !s->empty && n->count > 0;
    return n->kind == GRAMMAR_REPEAT && n->min == 0;
}

static void settle(struct solving *s, int of, int level)
{
    if (s->level[of] >= 0)
        return;
    s->level[of] = level;
    s->queue[s->end++] = of;
}

static void settle_user(struct solving *s, int user, int level)
{
    const struct grammar_node *n = &s->g->nodes[user / 2];
    if (s->level[user] >= 0)
        return;
    if (n->kind == GRAMMAR_REPEAT || (n->kind == GRAMMAR_RULE && user % 2 == 0))
        s->later[s->later_count++] = user; /* made of one node, so this happens once */
    else if (n->kind != GRAMMAR_ALL || --s->missing[user] == 0)
        settle(s, user, level);
}

/* Levels in rising order: a node's is that of its parts, the least where one of them is enough; a call, and a
 * repetition, which may be compiled to calls, adds one. (Knuth 1977, with numbers so small that a queue a
 * level does.) */
static void solve_levels(struct solving *s)
{
    int at = 0;
    for (int level = 0; at < s->end || s->later_count > 0; level++) {
        int count = s->later_count;
        s->later_count = 0;
        int *settled = s->queue + s->end;
        memcpy(settled, s->later, (size_t)count * sizeof *settled);
        for (int i = 0; i < count; i++)
            s->level[settled[i]] = level;
        s->end += count;
        for (; at < s->end; at++)
            for (int k = s->graph->first[s->queue[at]]; k < s->graph->first[s->queue[at] + 1]; k++)
                settle_user(s, s->graph->users[k], level);
    }
}

/* level[variable] becomes the least level, -1 where it is false. */
static int solve(const struct grammar *g, const struct graph *graph, bool empty, int *level, struct err *e)
{
    size_t count = 2 * (size_t)g->node_count;
    struct solving s = {.g = g, .graph = graph, .empty = empty, .level = level};
    s.missing = calloc(count + 1, sizeof *s.missing);
    s.queue = calloc(count + 1, sizeof *s.queue);
    s.later = calloc(count + 1, sizeof *s.later);
    bool made = s.missing && s.queue && s.later;
    for (int i = 0; made && i < (int)count; i++) {
        level[i] = -1;
        s.missing[i] = g->nodes[i / 2].count;
        if (is_leaf(&s, &g->nodes[i / 2]))
            settle(&s, i, 0);
    }
    if (made)
        solve_levels(&s);
    free(s.missing);
    free(s.queue);
    free(s.later);
    return made ? 0 : err_memory(e);
}

/* *level becomes [node_count], of nodes at the end of a rule. */
static int solve_anew(const struct grammar *g, bool empty, int **level, struct err *e)
{
    struct graph d = {0};
    free(*level);
    *level = malloc((2 * (size_t)g->node_count + 1) * sizeof **level);
    int result = !*level ? err_memory(e)
                 : graph_init(&d, &(struct relating){.g = g, .relation = NEEDS}, e) != 0
                     ? -1
                     : solve(g, &d, empty, *level, e);
    for (int i = 0; result == 0 && i < g->node_count; i++)
        (*level)[i] = (*level)[2 * i + 1];
    graph_fini(&d);
    return result;
}

/* ---- repetitions of what can be empty ---- */

enum { STRIP_DEPTH_MAX = 2000 };

struct stripping {
    struct grammar *g;
    const int *empty; /* [count] of the nodes before */
    int count, depth;
    int *node, *rule; /* what stands for them without the empty text; GRAMMAR_BAD: not made yet */
};

static int strip(struct stripping *s, int node);

static int strip_any(struct stripping *s, struct grammar_node n)
{
    int *parts = calloc((size_t)n.count + 1, sizeof *parts);
    if (!parts) {
        s->g->no_memory = true;
        return GRAMMAR_BAD;
    }
    for (int i = 0; i < n.count; i++)
        parts[i] = strip(s, s->g->children[n.first + i]);
    int made = grammar_any(s->g, parts, (size_t)n.count);
    free(parts);
    return made;
}

/* A row of which every part can be empty: the first that is not, and the rest as it was. */
static int strip_all(struct stripping *s, struct grammar_node n)
{
    int *parts = calloc(2 * (size_t)n.count, sizeof *parts), *row = parts ? parts + n.count : NULL;
    if (!parts) {
        s->g->no_memory = true;
        return GRAMMAR_BAD;
    }
    for (int i = 0; i < n.count; i++) {
        memcpy(row, s->g->children + n.first + i, (size_t)(n.count - i) * sizeof *row);
        row[0] = strip(s, row[0]);
        parts[i] = grammar_all(s->g, row, (size_t)(n.count - i));
    }
    int made = grammar_any(s->g, parts, (size_t)n.count);
    free(parts);
    return made;
}

static int strip_rule(struct stripping *s, int rule)
{
    if (s->rule[rule] == GRAMMAR_BAD) {
        struct grammar_rule r = s->g->rules[rule];
        s->rule[rule] = grammar_rule(s->g, r.name, strlen(r.name));
        grammar_define(s->g, s->rule[rule], strip(s, r.body));
    }
    return grammar_call(s->g, s->rule[rule]);
}

static int strip_new(struct stripping *s, int node)
{
    struct grammar_node n = s->g->nodes[node];
    switch (n.kind) {
    case GRAMMAR_ANY:
        return strip_any(s, n);
    case GRAMMAR_ALL:
        return strip_all(s, n);
    case GRAMMAR_REPEAT:
        return grammar_repeat(s->g, strip(s, n.first), 1, n.max == 0 ? 1 : n.max);
    case GRAMMAR_RULE:
        return strip_rule(s, n.first);
    default:
        return grammar_any(s->g, NULL, 0);
    }
}

static int strip(struct stripping *s, int node)
{
    if (node < 0 || node >= s->count || s->empty[node] < 0)
        return node;
    if (s->depth == STRIP_DEPTH_MAX)
        s->g->too_deep = true;
    if (s->g->too_deep)
        return GRAMMAR_BAD;
    s->depth++;
    if (s->node[node] == GRAMMAR_BAD)
        s->node[node] = strip_new(s, node);
    s->depth--;
    return s->node[node];
}

static void strip_repetitions(struct stripping *s)
{
    for (int i = 0; i < s->count; i++) {
        struct grammar_node n = s->g->nodes[i];
        if (n.kind != GRAMMAR_REPEAT || n.max == 0 || s->empty[n.first] < 0)
            continue;
        int body = strip(s, n.first);
        s->g->nodes[i].first = body >= 0 ? body : n.first;
        s->g->nodes[i].min = 0;
    }
}

static int strip_all_repetitions(struct grammar *g, const int *empty, struct err *e)
{
    int count = g->node_count, rules = g->rule_count;
    struct stripping s = {.g = g, .empty = empty, .count = count};
    s.node = malloc(((size_t)count + 1) * sizeof *s.node);
    s.rule = malloc(((size_t)rules + 1) * sizeof *s.rule);
    if (s.node && s.rule) {
        memset(s.node, 0xFF, (size_t)count * sizeof *s.node);
        memset(s.rule, 0xFF, (size_t)rules * sizeof *s.rule);
        strip_repetitions(&s);
    } else {
        g->no_memory = true;
    }
    free(s.node);
    free(s.rule);
    return grammar_check(g, e);
}

/* ---- left recursion ---- */

/* Take away, from the end, the nodes that lead to nothing that is left; how many stay. */
static int peel(const struct grammar *g, const struct graph *d, const int *empty, int *leads, int *queue)
{
    int end = 0;
    for (int i = 0; i < g->node_count; i++) {
        leads[i] = part_count(g, &g->nodes[i], LEADS, empty);
        if (leads[i] == 0)
            queue[end++] = i;
    }
    for (int at = 0; at < end; at++)
        for (int k = d->first[queue[at]]; k < d->first[queue[at] + 1]; k++)
            if (--leads[d->users[k]] == 0)
                queue[end++] = d->users[k];
    return g->node_count - end;
}

/* Some rule on a circle: from a node that is left, every way goes on to one that is left. */
static int rule_on_circle(const struct grammar *g, const int *leads, const int *empty)
{
    int node = 0, rule = 0;
    while (leads[node] == 0)
        node++;
    for (int steps = 0; steps <= g->node_count; steps++) {
        const struct grammar_node *n = &g->nodes[node];
        if (n->kind == GRAMMAR_RULE && g->rules[n->first].name[0])
            rule = n->first;
        for (int k = 0; k < part_count(g, n, LEADS, empty); k++)
            if (leads[part(g, n, k)] > 0) {
                node = part(g, n, k);
                break;
            }
    }
    return rule;
}

static const struct grammar_wording *wording(const struct grammar *g)
{
    static const struct grammar_wording usual = {
        .empty = "no text matches the grammar",
        .empty_in = "no text matches the grammar, since none matches its rule %s",
        .empty_code = "grammar_empty",
        .recursive = "rule %s can begin with itself before anything is read",
        .recursive_code = "grammar_left_recursive",
    };
    return g->wording ? g->wording : &usual;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* a front end's own literals, with one %s each */
static int refuse_circle(const struct grammar *g, const char *rule, struct err *e)
{
    return err_set(e, wording(g)->recursive_code, wording(g)->recursive, rule);
}

static int refuse_empty(const struct grammar *g, const char *rule, struct err *e)
{
    return err_set(e, wording(g)->empty_code, rule ? wording(g)->empty_in : wording(g)->empty, rule);
}
#pragma GCC diagnostic pop

static int refuse_left_recursion(const struct grammar *g, const int *empty, struct err *e)
{
    struct graph d = {0};
    int *leads = calloc(2 * (size_t)g->node_count + 1, sizeof *leads);
    int result = leads ? graph_init(&d, &(struct relating){.g = g, .relation = LEADS, .empty = empty}, e)
                       : err_memory(e);
    if (result == 0 && peel(g, &d, empty, leads, leads + g->node_count) > 0)
        result = refuse_circle(g, g->rules[rule_on_circle(g, leads, empty)].name, e);
    free(leads);
    graph_fini(&d);
    return result;
}

/* ---- all of it ---- */

static int check_defined(const struct grammar *g, struct err *e)
{
    for (int i = 0; i < g->rule_count; i++)
        if (g->rules[i].body < 0)
            return err_set(e, "grammar_undefined_rule", "rule %s is used and not defined", g->rules[i].name);
    return g->rule_count > 0 ? 0 : err_set(e, "grammar_empty", "the grammar has no rules");
}

/* A rule without any text, as deep down as one way leads; NULL: none is the reason. */
static const char *barren_rule(const struct grammar *g, const int *need)
{
    const char *name = NULL;
    int node = g->rules[0].body;
    for (int steps = 0; steps < g->node_count; steps++) {
        const struct grammar_node *n = &g->nodes[node];
        int barren = -1;
        for (int i = part_count(g, n, NEEDS, NULL); i-- > 0;)
            if (need[part(g, n, i)] < 0)
                barren = part(g, n, i);
        if (barren < 0)
            break;
        if (n->kind == GRAMMAR_RULE && g->rules[n->first].name[0])
            name = g->rules[n->first].name;
        node = barren;
    }
    return name;
}

static int analyse(struct analysis *a, struct grammar *g, int **empty, struct err *e)
{
    if (grammar_check(g, e) != 0 || check_defined(g, e) != 0 || solve_anew(g, true, empty, e) != 0 ||
        strip_all_repetitions(g, *empty, e) != 0 || solve_anew(g, true, empty, e) != 0 ||
        refuse_left_recursion(g, *empty, e) != 0 || solve_anew(g, false, &a->need, e) != 0)
        return -1;
    return a->need[g->rules[0].body] >= 0 ? 0 : refuse_empty(g, barren_rule(g, a->need), e);
}

int analysis_run(struct analysis *a, struct grammar *g, struct err *e)
{
    int *empty = NULL;
    *a = (struct analysis){0};
    int result = analyse(a, g, &empty, e);
    free(empty);
    if (result != 0)
        analysis_fini(a);
    return result;
}

void analysis_fini(struct analysis *a)
{
    free(a->need);
    a->need = NULL;
}

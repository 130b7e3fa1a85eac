#include "core/grammar/grammar.h"

#include <stdlib.h>
#include <string.h>

void grammar_fini(struct grammar *g)
{
    free(g->nodes);
    free(g->ranges);
    free(g->children);
    free(g->rules);
    buf_fini(&g->bytes);
    *g = (struct grammar){0};
}

/* Room for `more` items behind the `count` ones of *items; their memory where it is now. */
static bool reserve(struct grammar *g, void **items, size_t size, int count, int *capacity, size_t more)
{
    if (more > (size_t)(GRAMMAR_NODES_MAX - count)) {
        g->too_large = true;
        return false;
    }
    size_t wanted = (size_t)count + more;
    if (wanted <= (size_t)*capacity)
        return true;
    size_t larger = wanted < 64 ? 64 : 2 * wanted;
    void *moved = reallocarray(*items, larger, size);
    if (!moved) {
        g->no_memory = true;
        return false;
    }
    *items = moved;
    *capacity = (int)larger;
    return true;
}

static int add_node(struct grammar *g, struct grammar_node node)
{
    if (node.depth > GRAMMAR_DEPTH_MAX) {
        g->too_deep = true;
        return GRAMMAR_BAD;
    }
    if (!reserve(g, (void **)&g->nodes, sizeof *g->nodes, g->node_count, &g->node_capacity, 1))
        return GRAMMAR_BAD;
    g->nodes[g->node_count] = node;
    return g->node_count++;
}

int grammar_text(struct grammar *g, const char *bytes, size_t length)
{
    if (length > GRAMMAR_BYTES_MAX - g->bytes.length) {
        g->too_large = true;
        return GRAMMAR_BAD;
    }
    struct grammar_node node = {.kind = GRAMMAR_TEXT, .first = (int)g->bytes.length, .count = (int)length};
    if (buf_append(&g->bytes, bytes, length) != 0) {
        g->no_memory = true;
        return GRAMMAR_BAD;
    }
    return add_node(g, node);
}

int grammar_string(struct grammar *g, const char *text)
{
    return grammar_text(g, text, strlen(text));
}

int grammar_empty(struct grammar *g)
{
    return grammar_text(g, "", 0);
}

int grammar_chars(struct grammar *g, const struct grammar_range *ranges, size_t count)
{
    if (!reserve(g, (void **)&g->ranges, sizeof *g->ranges, g->range_count, &g->range_capacity, count))
        return GRAMMAR_BAD;
    struct grammar_node node = {.kind = GRAMMAR_CHARS, .first = g->range_count, .count = (int)count};
    for (size_t i = 0; i < count; i++)
        g->ranges[g->range_count++] = ranges[i];
    return add_node(g, node);
}

static int group(struct grammar *g, enum grammar_kind kind, const int *nodes, size_t count)
{
    struct grammar_node node = {.kind = kind, .first = g->child_count, .count = (int)count, .depth = 1};
    for (size_t i = 0; i < count; i++) {
        if (nodes[i] < 0)
            return GRAMMAR_BAD;
        int depth = g->nodes[nodes[i]].depth + 1;
        node.depth = depth > node.depth ? depth : node.depth;
    }
    if (count == 1)
        return nodes[0];
    if (!reserve(g, (void **)&g->children, sizeof *g->children, g->child_count, &g->child_capacity, count))
        return GRAMMAR_BAD;
    for (size_t i = 0; i < count; i++)
        g->children[g->child_count++] = nodes[i];
    return add_node(g, node);
}

int grammar_all(struct grammar *g, const int *nodes, size_t count)
{
    return count == 0 ? grammar_empty(g) : group(g, GRAMMAR_ALL, nodes, count);
}

int grammar_any(struct grammar *g, const int *nodes, size_t count)
{
    return group(g, GRAMMAR_ANY, nodes, count);
}

int grammar_repeat(struct grammar *g, int node, int min, int max)
{
    if (node < 0)
        return GRAMMAR_BAD;
    if (min > GRAMMAR_REPEAT_MAX || max > GRAMMAR_REPEAT_MAX) {
        g->too_large = true;
        return GRAMMAR_BAD;
    }
    if (min == 1 && max == 1)
        return node;
    return add_node(g, (struct grammar_node){.kind = GRAMMAR_REPEAT,
                                             .first = node,
                                             .min = min,
                                             .max = max,
                                             .depth = g->nodes[node].depth + 1});
}

int grammar_optional(struct grammar *g, int node)
{
    return grammar_repeat(g, node, 0, 1);
}

int grammar_call(struct grammar *g, int rule)
{
    return rule < 0 ? GRAMMAR_BAD : add_node(g, (struct grammar_node){.kind = GRAMMAR_RULE, .first = rule});
}

/* FNV-1a. */
static uint32_t name_hash(const char *name, size_t length)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (uint8_t)name[i]) * 16777619u;
    return hash;
}

int grammar_find_rule(const struct grammar *g, const char *name, size_t length)
{
    uint32_t hash = name_hash(name, length);
    for (int i = 0; i < g->rule_count; i++)
        if (g->rules[i].hash == hash && strlen(g->rules[i].name) == length &&
            memcmp(g->rules[i].name, name, length) == 0)
            return i;
    return GRAMMAR_BAD;
}

int grammar_rule(struct grammar *g, const char *name, size_t length)
{
    if (!reserve(g, (void **)&g->rules, sizeof *g->rules, g->rule_count, &g->rule_capacity, 1))
        return GRAMMAR_BAD;
    struct grammar_rule *r = &g->rules[g->rule_count];
    *r = (struct grammar_rule){.body = GRAMMAR_BAD, .hash = name_hash(name, length)};
    memcpy(r->name, name, length < GRAMMAR_NAME_MAX ? length : GRAMMAR_NAME_MAX);
    return g->rule_count++;
}

void grammar_define(struct grammar *g, int rule, int body)
{
    if (rule >= 0)
        g->rules[rule].body = body;
}

void grammar_list_add(struct grammar *g, struct grammar_list *l, int node)
{
    if (reserve(g, (void **)&l->nodes, sizeof *l->nodes, l->count, &l->capacity, 1))
        l->nodes[l->count++] = node;
}

int grammar_list_all(struct grammar *g, struct grammar_list *l)
{
    int node = grammar_all(g, l->nodes, (size_t)l->count);
    free(l->nodes);
    *l = (struct grammar_list){0};
    return node;
}

int grammar_list_any(struct grammar *g, struct grammar_list *l)
{
    int node = grammar_any(g, l->nodes, (size_t)l->count);
    free(l->nodes);
    *l = (struct grammar_list){0};
    return node;
}

int grammar_check(const struct grammar *g, struct err *e)
{
    if (g->no_memory)
        return err_memory(e);
    if (g->too_deep)
        return err_set(e, "grammar_too_deep", "the grammar nests more than %d deep", GRAMMAR_DEPTH_MAX);
    if (g->too_large)
        return err_set(e, "grammar_too_large", "the grammar has more than %d parts", GRAMMAR_NODES_MAX);
    return 0;
}

/* A grammar while it is being written: rules, each one node; nodes are texts, classes of characters, and what
 * is made of other nodes. Every front end (JSON Schema, GBNF, regular expressions, choices) writes one;
 * automaton.h compiles it. Owns its nodes. One thread at a time.
 *
 * A node is an index. The functions that make nodes never fail on the spot: where memory or a limit is at its
 * end they return GRAMMAR_BAD, take GRAMMAR_BAD for any node, and grammar_check tells what it was. So a front
 * end is written without a check on every line. A node may be used more than once. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"

enum {
    GRAMMAR_BAD = -1,
    GRAMMAR_NODES_MAX = 1 << 18,
    GRAMMAR_DEPTH_MAX = 512,      /* nodes within nodes; rules begin anew */
    GRAMMAR_BYTES_MAX = 1 << 22,  /* of all texts */
    GRAMMAR_REPEAT_MAX = 1 << 14, /* a bounded repetition */
    GRAMMAR_NAME_MAX = 128,       /* bytes of a rule's name */
    GRAMMAR_CODE_MAX = 0x10FFFF,
};

enum grammar_kind { GRAMMAR_TEXT, GRAMMAR_CHARS, GRAMMAR_ALL, GRAMMAR_ANY, GRAMMAR_REPEAT, GRAMMAR_RULE };

struct grammar_range { /* of code points, both ends within; surrogates are left out */
    uint32_t low, high;
};

struct grammar_node {
    enum grammar_kind kind;
    int depth;
    int first; /* TEXT: in bytes; CHARS: in ranges; ALL, ANY: in children; REPEAT: the node; RULE: the rule */
    int count; /* of bytes, ranges, children */
    int min, max; /* REPEAT; max -1: no end */
};

struct grammar_rule {
    int body; /* GRAMMAR_BAD: not defined */
    uint32_t hash;
    char name[GRAMMAR_NAME_MAX + 1];
};

/* How a front end says what is found out when its grammar is compiled; each message has a %s for a rule's
 * name. */
struct grammar_wording {
    const char *empty, *empty_in; /* no text matches; because none does in a rule */
    const char *empty_code, *recursive, *recursive_code;
};

struct grammar {                /* zero-initialize; rule 0 is where texts begin */
    struct grammar_node *nodes; /* owned, as the arrays below */
    struct grammar_range *ranges;
    int *children;
    struct grammar_rule *rules;
    struct buf bytes;
    int node_count, range_count, child_count, rule_count;
    int node_capacity, range_capacity, child_capacity, rule_capacity;
    const struct grammar_wording *wording; /* borrowed; NULL: that of grammars */
    bool no_memory, too_large, too_deep;
};
void grammar_fini(struct grammar *g);

int grammar_text(struct grammar *g, const char *bytes, size_t length); /* may be empty, and any bytes */
int grammar_string(struct grammar *g, const char *text);
int grammar_chars(struct grammar *g, const struct grammar_range *ranges, size_t count);
int grammar_all(struct grammar *g, const int *nodes, size_t count); /* one after the other */
int grammar_any(struct grammar *g, const int *nodes, size_t count); /* one of them; none of none */
int grammar_repeat(struct grammar *g, int node, int min, int max);  /* max -1: no end */
int grammar_optional(struct grammar *g, int node);
int grammar_empty(struct grammar *g);
int grammar_call(struct grammar *g, int rule);
/* A new rule without a body, so that bodies may name rules that come later. The name is cut to fit; rules
 * without a name are not named in errors. */
int grammar_rule(struct grammar *g, const char *name, size_t length);
/* The first rule of that name, GRAMMAR_BAD: none. */
int grammar_find_rule(const struct grammar *g, const char *name, size_t length);
void grammar_define(struct grammar *g, int rule, int body);

/* grammar_all, grammar_any of the nodes given. */
#define GRAMMAR_ALL_OF(g, ...) \
    grammar_all((g), (const int[]){__VA_ARGS__}, sizeof(const int[]){__VA_ARGS__} / sizeof(int))
#define GRAMMAR_ANY_OF(g, ...) \
    grammar_any((g), (const int[]){__VA_ARGS__}, sizeof(const int[]){__VA_ARGS__} / sizeof(int))

/* Nodes that are gathered one by one; zero-initialize. The last two give the list up. */
struct grammar_list {
    int *nodes; /* owned */
    int count, capacity;
};
void grammar_list_add(struct grammar *g, struct grammar_list *l, int node);
int grammar_list_all(struct grammar *g, struct grammar_list *l);
int grammar_list_any(struct grammar *g, struct grammar_list *l);

/* Errors: "out_of_memory", "grammar_too_large", "grammar_too_deep". */
MUST_USE int grammar_check(const struct grammar *g, struct err *e);

/* A compiled template: a tree of nodes in one arena, read-only once made. Expressions and statements are
 * nodes of one kind, since the tree is walked far more often than it is read here. */
#pragma once
#include "core/template/builtins/builtin.h"

enum node_kind {
    NODE_CONSTANT,
    NODE_NAME,
    NODE_LIST, /* items: first */
    NODE_TUPLE,
    NODE_DICT, /* first: key, value, key, value… */
    NODE_OR,
    NODE_AND,
    NODE_NOT,
    NODE_SIGN,      /* symbol a */
    NODE_BINARY,    /* a symbol b */
    NODE_CONCAT,    /* first: operands of ~ */
    NODE_COMPARE,   /* a, first: NODE_OPERAND */
    NODE_OPERAND,   /* symbol a */
    NODE_CONDITION, /* a if b else c */
    NODE_ATTRIBUTE, /* a.name */
    NODE_SUBSCRIPT, /* a[b] */
    NODE_SLICE,     /* a[b:c:d] */
    NODE_CALL,      /* a(first) */
    NODE_ARGUMENT,  /* name = a; without a name: a */
    NODE_FILTER,    /* a | filter(first) */
    NODE_TEST,      /* a is test(first); `negated` */
    NODE_TEXT,
    NODE_OUTPUT,    /* {{ a }} */
    NODE_IF,        /* first: NODE_BRANCH */
    NODE_BRANCH,    /* a (NULL: else), body */
    NODE_FOR,       /* for first in a if b: body, other */
    NODE_SET,       /* first = a; targets: NODE_NAME, NODE_ATTRIBUTE of a NODE_NAME */
    NODE_SET_BLOCK, /* first = body, through the filters a around a NODE_CAPTURED */
    NODE_CAPTURED,
    NODE_MACRO,      /* name, first: NODE_ARGUMENT with a default a or NULL; body */
    NODE_SCOPE,      /* body */
    NODE_GENERATION, /* body: the assistant's words */
    NODE_BREAK,
    NODE_CONTINUE
};

struct node {
    enum node_kind kind;
    int line, depth; /* depth: 1 + that of the deepest child */
    int symbol;
    int count; /* of `first` */
    bool negated, tuple;
    struct node *next, *a, *b, *c, *d, *first, *body, *other;
    struct string name; /* names are unique: the same name is the same pointer */
    struct value constant;
    const struct filter *filter;
    const struct test *test;
};

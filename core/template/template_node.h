/* A compiled template: a tree of nodes, all in one arena, read-only once made. Made by template_lex.c (text
 * to tokens), template_expression.c and template_parse.c (tokens to nodes). */
#pragma once
#include "core/base/err.h"
#include "core/template/template_value.h"

struct template
{
    struct arena arena;
    struct node *body;
    struct name *names; /* all names in it */
};

/* ---- tokens ---- */

enum token_kind {
    TOKEN_END,
    TOKEN_DATA, /* text between tags */
    TOKEN_OUTPUT_BEGIN,
    TOKEN_OUTPUT_END,
    TOKEN_BLOCK_BEGIN,
    TOKEN_BLOCK_END,
    TOKEN_NAME,
    TOKEN_STRING,
    TOKEN_NUMBER,
    TOKEN_OPERATOR
};

/* An operator of one or two characters as a number. */
#define TWO(a, b) ((a) | (b) << 8)

struct token {
    enum token_kind kind;
    int line;
    int operator;       /* TOKEN_OPERATOR */
    struct value value; /* TOKEN_DATA, _NAME, _STRING: a string; TOKEN_NUMBER: a number */
};

/* `text` with plain line breaks, in `arena`; *out: an array that ends with TOKEN_END, to be freed. */
int template_lex(struct arena *arena, const char *text, size_t length, struct token **out, struct err *e);
/* "chat_template_unsupported", with the line. */
int template_refuse(int line, struct err *e, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* ---- nodes ---- */

enum node_kind {
    NODE_CONSTANT,
    NODE_NAME,
    NODE_LIST, /* items: first */
    NODE_TUPLE,
    NODE_DICT, /* first: key, value, key, value… */
    NODE_OR,
    NODE_AND,
    NODE_NOT,
    NODE_SIGN,      /* operator a */
    NODE_BINARY,    /* a operator b */
    NODE_CONCAT,    /* first: operands of ~ */
    NODE_COMPARE,   /* a, first: NODE_OPERAND */
    NODE_OPERAND,   /* operator a */
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
    NODE_MACRO, /* name, first: NODE_ARGUMENT with a default a or NULL; body */
    NODE_SCOPE, /* body */
    NODE_BREAK,
    NODE_CONTINUE
};

/* What a filter, test, method or function takes: names in order, NULL-terminated. */
enum { PARAMETERS_MAX = 4 };
struct signature {
    const char *names[PARAMETERS_MAX + 1];
    int required;
};

struct node {
    enum node_kind kind;
    int line, depth; /* depth: 1 + that of the deepest child */
    int operator;
    int count; /* of `first` */
    bool negated, tuple;
    struct node *next, *a, *b, *c, *d, *first, *body, *other;
    struct string name; /* names are unique: the same name is the same pointer */
    struct value constant;
    const struct filter *filter;
    const struct test *test;
};

/* ---- the parser ---- */

struct name {
    struct name *next;
    struct string text;
};
const struct name *name_find(const struct name *names, struct string text); /* NULL: it is not there */

struct parser {
    struct arena *arena;
    const struct token *at;
    struct name *names;
    int nesting, loops;
    struct err *e;
};

struct node *parser_node(struct parser *p, enum node_kind kind); /* NULL: out of memory */
/* Append to a list of nodes; meanwhile parent->d is the one before. */
void parser_add(struct node *parent, struct node **list, struct node *child);
int parser_adopt(struct parser *p, struct node *parent, const struct node *child);
bool parser_is_name(const struct parser *p, const char *name);
bool parser_skip_name(struct parser *p, const char *name);
bool parser_skip(struct parser *p, int operator);
int parser_expect(struct parser *p, int operator);
int parser_intern(struct parser *p, struct string *name);
int parser_enter(struct parser *p); /* one bracket or statement deeper, to be undone by p->nesting-- */
/* "expected WHAT, found …" at the present token. */
int parser_unexpected(struct parser *p, const char *what);

/* An expression; `condition`: `a if b else c` may stand here without brackets. NULL: error. */
struct node *parser_expression(struct parser *p, bool condition);
/* The same or, with commas, a tuple without brackets. */
struct node *parser_tuple(struct parser *p, bool condition);
/* | filter | filter … */
struct node *parser_filters(struct parser *p, struct node *value);

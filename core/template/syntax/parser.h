/* What parsing expressions and parsing statements share: the tokens ahead, the names, how deep it is, and the
 * making of nodes. */
#pragma once
#include "core/template/syntax/lex.h"
#include "core/template/syntax/names.h"
#include "core/template/syntax/node.h"

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
MUST_USE int parser_adopt(struct parser *p, struct node *parent, const struct node *child);
bool parser_is_name(const struct parser *p, const char *name);
bool parser_skip_name(struct parser *p, const char *name);
bool parser_skip(struct parser *p, int symbol);
MUST_USE int parser_expect(struct parser *p, int symbol);
MUST_USE int parser_intern(struct parser *p, struct string *name);
MUST_USE int
parser_enter(struct parser *p); /* one bracket or statement deeper, to be undone by p->nesting-- */
/* "expected WHAT, found …" at the present token. */
int parser_unexpected(struct parser *p, const char *what);

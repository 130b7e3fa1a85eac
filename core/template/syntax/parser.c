#include "core/template/syntax/parser.h"

#include <string.h>

#include "core/template/syntax/refuse.h"
#include "core/template/values/limits.h"

struct node *parser_node(struct parser *p, enum node_kind kind)
{
    struct node *n = arena_alloc(p->arena, sizeof *n);
    if (!n) {
        err_memory(p->e);
        return NULL;
    }
    *n = (struct node){.kind = kind, .line = p->at->line, .depth = 1};
    return n;
}

void parser_add(struct node *parent, struct node **list, struct node *child)
{
    /* The parent remembers the last of its list, since bodies can be too long to walk through each time. */
    if (*list)
        parent->d->next = child;
    else
        *list = child;
    parent->d = child;
    parent->count++;
}

int parser_adopt(struct parser *p, struct node *parent, const struct node *child)
{
    if (!child)
        return 0;
    if (child->depth >= TEMPLATE_NODE_DEPTH_MAX)
        return syntax_refuse(child->line, p->e, "nested more than %d deep", TEMPLATE_NODE_DEPTH_MAX);
    if (parent->depth <= child->depth)
        parent->depth = child->depth + 1;
    return 0;
}

bool parser_is_name(const struct parser *p, const char *name)
{
    return p->at->kind == TOKEN_NAME && string_is(p->at->value.string, name);
}

bool parser_skip_name(struct parser *p, const char *name)
{
    bool found = parser_is_name(p, name);
    p->at += found;
    return found;
}

bool parser_skip(struct parser *p, int symbol)
{
    bool found = p->at->kind == TOKEN_OPERATOR && p->at->symbol == symbol;
    p->at += found;
    return found;
}

int parser_unexpected(struct parser *p, const char *what)
{
    static const char *const kinds[] = {"the end", "text",   "\"{{\"",   "\"}}\"",  "\"{%\"",
                                        "\"%}\"",  "a name", "a string", "a number"};
    const struct token *t = p->at;
    if (t->kind == TOKEN_OPERATOR)
        return syntax_refuse(t->line, p->e, "expected %s, found \"%c%.1s\"", what, t->symbol & 255,
                             t->symbol > 255 ? (const char[]){(char)(t->symbol >> 8), 0} : "");
    if (t->kind == TOKEN_NAME)
        return syntax_refuse(t->line, p->e, "expected %s, found \"%.*s\"", what,
                             (int)(t->value.string.length < 50 ? t->value.string.length : 50),
                             t->value.string.data);
    return syntax_refuse(t->line, p->e, "expected %s, found %s", what, kinds[t->kind]);
}

int parser_expect(struct parser *p, int symbol)
{
    char what[] = {'"', (char)symbol, '"', '\0'};
    return parser_skip(p, symbol) ? 0 : parser_unexpected(p, what);
}

int parser_intern(struct parser *p, struct string *name)
{
    return names_intern(p->arena, &p->names, name) == 0 ? 0 : err_memory(p->e);
}

int parser_enter(struct parser *p)
{
    if (p->nesting == TEMPLATE_NESTING_MAX)
        return syntax_refuse(p->at->line, p->e, "nested more than %d deep", TEMPLATE_NESTING_MAX);
    p->nesting++;
    return 0;
}

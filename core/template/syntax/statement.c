#include "core/template/syntax/statement.h"

#include <string.h>

#include "core/template/syntax/expression.h"
#include "core/template/syntax/refuse.h"

static int parse_body(struct parser *p, struct node *parent, struct node **list, const char *const ends[]);

static int expect_end(struct parser *p)
{
    if (p->at->kind != TOKEN_BLOCK_END)
        return parser_unexpected(p, "\"%}\"");
    p->at++;
    return 0;
}

static int expect_name(struct parser *p, struct string *out)
{
    if (p->at->kind != TOKEN_NAME)
        return parser_unexpected(p, "a name");
    *out = p->at->value.string;
    p->at++;
    return parser_intern(p, out);
}

/* ---- statements ---- */

/* `name`, or `name.attribute` where a namespace may be. */
static int parse_target(struct parser *p, struct node *parent, bool attributes)
{
    struct node *n = parser_node(p, NODE_NAME);
    if (!n)
        return -1;
    if (p->at->kind == TOKEN_OPERATOR)
        return syntax_refuse(p->at->line, p->e, "this form of assignment is not supported");
    if (expect_name(p, &n->name) != 0)
        return -1;
    static const char *const constants[] = {"true", "True", "false", "False", "none", "None", "loop"};
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        if (string_is(n->name, constants[i]))
            return syntax_refuse(n->line, p->e, "\"%s\" cannot be assigned to", constants[i]);
    if (attributes && parser_skip(p, '.')) {
        struct node *owner = n;
        n = parser_node(p, NODE_ATTRIBUTE);
        if (!n || expect_name(p, &n->name) != 0)
            return -1;
        n->a = owner;
    }
    parser_add(parent, &parent->first, n);
    return 0;
}

static int parse_targets(struct parser *p, struct node *parent, bool attributes)
{
    if (parse_target(p, parent, attributes) != 0)
        return -1;
    while (parser_skip(p, ',')) {
        parent->tuple = true;
        if (p->at->kind != TOKEN_NAME || parser_is_name(p, "in"))
            break;
        if (parse_target(p, parent, attributes) != 0)
            return -1;
    }
    return 0;
}

static int adopt_expression(struct parser *p, struct node *parent, struct node **place, struct node *n)
{
    *place = n;
    return n ? parser_adopt(p, parent, n) : -1;
}

/* Behind "{% if", "{% elif", or, without a test, "{% else". */
static int parse_branch(struct parser *p, struct node *parent, bool test)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL}, *const last[] = {"endif", NULL};
    struct node *n = parser_node(p, NODE_BRANCH);
    if (!n || (test && adopt_expression(p, n, &n->a, expression_parse_tuple(p, false)) != 0) ||
        expect_end(p) != 0 || parse_body(p, n, &n->body, test ? ends : last) != 0)
        return -1;
    parser_add(parent, &parent->first, n);
    return parser_adopt(p, parent, n);
}

static int parse_if(struct parser *p, struct node *n)
{
    if (parse_branch(p, n, true) != 0)
        return -1;
    while (parser_skip_name(p, "elif"))
        if (parse_branch(p, n, true) != 0)
            return -1;
    if (parser_skip_name(p, "else") && parse_branch(p, n, false) != 0)
        return -1;
    p->at++;
    return 0;
}

static int parse_for(struct parser *p, struct node *n)
{
    static const char *const ends[] = {"else", "endfor", NULL}, *const last[] = {"endfor", NULL};
    n->name = STRING("loop");
    if (parser_intern(p, &n->name) != 0 || parse_targets(p, n, false) != 0)
        return -1;
    if (!parser_skip_name(p, "in"))
        return parser_unexpected(p, "\"in\"");
    if (adopt_expression(p, n, &n->a, expression_parse_tuple(p, false)) != 0)
        return -1;
    if (parser_skip_name(p, "if") && adopt_expression(p, n, &n->b, expression_parse(p, true)) != 0)
        return -1;
    if (parser_is_name(p, "recursive"))
        return syntax_refuse(p->at->line, p->e, "recursive loops are not supported");
    p->loops++;
    int result = expect_end(p) != 0 ? -1 : parse_body(p, n, &n->body, ends);
    p->loops--;
    if (result == 0 && parser_skip_name(p, "else"))
        result = expect_end(p) != 0 ? -1 : parse_body(p, n, &n->other, last);
    if (result == 0)
        p->at++;
    return result;
}

/* Behind the tag's words: a body that is no part of the loops around it. */
static int parse_own_body(struct parser *p, struct node *n, const char *const ends[])
{
    int loops = p->loops;
    p->loops = 0;
    if (expect_end(p) != 0 || parse_body(p, n, &n->body, ends) != 0)
        return -1;
    p->loops = loops;
    p->at++;
    return 0;
}

static int parse_set(struct parser *p, struct node *n)
{
    static const char *const ends[] = {"endset", NULL};
    if (parse_targets(p, n, true) != 0)
        return -1;
    if (parser_skip(p, '='))
        return adopt_expression(p, n, &n->a, expression_parse_tuple(p, true));
    n->kind = NODE_SET_BLOCK;
    if (adopt_expression(p, n, &n->a, expression_parse_filters(p, parser_node(p, NODE_CAPTURED))) != 0)
        return -1;
    return parse_own_body(p, n, ends);
}

static int parse_parameter(struct parser *p, struct node *macro)
{
    struct node *n = parser_node(p, NODE_ARGUMENT);
    if (!n || expect_name(p, &n->name) != 0)
        return -1;
    for (const struct node *other = macro->first; other; other = other->next)
        if (other->name.data == n->name.data)
            return syntax_refuse(n->line, p->e, "the parameter \"%.*s\" is there twice", (int)n->name.length,
                                 n->name.data);
    bool defaults = macro->d && macro->d->a;
    if (parser_skip(p, '=')) {
        if (adopt_expression(p, n, &n->a, expression_parse(p, true)) != 0)
            return -1;
    } else if (defaults)
        return syntax_refuse(n->line, p->e, "a parameter without a default behind one with a default");
    parser_add(macro, &macro->first, n);
    return parser_adopt(p, macro, n);
}

static int parse_macro(struct parser *p, struct node *n)
{
    static const char *const ends[] = {"endmacro", NULL};
    if (expect_name(p, &n->name) != 0 || parser_expect(p, '(') != 0)
        return -1;
    while (!parser_skip(p, ')')) {
        if (n->first && parser_expect(p, ',') != 0)
            return -1;
        if (parse_parameter(p, n) != 0)
            return -1;
    }
    return parse_own_body(p, n, ends);
}

/* What transformers adds to mark the assistant's words. */
static int parse_generation(struct parser *p, struct node *n)
{
    static const char *const ends[] = {"endgeneration", NULL};
    return parse_own_body(p, n, ends);
}

static int parse_jump(struct parser *p, struct node *n)
{
    return p->loops ? 0 : syntax_refuse(n->line, p->e, "outside of a loop");
}

static int parse_statement(struct parser *p, struct node *parent, struct node **list)
{
    static const struct {
        const char *name;
        enum node_kind kind;
        int (*parse)(struct parser *p, struct node *n);
    } statements[] = {{"if", NODE_IF, parse_if},
                      {"for", NODE_FOR, parse_for},
                      {"set", NODE_SET, parse_set},
                      {"macro", NODE_MACRO, parse_macro},
                      {"break", NODE_BREAK, parse_jump},
                      {"continue", NODE_CONTINUE, parse_jump},
                      {"generation", NODE_GENERATION, parse_generation}};
    if (p->at->kind != TOKEN_NAME)
        return parser_unexpected(p, "a statement");
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
        if (!parser_skip_name(p, statements[i].name))
            continue;
        struct node *n = parser_node(p, statements[i].kind);
        if (!n || statements[i].parse(p, n) != 0)
            return -1;
        parser_add(parent, list, n);
        return parser_adopt(p, parent, n) != 0 ? -1 : expect_end(p);
    }
    struct string name = p->at->value.string;
    return syntax_refuse(p->at->line, p->e, "{%% %.*s %%} is not supported here",
                         (int)(name.length < 50 ? name.length : 50), name.data);
}

static int parse_output(struct parser *p, struct node *parent, struct node **list)
{
    struct node *n = parser_node(p, NODE_OUTPUT);
    if (!n || adopt_expression(p, n, &n->a, expression_parse_tuple(p, true)) != 0)
        return -1;
    if (p->at->kind != TOKEN_OUTPUT_END)
        return parser_unexpected(p, "\"}}\"");
    p->at++;
    parser_add(parent, list, n);
    return parser_adopt(p, parent, n);
}

static int parse_text(struct parser *p, struct node *parent, struct node **list)
{
    struct node *n = parser_node(p, NODE_TEXT);
    if (!n)
        return -1;
    n->constant = p->at->value;
    p->at++;
    parser_add(parent, list, n);
    return 0;
}

/* Behind "{%": whether one of the names that end the body is here; what follows it is the caller's. */
static bool body_ends(const struct parser *p, const char *const ends[])
{
    for (; ends && *ends; ends++)
        if (parser_is_name(p, *ends))
            return true;
    return false;
}

static int parse_statements(struct parser *p, struct node *parent, struct node **list,
                            const char *const ends[])
{
    for (;;) {
        int result = 0;
        switch (p->at->kind) {
        case TOKEN_DATA:
            result = parse_text(p, parent, list);
            break;
        case TOKEN_OUTPUT_BEGIN:
            p->at++;
            result = parse_output(p, parent, list);
            break;
        case TOKEN_BLOCK_BEGIN:
            p->at++;
            if (body_ends(p, ends))
                return 0;
            result = parse_statement(p, parent, list);
            break;
        default:
            return ends ? syntax_refuse(parent->line, p->e, "{%% %s %%} is missing", ends[0]) : 0;
        }
        if (result != 0)
            return -1;
    }
}

/* Up to one of the names of `ends`, at which it stops; NULL: up to the end. */
static int parse_body(struct parser *p, struct node *parent, struct node **list, const char *const ends[])
{
    if (parser_enter(p) != 0)
        return -1;
    int result = parse_statements(p, parent, list, ends);
    p->nesting--;
    return result;
}

struct node *statement_parse_all(struct parser *p)
{
    struct node *n = parser_node(p, NODE_SCOPE);
    return n && parse_body(p, n, &n->body, NULL) == 0 ? n : NULL;
}

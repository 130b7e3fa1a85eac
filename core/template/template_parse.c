/* Tokens to the nodes of statements, and what the two halves of the parser share. */
#include <stdlib.h>
#include <string.h>

#include "core/template/template.h"
#include "core/template/template_run.h"

enum { COMPILED_BYTES_MAX = 128 << 20 };

static int parse_body(struct parser *p, struct node *parent, struct node **list, const char *const ends[]);

/* ---- shared ---- */

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
    /* The last one is found by way of the parent: bodies can be long. */
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
        return template_refuse(child->line, p->e, "nested more than %d deep", TEMPLATE_NODE_DEPTH_MAX);
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

bool parser_skip(struct parser *p, int operator)
{
    bool found = p->at->kind == TOKEN_OPERATOR && p->at->operator== operator;
    p->at += found;
    return found;
}

int parser_unexpected(struct parser *p, const char *what)
{
    static const char *const kinds[] = {"the end", "text",   "\"{{\"",   "\"}}\"",  "\"{%\"",
                                        "\"%}\"",  "a name", "a string", "a number"};
    const struct token *t = p->at;
    if (t->kind == TOKEN_OPERATOR)
        return template_refuse(t->line, p->e, "expected %s, found \"%c%.1s\"", what, t->operator& 255,
                               t->operator> 255 ? (const char[]){(char)(t->operator>> 8), 0} : "");
    if (t->kind == TOKEN_NAME)
        return template_refuse(t->line, p->e, "expected %s, found \"%.*s\"", what,
                               (int)(t->value.string.length < 50 ? t->value.string.length : 50),
                               t->value.string.data);
    return template_refuse(t->line, p->e, "expected %s, found %s", what, kinds[t->kind]);
}

int parser_expect(struct parser *p, int operator)
{
    char what[] = {'"', (char)operator, '"', '\0'};
    return parser_skip(p, operator) ? 0 : parser_unexpected(p, what);
}

const struct name *name_find(const struct name *names, struct string text)
{
    const struct name *n = names;
    while (n && (n->text.length != text.length || memcmp(n->text.data, text.data, text.length) != 0))
        n = n->next;
    return n;
}

int parser_intern(struct parser *p, struct string *name)
{
    const struct name *known = name_find(p->names, *name);
    if (known) {
        *name = known->text;
        return 0;
    }
    struct name *n = arena_alloc(p->arena, sizeof *n);
    if (!n)
        return err_memory(p->e);
    *n = (struct name){p->names, *name};
    p->names = n;
    return 0;
}

int parser_enter(struct parser *p)
{
    if (p->nesting == TEMPLATE_NESTING_MAX)
        return template_refuse(p->at->line, p->e, "nested more than %d deep", TEMPLATE_NESTING_MAX);
    p->nesting++;
    return 0;
}

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
        return template_refuse(p->at->line, p->e, "this form of assignment is not supported");
    if (expect_name(p, &n->name) != 0)
        return -1;
    static const char *const constants[] = {"true", "True", "false", "False", "none", "None", "loop"};
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        if (string_is(n->name, constants[i]))
            return template_refuse(n->line, p->e, "\"%s\" cannot be assigned to", constants[i]);
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
    if (!n || (test && adopt_expression(p, n, &n->a, parser_tuple(p, false)) != 0) || expect_end(p) != 0 ||
        parse_body(p, n, &n->body, test ? ends : last) != 0)
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
    if (adopt_expression(p, n, &n->a, parser_tuple(p, false)) != 0)
        return -1;
    if (parser_skip_name(p, "if") && adopt_expression(p, n, &n->b, parser_expression(p, true)) != 0)
        return -1;
    if (parser_is_name(p, "recursive"))
        return template_refuse(p->at->line, p->e, "recursive loops are not supported");
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
        return adopt_expression(p, n, &n->a, parser_tuple(p, true));
    n->kind = NODE_SET_BLOCK;
    if (adopt_expression(p, n, &n->a, parser_filters(p, parser_node(p, NODE_CAPTURED))) != 0)
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
            return template_refuse(n->line, p->e, "the parameter \"%.*s\" is there twice",
                                   (int)n->name.length, n->name.data);
    bool defaults = macro->d && macro->d->a;
    if (parser_skip(p, '=')) {
        if (adopt_expression(p, n, &n->a, parser_expression(p, true)) != 0)
            return -1;
    } else if (defaults)
        return template_refuse(n->line, p->e, "a parameter without a default behind one with a default");
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

/* What transformers adds to mark the assistant's words; they are rendered like any. */
static int parse_generation(struct parser *p, struct node *n)
{
    static const char *const ends[] = {"endgeneration", NULL};
    return parse_own_body(p, n, ends);
}

static int parse_jump(struct parser *p, struct node *n)
{
    return p->loops ? 0 : template_refuse(n->line, p->e, "outside of a loop");
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
                      {"generation", NODE_SCOPE, parse_generation}};
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
    return template_refuse(p->at->line, p->e, "{%% %.*s %%} is not supported here",
                           (int)(name.length < 50 ? name.length : 50), name.data);
}

static int parse_output(struct parser *p, struct node *parent, struct node **list)
{
    struct node *n = parser_node(p, NODE_OUTPUT);
    if (!n || adopt_expression(p, n, &n->a, parser_tuple(p, true)) != 0)
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
            return ends ? template_refuse(parent->line, p->e, "{%% %s %%} is missing", ends[0]) : 0;
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

static int compile(struct template *t, const char *text, size_t length, struct err *e)
{
    struct token *tokens;
    if (template_lex(&t->arena, text, length, &tokens, e) != 0)
        return -1;
    struct parser p = {.arena = &t->arena, .at = tokens, .e = e};
    t->body = parser_node(&p, NODE_SCOPE);
    int result = t->body ? parse_body(&p, t->body, &t->body->body, NULL) : -1;
    t->names = p.names;
    free(tokens);
    return result;
}

int template_new(struct template **out, const char *text, size_t length, struct err *e)
{
    if (length > TEMPLATE_BYTES_MAX)
        return err_set(e, "chat_template_unsupported",
                       "the model's chat template may have %d bytes, it has %zu", TEMPLATE_BYTES_MAX, length);
    struct template *t = calloc(1, sizeof *t);
    if (!t)
        return err_memory(e);
    t->arena.bytes_max = COMPILED_BYTES_MAX;
    if (compile(t, text, length, e) != 0) {
        template_free(t);
        return -1;
    }
    *out = t;
    return 0;
}

void template_free(struct template *t)
{
    if (!t)
        return;
    arena_fini(&t->arena);
    free(t);
}

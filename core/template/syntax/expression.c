#include "core/template/syntax/expression.h"

#include <stdio.h>
#include <string.h>

#include "core/template/builtins/filters.h"
#include "core/template/builtins/methods.h"
#include "core/template/builtins/tests.h"
#include "core/template/syntax/refuse.h"
#include "core/template/syntax/signature.h"

static struct node *parse_signed(struct parser *p);

/* A node with one or two operands, which count for its depth. */
static struct node *make(struct parser *p, enum node_kind kind, int symbol, struct node *a, struct node *b)
{
    struct node *n = a ? parser_node(p, kind) : NULL;
    if (!n)
        return NULL;
    n->symbol = symbol;
    n->a = a;
    n->b = b;
    n->line = a->line;
    return parser_adopt(p, n, a) == 0 && parser_adopt(p, n, b) == 0 ? n : NULL;
}

static int add(struct parser *p, struct node *parent, struct node *child)
{
    if (!child || parser_adopt(p, parent, child) != 0)
        return -1;
    parser_add(parent, &parent->first, child);
    return 0;
}

static bool at_operator(const struct parser *p, int symbol)
{
    return p->at->kind == TOKEN_OPERATOR && p->at->symbol == symbol;
}

/* One of up to four operators, or 0. */
static int take_operator(struct parser *p, const int operators[4])
{
    for (int i = 0; i < 4 && operators[i]; i++)
        if (parser_skip(p, operators[i]))
            return operators[i];
    return 0;
}

/* ---- literals ---- */

static struct node *parse_constant(struct parser *p, struct value v)
{
    struct node *n = parser_node(p, NODE_CONSTANT);
    if (n)
        n->constant = v;
    return n;
}

static struct node *parse_name(struct parser *p)
{
    static const struct {
        const char *name;
        struct value value;
    } constants[] = {{"true", {.kind = VALUE_BOOL, .boolean = true}},
                     {"True", {.kind = VALUE_BOOL, .boolean = true}},
                     {"false", {.kind = VALUE_BOOL, .boolean = false}},
                     {"False", {.kind = VALUE_BOOL, .boolean = false}},
                     {"none", {.kind = VALUE_NONE}},
                     {"None", {.kind = VALUE_NONE}}};
    static const char *const refused[] = {"self",   "super",  "caller", "varargs",
                                          "kwargs", "cycler", "joiner", "lipsum"};
    struct string name = p->at->value.string;
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        if (string_is(name, constants[i].name)) {
            struct node *n = parse_constant(p, constants[i].value);
            p->at++;
            return n;
        }
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (string_is(name, refused[i])) {
            syntax_refuse(p->at->line, p->e, "\"%s\" is not supported", refused[i]);
            return NULL;
        }
    struct node *n = parser_node(p, NODE_NAME);
    p->at++;
    if (!n || parser_intern(p, &name) != 0)
        return NULL;
    n->name = name;
    return n;
}

/* "a" "b" is "ab", as in Python. */
static struct node *parse_string(struct parser *p)
{
    struct node *n = parse_constant(p, p->at->value);
    const struct token *first = p->at;
    size_t length = 0;
    for (; p->at->kind == TOKEN_STRING; p->at++)
        length += p->at->value.string.length;
    if (!n || p->at == first + 1)
        return n;
    char *data = arena_alloc(p->arena, length + 1);
    if (!data) {
        err_memory(p->e);
        return NULL;
    }
    n->constant.string = (struct string){data, length};
    for (const struct token *t = first; t < p->at; t++) {
        if (t->value.string.length)
            memcpy(data, t->value.string.data, t->value.string.length);
        data += t->value.string.length;
    }
    return n;
}

/* What stands between brackets: items with commas between them, one more behind the last or not. */
static int parse_items(struct parser *p, struct node *n, int closing,
                       int (*item)(struct parser *p, struct node *n))
{
    while (!at_operator(p, closing)) {
        if (n->first && parser_expect(p, ',') != 0)
            return -1;
        if (at_operator(p, closing))
            break;
        if (item(p, n) != 0)
            return -1;
    }
    return parser_expect(p, closing);
}

static int parse_item(struct parser *p, struct node *list)
{
    return add(p, list, expression_parse(p, true));
}

static int parse_entry(struct parser *p, struct node *dict)
{
    return parse_item(p, dict) != 0 || parser_expect(p, ':') != 0 ? -1 : parse_item(p, dict);
}

static struct node *parse_list(struct parser *p)
{
    struct node *n = parser_node(p, NODE_LIST);
    return n && parse_items(p, n, ']', parse_item) == 0 ? n : NULL;
}

static struct node *parse_dict(struct parser *p)
{
    struct node *n = parser_node(p, NODE_DICT);
    return n && parse_items(p, n, '}', parse_entry) == 0 ? n : NULL;
}

/* Whether a tuple without brackets ends here: "{{ 1, }}", "{% for a, b in x %}", "f((1,))". */
static bool tuple_ends(const struct parser *p)
{
    return p->at->kind == TOKEN_OUTPUT_END || p->at->kind == TOKEN_BLOCK_END || at_operator(p, ')');
}

static struct node *parse_tuple(struct parser *p, bool condition, bool brackets)
{
    struct node *n = NULL;
    if (!(brackets && at_operator(p, ')'))) {
        struct node *first = expression_parse(p, condition);
        if (!first || !at_operator(p, ','))
            return first;
        n = parser_node(p, NODE_TUPLE);
        if (!n || add(p, n, first) != 0)
            return NULL;
    } else
        n = parser_node(p, NODE_TUPLE);
    while (n && parser_skip(p, ',') && !tuple_ends(p))
        if (add(p, n, expression_parse(p, condition)) != 0)
            return NULL;
    return n;
}

static struct node *parse_primary(struct parser *p)
{
    if (p->at->kind == TOKEN_NAME)
        return parse_name(p);
    if (p->at->kind == TOKEN_STRING)
        return parse_string(p);
    struct node *n = NULL;
    if (p->at->kind == TOKEN_NUMBER) {
        n = parse_constant(p, p->at->value);
        p->at++;
    } else if (parser_skip(p, '(')) {
        n = parse_tuple(p, true, true);
        n = n && parser_expect(p, ')') == 0 ? n : NULL;
    } else if (parser_skip(p, '['))
        n = parse_list(p);
    else if (parser_skip(p, '{'))
        n = parse_dict(p);
    else
        parser_unexpected(p, "an expression");
    return n;
}

/* ---- subscripts, calls ---- */

static int parse_argument(struct parser *p, struct node *call)
{
    if (at_operator(p, '*') || at_operator(p, TWO('*', '*')))
        return syntax_refuse(p->at->line, p->e, "* and ** in calls are not supported");
    struct node *n = parser_node(p, NODE_ARGUMENT);
    if (!n)
        return -1;
    if (p->at->kind == TOKEN_NAME && p->at[1].kind == TOKEN_OPERATOR && p->at[1].symbol == '=') {
        n->name = p->at->value.string;
        if (parser_intern(p, &n->name) != 0)
            return -1;
        for (const struct node *other = call->first; other; other = other->next)
            if (other->name.data == n->name.data)
                return syntax_refuse(p->at->line, p->e, "\"%.*s\" is given twice", (int)n->name.length,
                                     n->name.data);
        p->at += 2;
    } else if (call->d && call->d->name.data) /* the argument before */
        return syntax_refuse(p->at->line, p->e, "an argument without a name behind one with a name");
    n->a = expression_parse(p, true);
    return n->a && parser_adopt(p, n, n->a) == 0 ? add(p, call, n) : -1;
}

static int parse_arguments(struct parser *p, struct node *call)
{
    return parser_expect(p, '(') == 0 ? parse_items(p, call, ')', parse_argument) : -1;
}

static struct node *parse_call(struct parser *p, struct node *callee)
{
    struct node *n = make(p, NODE_CALL, 0, callee, NULL);
    if (!n)
        return NULL;
    n->line = p->at->line;
    if (callee->kind == NODE_ATTRIBUTE && !methods_known(callee->name)) {
        syntax_refuse(n->line, p->e, "the method \"%.*s\" is not supported", (int)callee->name.length,
                      callee->name.data);
        return NULL;
    }
    return parse_arguments(p, n) == 0 ? n : NULL;
}

/* a[b], a[b:c:d] */
static struct node *parse_subscript(struct parser *p, struct node *of)
{
    struct node *bounds[3] = {0};
    int part = 0;
    for (; part < 3; part++) {
        if (!at_operator(p, ':') && !(part > 0 && at_operator(p, ']')) &&
            !(bounds[part] = expression_parse(p, true)))
            return NULL;
        if (part == 2 || !parser_skip(p, ':'))
            break;
    }
    if (at_operator(p, ',')) {
        syntax_refuse(p->at->line, p->e, "a subscript with a comma is not supported");
        return NULL;
    }
    if (parser_expect(p, ']') != 0)
        return NULL;
    struct node *n = make(p, part == 0 ? NODE_SUBSCRIPT : NODE_SLICE, 0, of, bounds[0]);
    if (!n || parser_adopt(p, n, bounds[1]) != 0 || parser_adopt(p, n, bounds[2]) != 0)
        return NULL;
    n->c = bounds[1];
    n->d = bounds[2];
    return n;
}

static struct node *parse_attribute(struct parser *p, struct node *of)
{
    if (p->at->kind == TOKEN_NUMBER && p->at->value.kind == VALUE_INTEGER) {
        struct node *key = parse_constant(p, p->at->value);
        p->at++;
        return key ? make(p, NODE_SUBSCRIPT, 0, of, key) : NULL;
    }
    if (p->at->kind != TOKEN_NAME) {
        parser_unexpected(p, "a name");
        return NULL;
    }
    struct node *n = make(p, NODE_ATTRIBUTE, 0, of, NULL);
    if (!n)
        return NULL;
    n->name = p->at->value.string;
    if (n->name.length > 1 && memcmp(n->name.data, "__", 2) == 0) {
        syntax_refuse(p->at->line, p->e, "the attribute \"%.*s\" is not supported", (int)n->name.length,
                      n->name.data);
        return NULL;
    }
    p->at++;
    return parser_intern(p, &n->name) == 0 ? n : NULL;
}

static struct node *parse_postfix(struct parser *p, struct node *n)
{
    while (n) {
        if (parser_skip(p, '.'))
            n = parse_attribute(p, n);
        else if (parser_skip(p, '['))
            n = parse_subscript(p, n);
        else if (at_operator(p, '('))
            n = parse_call(p, n);
        else
            break;
    }
    return n;
}

/* ---- filters and tests ---- */

static struct node *parse_filter(struct parser *p, struct node *value)
{
    struct node *n = make(p, NODE_FILTER, 0, value, NULL);
    if (!n)
        return NULL;
    if (p->at->kind != TOKEN_NAME) {
        parser_unexpected(p, "a filter");
        return NULL;
    }
    char what[80];
    struct string name = p->at->value.string;
    n->line = p->at->line;
    n->filter = filters_find(name);
    snprintf(what, sizeof what, "the filter \"%.*s\"", (int)(name.length < 50 ? name.length : 50), name.data);
    p->at++;
    if (!n->filter || at_operator(p, '.')) {
        syntax_refuse(n->line, p->e, "%s is not supported", what);
        return NULL;
    }
    if (at_operator(p, '(') && parse_arguments(p, n) != 0)
        return NULL;
    return signature_check(&n->filter->signature, n->first, what, n->line, p->e) == 0 ? n : NULL;
}

struct node *expression_parse_filters(struct parser *p, struct node *value)
{
    while (value && parser_skip(p, '|'))
        value = parse_filter(p, value);
    return value;
}

/* x is divisibleby 3: one argument without brackets. */
static bool test_argument_begins(const struct parser *p)
{
    switch (p->at->kind) {
    case TOKEN_NAME:
        return !parser_is_name(p, "else") && !parser_is_name(p, "or") && !parser_is_name(p, "and");
    case TOKEN_STRING:
    case TOKEN_NUMBER:
        return true;
    case TOKEN_OPERATOR:
        return at_operator(p, '[') || at_operator(p, '{');
    default:
        return false;
    }
}

static int parse_test_arguments(struct parser *p, struct node *n)
{
    if (at_operator(p, '('))
        return parse_arguments(p, n);
    if (!test_argument_begins(p))
        return 0;
    if (parser_is_name(p, "is"))
        return syntax_refuse(p->at->line, p->e, "tests cannot be chained with \"is\"");
    struct node *argument = parser_node(p, NODE_ARGUMENT);
    if (!argument)
        return -1;
    argument->a = parse_postfix(p, parse_primary(p));
    return argument->a && parser_adopt(p, argument, argument->a) == 0 ? add(p, n, argument) : -1;
}

static struct node *parse_test(struct parser *p, struct node *value)
{
    struct node *n = make(p, NODE_TEST, 0, value, NULL);
    if (!n)
        return NULL;
    bool negated = parser_skip_name(p, "not");
    if (p->at->kind != TOKEN_NAME) {
        parser_unexpected(p, "a test");
        return NULL;
    }
    char what[80];
    struct string name = p->at->value.string;
    n->line = p->at->line;
    n->test = tests_find(name);
    snprintf(what, sizeof what, "the test \"%.*s\"", (int)(name.length < 50 ? name.length : 50), name.data);
    p->at++;
    if (!n->test || at_operator(p, '.')) {
        syntax_refuse(n->line, p->e, "%s is not supported", what);
        return NULL;
    }
    if (parse_test_arguments(p, n) != 0 ||
        signature_check(&n->test->signature, n->first, what, n->line, p->e) != 0)
        return NULL;
    n->negated = negated;
    return n;
}

static struct node *parse_closest(struct parser *p, struct node *n)
{
    while (n) {
        if (parser_skip(p, '|'))
            n = parse_filter(p, n);
        else if (parser_skip_name(p, "is"))
            n = parse_test(p, n);
        else if (at_operator(p, '('))
            n = parse_call(p, n);
        else
            break;
    }
    return n;
}

/* ---- operators ---- */

static struct node *parse_sign(struct parser *p)
{
    static const int signs[4] = {'-', '+'};
    int sign = take_operator(p, signs);
    if (!sign)
        return parse_primary(p);
    if (parser_enter(p) != 0)
        return NULL;
    struct node *n = make(p, NODE_SIGN, sign, parse_signed(p), NULL);
    p->nesting--;
    return n;
}

static struct node *parse_signed(struct parser *p)
{
    return parse_postfix(p, parse_sign(p));
}

static struct node *parse_unary(struct parser *p)
{
    return parse_closest(p, parse_signed(p));
}

/* Operands with one of these operators between each two, from the left. */
static struct node *parse_binary(struct parser *p, const int operators[4],
                                 struct node *(*operand)(struct parser *p))
{
    struct node *n = operand(p);
    for (int symbol; n && (symbol = take_operator(p, operators));) {
        struct node *right = operand(p);
        n = right ? make(p, NODE_BINARY, symbol, n, right) : NULL;
    }
    return n;
}

static bool is_number(const struct node *n)
{
    while (n->kind == NODE_SIGN)
        n = n->a;
    return n->kind == NODE_CONSTANT;
}

/* Jinja2 writes a template as Python and forgets the brackets around a negative number: -2 ** n is -(2 ** n)
 * where n is a variable, and (-2) ** 2 is 4. Nobody can mean that. */
static struct node *parse_power(struct parser *p)
{
    static const int operators[4] = {TWO('*', '*')};
    struct node *n = parse_binary(p, operators, parse_unary);
    for (const struct node *m = n; m && m->kind == NODE_BINARY && m->symbol == operators[0]; m = m->a)
        if (m->a->kind == NODE_SIGN && is_number(m->a) && !is_number(m->b)) {
            syntax_refuse(m->line, p->e, "a number with a sign to a power that is none is not supported");
            return NULL;
        }
    return n;
}

static struct node *parse_product(struct parser *p)
{
    static const int operators[4] = {'*', '/', TWO('/', '/'), '%'};
    return parse_binary(p, operators, parse_power);
}

static struct node *parse_concat(struct parser *p)
{
    struct node *first = parse_product(p);
    if (!first || !at_operator(p, '~'))
        return first;
    struct node *n = parser_node(p, NODE_CONCAT);
    if (!n || add(p, n, first) != 0)
        return NULL;
    while (parser_skip(p, '~'))
        if (add(p, n, parse_product(p)) != 0)
            return NULL;
    return n;
}

static struct node *parse_sum(struct parser *p)
{
    static const int operators[4] = {'+', '-'};
    return parse_binary(p, operators, parse_concat);
}

/* A comparison's operator; "in" is 'i', "not in" 'n'; 0: none here. */
static int take_comparison(struct parser *p)
{
    static const int equal[4] = {TWO('=', '='), TWO('!', '='), TWO('<', '='), TWO('>', '=')};
    static const int order[4] = {'<', '>'};
    int symbol = take_operator(p, equal);
    if (!symbol)
        symbol = take_operator(p, order);
    if (symbol)
        return symbol;
    if (parser_skip_name(p, "in"))
        return 'i';
    if (!parser_is_name(p, "not") || p->at[1].kind != TOKEN_NAME || !string_is(p->at[1].value.string, "in"))
        return 0;
    p->at += 2;
    return 'n';
}

static struct node *parse_comparison(struct parser *p)
{
    struct node *first = parse_sum(p), *n = NULL;
    for (int symbol; first && (symbol = take_comparison(p));) {
        if (!n)
            n = make(p, NODE_COMPARE, 0, first, NULL);
        struct node *right = n ? parse_sum(p) : NULL;
        struct node *operand = right ? make(p, NODE_OPERAND, symbol, right, NULL) : NULL;
        if (!operand || add(p, n, operand) != 0)
            return NULL;
    }
    return n ? n : first;
}

static struct node *parse_not(struct parser *p)
{
    if (!parser_skip_name(p, "not"))
        return parse_comparison(p);
    if (parser_enter(p) != 0)
        return NULL;
    struct node *n = make(p, NODE_NOT, 0, parse_not(p), NULL);
    p->nesting--;
    return n;
}

static struct node *parse_and(struct parser *p)
{
    struct node *n = parse_not(p);
    while (n && parser_skip_name(p, "and")) {
        struct node *right = parse_not(p);
        n = right ? make(p, NODE_AND, 0, n, right) : NULL;
    }
    return n;
}

static struct node *parse_or(struct parser *p)
{
    struct node *n = parse_and(p);
    while (n && parser_skip_name(p, "or")) {
        struct node *right = parse_and(p);
        n = right ? make(p, NODE_OR, 0, n, right) : NULL;
    }
    return n;
}

static struct node *parse_condition(struct parser *p)
{
    struct node *n = parse_or(p);
    while (n && parser_skip_name(p, "if")) {
        struct node *test = parse_or(p), *other = NULL;
        if (!test)
            return NULL;
        if (parser_skip_name(p, "else") && !(other = expression_parse(p, true)))
            return NULL;
        n = make(p, NODE_CONDITION, 0, n, test);
        if (!n || parser_adopt(p, n, other) != 0)
            return NULL;
        n->c = other;
    }
    return n;
}

struct node *expression_parse(struct parser *p, bool condition)
{
    if (parser_enter(p) != 0)
        return NULL;
    struct node *n = condition ? parse_condition(p) : parse_or(p);
    p->nesting--;
    return n;
}

struct node *expression_parse_tuple(struct parser *p, bool condition)
{
    return parse_tuple(p, condition, false);
}

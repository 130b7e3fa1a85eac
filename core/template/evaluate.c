#include "core/template/evaluate.h"

#include <stdio.h>

#include "core/template/builtins/access.h"
#include "core/template/builtins/filters.h"
#include "core/template/builtins/functions.h"
#include "core/template/builtins/methods.h"
#include "core/template/builtins/tests.h"
#include "core/template/syntax/signature.h"
#include "core/template/values/operators.h"
#include "core/template/values/value_print.h"

/* ---- calls ---- */

static int evaluate_arguments(struct run *r, const struct signature *s, const struct node *arguments,
                              struct arguments *out)
{
    int at = 0;
    *out = (struct arguments){0};
    for (const struct node *a = arguments; a; a = a->next, at++) {
        int index = signature_index(s, a, at);
        if (evaluate(r, a->a, &out->values[index]) != 0)
            return -1;
    }
    return 0;
}

/* Arguments of a function or method, which only now is known to be one: a wrong call is an error of the
 * rendering, not of the template. */
static int bind_arguments(struct run *r, const struct signature *s, const char *name, const struct node *call,
                          struct arguments *out)
{
    char what[80];
    snprintf(what, sizeof what, "%s()", name);
    if (signature_check(s, call->first, what, call->line, r->context->e) != 0) {
        r->context->e->code = "chat_template_failed";
        return -1;
    }
    return evaluate_arguments(r, s, call->first, out);
}

static int call_named(struct run *r, const struct function *f, const struct node *call, struct value *out)
{
    struct value named;
    if (value_new_dict(r->context, VALUE_DICT, 0, &named) != 0)
        return -1;
    for (const struct node *a = call->first; a; a = a->next) {
        struct value v;
        if (!a->name.data)
            return context_fail(r->context, "%s() takes arguments with names only", f->name);
        if (evaluate(r, a->a, &v) != 0 || value_put(r->context, named.dict, value_string(a->name), v) != 0)
            return -1;
    }
    return f->call(r->context, NULL, named.dict, out);
}

static int call(struct run *r, const struct node *n, struct value *out)
{
    struct value callee;
    struct arguments a;
    if (evaluate(r, n->a, &callee) != 0)
        return -1;
    r->context->line = n->line;
    switch (callee.kind) {
    case VALUE_MACRO:
        return run_macro(r, callee.macro, n, out);
    case VALUE_FUNCTION:
        if (callee.function->any_names)
            return call_named(r, callee.function, n, out);
        if (bind_arguments(r, &callee.function->signature, callee.function->name, n, &a) != 0)
            return -1;
        return callee.function->call(r->context, &a, NULL, out);
    case VALUE_METHOD:
        if (bind_arguments(r, &callee.bound->method->signature, callee.bound->method->name, n, &a) != 0)
            return -1;
        return callee.bound->method->call(r->context, callee.bound->self, &a, out);
    case VALUE_UNDEFINED:
        return value_fail_undefined(r->context, callee);
    default:
        return context_fail(r->context, "%s cannot be called", value_kind_name(callee));
    }
}

/* ---- filters and tests ---- */

static int filter(struct run *r, const struct node *n, struct value *out)
{
    struct value in;
    struct arguments a;
    if (evaluate(r, n->a, &in) != 0 || evaluate_arguments(r, &n->filter->signature, n->first, &a) != 0)
        return -1;
    r->context->line = n->line;
    return filters_apply(r->context, n->filter, in, &a, out);
}

static int test(struct run *r, const struct node *n, struct value *out)
{
    struct value in;
    struct arguments a;
    bool passed;
    if (evaluate(r, n->a, &in) != 0 || evaluate_arguments(r, &n->test->signature, n->first, &a) != 0)
        return -1;
    r->context->line = n->line;
    if (n->test->apply(r->context, in, &a, &passed) != 0)
        return -1;
    *out = value_bool(passed != n->negated);
    return 0;
}

/* ---- the rest ---- */

static int name(struct run *r, const struct node *n, struct value *out)
{
    if (scope_lookup(r->scope, n->name, out))
        return 0;
    const struct function *f = functions_find(n->name);
    *out = f ? (struct value){.kind = VALUE_FUNCTION, .function = f} : value_undefined(n->name);
    return 0;
}

static int list(struct run *r, const struct node *n, struct value *out)
{
    size_t i = 0;
    struct value v;
    if (value_new_list(r->context, n->kind == NODE_LIST ? VALUE_LIST : VALUE_TUPLE, (size_t)n->count, &v) !=
        0)
        return -1;
    for (const struct node *item = n->first; item; item = item->next)
        if (evaluate(r, item, &v.list->items[i++]) != 0)
            return -1;
    *out = v;
    return 0;
}

static int dict(struct run *r, const struct node *n, struct value *out)
{
    struct value d;
    if (value_new_dict(r->context, VALUE_DICT, (size_t)n->count / 2, &d) != 0)
        return -1;
    for (const struct node *key = n->first; key; key = key->next->next) {
        struct value k, v;
        if (evaluate(r, key, &k) != 0 || evaluate(r, key->next, &v) != 0 ||
            value_put(r->context, d.dict, k, v) != 0)
            return -1;
    }
    *out = d;
    return 0;
}

static int concat(struct run *r, const struct node *n, struct value *out)
{
    struct buf text = {0};
    for (const struct node *part = n->first; part; part = part->next) {
        struct value v;
        if (evaluate(r, part, &v) != 0 || value_print(r->context, v, &text) != 0) {
            buf_fini(&text);
            return -1;
        }
    }
    return value_take(r->context, &text, out);
}

/* a < b < c: each operand once, up to the first that fails. */
static int compare(struct run *r, const struct node *n, struct value *out)
{
    struct value left, right;
    if (evaluate(r, n->a, &left) != 0)
        return -1;
    bool holds = true;
    for (const struct node *o = n->first; o && holds; o = o->next, left = right) {
        if (evaluate(r, o->a, &right) != 0)
            return -1;
        r->context->line = o->line;
        if (operate_compare(r->context, o->symbol, left, right, &holds) != 0)
            return -1;
    }
    *out = value_bool(holds);
    return 0;
}

static int condition(struct run *r, const struct node *n, struct value *out)
{
    struct value test;
    if (evaluate(r, n->b, &test) != 0)
        return -1;
    if (value_truth(test))
        return evaluate(r, n->a, out);
    *out = value_undefined(STRING("a condition without else"));
    return n->c ? evaluate(r, n->c, out) : 0;
}

static int logical(struct run *r, const struct node *n, struct value *out)
{
    if (evaluate(r, n->a, out) != 0)
        return -1;
    return value_truth(*out) == (n->kind == NODE_AND) ? evaluate(r, n->b, out) : 0;
}

static int binary(struct run *r, const struct node *n, struct value *out)
{
    struct value a, b;
    if (evaluate(r, n->a, &a) != 0 || evaluate(r, n->b, &b) != 0)
        return -1;
    r->context->line = n->line;
    return operate(r->context, n->symbol, a, b, out);
}

static int slice(struct run *r, const struct node *n, struct value *out)
{
    const struct node *const nodes[3] = {n->b, n->c, n->d};
    struct value of, bounds[3];
    if (evaluate(r, n->a, &of) != 0)
        return -1;
    for (int i = 0; i < 3; i++) {
        bounds[i] = (struct value){.kind = VALUE_NONE};
        if (nodes[i] && evaluate(r, nodes[i], &bounds[i]) != 0)
            return -1;
    }
    r->context->line = n->line;
    return operate_slice(r->context, of, bounds, out);
}

static int subscript(struct run *r, const struct node *n, struct value *out)
{
    struct value of, key;
    if (evaluate(r, n->a, &of) != 0 || evaluate(r, n->b, &key) != 0)
        return -1;
    r->context->line = n->line;
    return access_subscript(r->context, of, key, out);
}

/* Attributes, signs and "not", which have one operand. */
static int unary(struct run *r, const struct node *n, struct value *out)
{
    struct value v;
    if (evaluate(r, n->a, &v) != 0)
        return -1;
    r->context->line = n->line;
    if (n->kind == NODE_ATTRIBUTE)
        return access_attribute(r->context, v, n->name, out);
    if (n->kind == NODE_SIGN)
        return operate_sign(r->context, n->symbol, v, out);
    *out = value_bool(!value_truth(v));
    return 0;
}

static int dispatch(struct run *r, const struct node *n, struct value *out)
{
    switch (n->kind) {
    case NODE_CONSTANT:
        *out = n->constant;
        return 0;
    case NODE_CAPTURED:
        *out = r->capture;
        return 0;
    case NODE_NAME:
        return name(r, n, out);
    case NODE_LIST:
    case NODE_TUPLE:
        return list(r, n, out);
    case NODE_DICT:
        return dict(r, n, out);
    case NODE_OR:
    case NODE_AND:
        return logical(r, n, out);
    case NODE_BINARY:
        return binary(r, n, out);
    case NODE_CONCAT:
        return concat(r, n, out);
    case NODE_COMPARE:
        return compare(r, n, out);
    case NODE_CONDITION:
        return condition(r, n, out);
    case NODE_SUBSCRIPT:
        return subscript(r, n, out);
    case NODE_SLICE:
        return slice(r, n, out);
    case NODE_CALL:
        return call(r, n, out);
    case NODE_FILTER:
        return filter(r, n, out);
    case NODE_TEST:
        return test(r, n, out);
    default:
        return unary(r, n, out);
    }
}

int evaluate(struct run *r, const struct node *n, struct value *out)
{
    if (context_enter(r->context) != 0)
        return -1;
    r->context->line = n->line;
    int result = dispatch(r, n, out);
    context_leave(r->context);
    return result;
}

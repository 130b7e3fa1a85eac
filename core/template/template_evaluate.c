/* Expressions to values. */
#include <stdio.h>

#include "core/template/template_run.h"

/* ---- attributes and subscripts ---- */

static int bind_method(struct run *r, struct value self, const struct method *method, struct value *out)
{
    struct bound *b = run_alloc(r, sizeof *b);
    if (!b)
        return -1;
    *b = (struct bound){self, method};
    *out = (struct value){.kind = VALUE_METHOD, .bound = b};
    return 0;
}

/* The method of that name; undefined where there is none. */
static int find_method(struct run *r, struct value of, struct string name, struct value *out)
{
    const struct method *method;
    if (of.safe)
        return run_fail(r, "methods of what went through \"safe\" are not supported");
    if (method_find(r, of, name, &method) != 0)
        return -1;
    *out = value_undefined(name);
    return method ? bind_method(r, of, method, out) : 0;
}

/* Methods come before the keys of a dict. */
int evaluate_attribute(struct run *r, struct value of, struct string name, struct value *out)
{
    if (of.kind == VALUE_UNDEFINED)
        return run_undefined(r, of);
    if (of.kind == VALUE_LOOP)
        return loop_attribute(r, of.loop, name, out);
    if (of.kind == VALUE_MACRO || of.kind == VALUE_FUNCTION || of.kind == VALUE_METHOD)
        return run_fail(r, "attributes of %s are not supported", value_kind_name(of));
    *out = value_undefined(name);
    if (of.kind != VALUE_NAMESPACE && find_method(r, of, name, out) != 0)
        return -1;
    if (out->kind != VALUE_UNDEFINED || (of.kind != VALUE_DICT && of.kind != VALUE_NAMESPACE))
        return 0;
    const struct value *member = value_find(r, of.dict, value_string(name));
    if (member)
        *out = *member;
    return 0;
}

static int subscript_dict(struct run *r, struct value of, struct value key, struct value *out)
{
    if (run_work(r, of.dict->count) != 0)
        return -1;
    const struct value *member = value_find(r, of.dict, key);
    if (member) {
        *out = *member;
        return 0;
    }
    if (key.kind == VALUE_STRING && of.kind == VALUE_DICT)
        return find_method(r, of, key.string, out);
    *out = value_undefined(key.kind == VALUE_STRING ? key.string : STRING("a key"));
    return 0;
}

int evaluate_subscript(struct run *r, struct value of, struct value key, struct value *out)
{
    int64_t index;
    size_t at;
    if (of.kind == VALUE_UNDEFINED)
        return run_undefined(r, of);
    if (of.safe)
        return run_fail(r, "parts of what went through \"safe\" are not supported");
    if (of.kind == VALUE_DICT || of.kind == VALUE_NAMESPACE)
        return subscript_dict(r, of, key, out);
    if (of.kind == VALUE_LOOP && key.kind == VALUE_STRING)
        return loop_attribute(r, of.loop, key.string, out);
    if (key.kind == VALUE_STRING)
        return find_method(r, of, key.string, out);
    *out = value_undefined(STRING("an item"));
    if (!value_as_integer(key, &index))
        return 0;
    if (of.kind == VALUE_LIST || of.kind == VALUE_TUPLE || of.kind == VALUE_RANGE) {
        if (operate_index(index, of.list->count, &at))
            *out = of.list->items[at];
    } else if (of.kind == VALUE_STRING) {
        if (run_bytes(r, of.string.length) != 0)
            return -1;
        if (operate_index(index, string_count(of.string), &at))
            *out = value_string(string_part(of.string, at, 1));
    }
    return 0;
}

/* ---- calls ---- */

static int parameter_index(const struct signature *s, struct string name)
{
    for (int i = 0; s->names[i]; i++)
        if (string_is(name, s->names[i]))
            return i;
    return -1;
}

static int parameter_count(const struct signature *s)
{
    int count = 0;
    while (s->names[count])
        count++;
    return count;
}

int signature_check(const struct signature *s, const struct node *arguments, const char *what, int line,
                    struct err *e)
{
    bool given[PARAMETERS_MAX] = {0};
    int count = parameter_count(s), at = 0;
    for (const struct node *a = arguments; a; a = a->next, at++) {
        int index = a->name.data ? parameter_index(s, a->name) : at;
        if (index < 0)
            return template_refuse(line, e, "the argument \"%.*s\" of %s is not supported",
                                   (int)a->name.length, a->name.data, what);
        if (index >= count || given[index])
            return template_refuse(line, e, "%s takes up to %d arguments, each once", what, count);
        given[index] = true;
    }
    for (int i = 0; i < s->required; i++)
        if (!given[i])
            return template_refuse(line, e, "%s needs the argument \"%s\"", what, s->names[i]);
    return 0;
}

int evaluate_arguments(struct run *r, const struct signature *s, const struct node *arguments,
                       struct arguments *out)
{
    int at = 0;
    *out = (struct arguments){0};
    for (const struct node *a = arguments; a; a = a->next, at++) {
        int index = a->name.data ? parameter_index(s, a->name) : at;
        if (evaluate(r, a->a, &out->values[index]) != 0)
            return -1;
    }
    return 0;
}

/* Arguments of what is known only now. */
static int bind_arguments(struct run *r, const struct signature *s, const char *name, const struct node *call,
                          struct arguments *out)
{
    char what[80];
    snprintf(what, sizeof what, "%s()", name);
    if (signature_check(s, call->first, what, call->line, r->e) != 0) {
        r->e->code = "chat_template_failed";
        return -1;
    }
    return evaluate_arguments(r, s, call->first, out);
}

static int call_named(struct run *r, const struct function *f, const struct node *call, struct value *out)
{
    struct value named;
    if (value_new_dict(r, VALUE_DICT, 0, &named) != 0)
        return -1;
    for (const struct node *a = call->first; a; a = a->next) {
        struct value v;
        if (!a->name.data)
            return run_fail(r, "%s() takes arguments with names only", f->name);
        if (evaluate(r, a->a, &v) != 0 || value_put(r, named.dict, value_string(a->name), v) != 0)
            return -1;
    }
    return f->call(r, NULL, named.dict, out);
}

static int call(struct run *r, const struct node *n, struct value *out)
{
    struct value callee;
    struct arguments a;
    if (evaluate(r, n->a, &callee) != 0)
        return -1;
    r->line = n->line;
    switch (callee.kind) {
    case VALUE_MACRO:
        return run_call_macro(r, callee.macro, n, out);
    case VALUE_FUNCTION:
        if (callee.function->any_names)
            return call_named(r, callee.function, n, out);
        if (bind_arguments(r, &callee.function->signature, callee.function->name, n, &a) != 0)
            return -1;
        return callee.function->call(r, &a, NULL, out);
    case VALUE_METHOD:
        if (bind_arguments(r, &callee.bound->method->signature, callee.bound->method->name, n, &a) != 0)
            return -1;
        return callee.bound->method->call(r, callee.bound->self, &a, out);
    case VALUE_UNDEFINED:
        return run_undefined(r, callee);
    default:
        return run_fail(r, "%s cannot be called", value_kind_name(callee));
    }
}

/* ---- filters and tests ---- */

static int filter(struct run *r, const struct node *n, struct value *out)
{
    struct value in;
    struct arguments a;
    if (evaluate(r, n->a, &in) != 0 || evaluate_arguments(r, &n->filter->signature, n->first, &a) != 0)
        return -1;
    r->line = n->line;
    return filter_apply(r, n->filter, in, &a, out);
}

static int test(struct run *r, const struct node *n, struct value *out)
{
    struct value in;
    struct arguments a;
    bool passed;
    if (evaluate(r, n->a, &in) != 0 || evaluate_arguments(r, &n->test->signature, n->first, &a) != 0)
        return -1;
    r->line = n->line;
    if (n->test->apply(r, in, &a, &passed) != 0)
        return -1;
    *out = value_bool(passed != n->negated);
    return 0;
}

/* ---- the rest ---- */

static int name(struct run *r, const struct node *n, struct value *out)
{
    if (run_lookup(r, n->name, out))
        return 0;
    const struct function *f = function_find(n->name);
    *out = f ? (struct value){.kind = VALUE_FUNCTION, .function = f} : value_undefined(n->name);
    return 0;
}

static int list(struct run *r, const struct node *n, struct value *out)
{
    size_t i = 0;
    struct value v;
    if (value_new_list(r, n->kind == NODE_LIST ? VALUE_LIST : VALUE_TUPLE, (size_t)n->count, &v) != 0)
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
    if (value_new_dict(r, VALUE_DICT, (size_t)n->count / 2, &d) != 0)
        return -1;
    for (const struct node *key = n->first; key; key = key->next->next) {
        struct value k, v;
        if (evaluate(r, key, &k) != 0 || evaluate(r, key->next, &v) != 0 || value_put(r, d.dict, k, v) != 0)
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
        if (evaluate(r, part, &v) != 0 || value_print(r, v, &text) != 0) {
            buf_fini(&text);
            return -1;
        }
    }
    return value_take(r, &text, out);
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
        r->line = o->line;
        if (operate_compare(r, o->operator, left, right, &holds) != 0)
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
    r->line = n->line;
    return operate(r, n->operator, a, b, out);
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
    r->line = n->line;
    return operate_slice(r, of, bounds, out);
}

static int subscript(struct run *r, const struct node *n, struct value *out)
{
    struct value of, key;
    if (evaluate(r, n->a, &of) != 0 || evaluate(r, n->b, &key) != 0)
        return -1;
    r->line = n->line;
    return evaluate_subscript(r, of, key, out);
}

/* With one operand. */
static int unary(struct run *r, const struct node *n, struct value *out)
{
    struct value v;
    if (evaluate(r, n->a, &v) != 0)
        return -1;
    r->line = n->line;
    if (n->kind == NODE_ATTRIBUTE)
        return evaluate_attribute(r, v, n->name, out);
    if (n->kind == NODE_SIGN)
        return operate_sign(r, n->operator, v, out);
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
    if (run_enter(r) != 0)
        return -1;
    r->line = n->line;
    int result = dispatch(r, n, out);
    r->depth--;
    return result;
}

/* Statements: what they write, and the scopes of names. As in Jinja2, loops, macros and captured blocks have
 * scopes of their own, branches have none. */
#include "core/template/template_run.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/template/template.h"

enum flow { FLOW_ERROR = -1, FLOW_ON, FLOW_BREAK, FLOW_CONTINUE };

static enum flow run_body(struct run *r, const struct node *first);

/* ---- limits and errors ---- */

int run_fail(struct run *r, const char *format, ...)
{
    char what[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    err_set(r->e, "chat_template_failed", "the model's chat template, line %d: %s", r->line, what);
    explicit_bzero(what, sizeof what);
    return -1;
}

int run_work(struct run *r, size_t steps)
{
    if (steps > r->steps_max - r->steps)
        return run_fail(r, "it takes more than %llu steps for these messages",
                        (unsigned long long)r->steps_max);
    r->steps += steps;
    return 0;
}

int run_bytes(struct run *r, size_t length)
{
    return run_work(r, length / 32);
}

int run_enter(struct run *r)
{
    if (r->depth == TEMPLATE_DEPTH_MAX)
        return run_fail(r, "nested more than %d deep", TEMPLATE_DEPTH_MAX);
    r->depth++;
    return run_work(r, 1);
}

void *run_alloc(struct run *r, size_t size)
{
    void *out = arena_alloc(&r->arena, size);
    if (!out && r->arena.full)
        run_fail(r, "it takes more than %zu bytes of memory for these messages", r->arena.bytes_max);
    else if (!out)
        err_memory(r->e);
    return out;
}

int run_append(struct run *r, struct buf *out, const char *data, size_t length)
{
    if (out->length > TEMPLATE_OUTPUT_BYTES_MAX || length > TEMPLATE_OUTPUT_BYTES_MAX - out->length)
        return run_fail(r, "the text is longer than %d bytes", TEMPLATE_OUTPUT_BYTES_MAX);
    if (run_bytes(r, length) != 0)
        return -1;
    return buf_append(out, data, length) == 0 ? 0 : err_memory(r->e);
}

int run_undefined(struct run *r, struct value v)
{
    struct string what = v.string;
    return run_fail(r, "\"%.*s\" is undefined", (int)(what.length < 100 ? what.length : 100),
                    what.data ? what.data : "");
}

/* ---- names ---- */

int run_bind(struct run *r, struct scope *scope, struct string name, struct value value)
{
    for (struct binding *b = scope->first; b; b = b->next)
        if (b->name.data == name.data) {
            b->value = value;
            return 0;
        }
    struct binding *b = run_alloc(r, sizeof *b);
    if (!b)
        return -1;
    *b = (struct binding){scope->first, name, value};
    scope->first = b;
    return 0;
}

bool run_lookup(const struct run *r, struct string name, struct value *out)
{
    for (const struct scope *s = r->scope; s; s = s->parent)
        for (const struct binding *b = s->first; b; b = b->next)
            if (b->name.data == name.data) {
                *out = b->value;
                return true;
            }
    return false;
}

static struct scope *open_scope(struct run *r, struct scope *parent)
{
    struct scope *s = run_alloc(r, sizeof *s);
    if (s)
        *s = (struct scope){.parent = parent};
    return s;
}

static int assign_attribute(struct run *r, const struct node *target, struct value value)
{
    struct value owner;
    if (!run_lookup(r, target->a->name, &owner) || owner.kind != VALUE_NAMESPACE)
        return run_fail(r, "attributes can be set on a namespace() only");
    return value_put(r, owner.dict, value_string(target->name), value);
}

/* To one name, or an item each to several. */
static int assign(struct run *r, struct scope *scope, const struct node *n, struct value value)
{
    struct list items = {1, &value};
    if (n->tuple && value_items(r, value, &items) != 0)
        return -1;
    const struct node *target = n->first;
    for (size_t i = 0; i < items.count && target; i++, target = target->next) {
        int result = target->kind == NODE_ATTRIBUTE ? assign_attribute(r, target, items.items[i])
                                                    : run_bind(r, scope, target->name, items.items[i]);
        if (result != 0)
            return -1;
        if (!target->next && i + 1 < items.count)
            return run_fail(r, "too many values for the names: %zu", items.count);
    }
    return target ? run_fail(r, "too few values for the names: %zu", items.count) : 0;
}

/* ---- loops ---- */

static int loop_accepts(struct run *r, struct loop *l, struct value item, bool *out)
{
    *out = true;
    if (l->length >= 0)
        return 0;
    struct scope *outer = r->scope;
    struct value v;
    r->scope = open_scope(r, l->scope);
    int result =
        !r->scope || assign(r, r->scope, l->node, item) != 0 || evaluate(r, l->node->b, &v) != 0 ? -1 : 0;
    r->scope = outer;
    *out = result == 0 && value_truth(v);
    return result;
}

/* 1: *out is the next item that the filter lets through. */
static int loop_pull(struct run *r, struct loop *l, struct value *out)
{
    while (l->at < l->source.count) {
        bool accepted;
        struct value item = l->source.items[l->at++];
        if (loop_accepts(r, l, item, &accepted) != 0)
            return -1;
        if (accepted) {
            *out = item;
            return 1;
        }
    }
    return 0;
}

static int loop_peek(struct run *r, struct loop *l)
{
    if (l->has_after)
        return 1;
    int found = loop_pull(r, l, &l->after);
    l->has_after = found == 1;
    return found;
}

int loop_next(struct run *r, struct loop *l, struct value *out)
{
    struct value item;
    int found = l->has_after ? 1 : loop_pull(r, l, &item);
    if (found != 1)
        return found;
    if (l->has_after)
        item = l->after;
    l->has_after = false;
    l->before = l->current;
    l->index0++;
    l->current = *out = item;
    return 1;
}

/* How many there are in all; the filter then looks at all that are left. */
static int loop_count(struct run *r, struct loop *l, int64_t *out)
{
    if (l->length < 0) {
        struct value rest, item;
        size_t count = 0;
        if (value_new_list(r, VALUE_LIST, l->source.count - l->at, &rest) != 0)
            return -1;
        for (int found; (found = loop_pull(r, l, &item)) != 0;) {
            if (found < 0)
                return -1;
            rest.list->items[count++] = item;
        }
        l->source = (struct list){count, rest.list->items};
        l->at = 0;
        l->length = (int64_t)count + l->index0 + 1 + l->has_after;
    }
    *out = l->length;
    return 0;
}

int loop_attribute(struct run *r, struct loop *l, struct string name, struct value *out)
{
    int64_t length = 0;
    int found;
    bool counts = string_is(name, "length") || string_is(name, "revindex") || string_is(name, "revindex0");
    if (counts && loop_count(r, l, &length) != 0)
        return -1;
    *out = value_undefined(name);
    if (counts)
        *out = value_integer(name.length == 6   ? length
                             : name.length == 8 ? length - l->index0
                                                : length - l->index0 - 1);
    else if (string_is(name, "index"))
        *out = value_integer(l->index0 + 1);
    else if (string_is(name, "index0"))
        *out = value_integer(l->index0);
    else if (string_is(name, "first"))
        *out = value_bool(l->index0 == 0);
    else if (string_is(name, "depth") || string_is(name, "depth0"))
        *out = value_integer(name.length == 5);
    else if (string_is(name, "previtem"))
        *out = l->index0 > 0 ? l->before : *out;
    else if (string_is(name, "last") || string_is(name, "nextitem")) {
        if ((found = loop_peek(r, l)) < 0)
            return -1;
        if (name.length == 4)
            *out = value_bool(found == 0);
        else if (found)
            *out = l->after;
    } else if (string_is(name, "changed") || string_is(name, "cycle"))
        return run_fail(r, "loop.%.*s is not supported", (int)name.length, name.data);
    return 0;
}

static enum flow run_iterations(struct run *r, struct loop *l)
{
    const struct node *n = l->node;
    struct scope *outer = r->scope;
    struct value item;
    for (int found; (found = loop_next(r, l, &item)) != 0;) {
        if (found < 0 || run_work(r, 1) != 0 || !(r->scope = open_scope(r, outer)))
            return FLOW_ERROR;
        struct value loop = {.kind = VALUE_LOOP, .loop = l};
        if (assign(r, r->scope, n, item) != 0 || (n->name.data && run_bind(r, r->scope, n->name, loop) != 0))
            return FLOW_ERROR;
        enum flow flow = run_body(r, n->body);
        r->scope = outer;
        if (flow == FLOW_ERROR)
            return flow;
        if (flow == FLOW_BREAK)
            break;
        l->completed = l->completed || flow == FLOW_ON;
    }
    return FLOW_ON;
}

/* In a scope of its own. */
static enum flow run_scope(struct run *r, const struct node *body)
{
    struct scope *outer = r->scope;
    if (!(r->scope = open_scope(r, outer)))
        return FLOW_ERROR;
    enum flow flow = run_body(r, body);
    r->scope = outer;
    return flow;
}

static enum flow run_for(struct run *r, const struct node *n)
{
    struct value of;
    struct loop *l = run_alloc(r, sizeof *l);
    if (!l)
        return FLOW_ERROR;
    *l = (struct loop){.node = n, .scope = r->scope, .index0 = -1, .length = -1};
    if (evaluate(r, n->a, &of) != 0 || value_items(r, of, &l->source) != 0)
        return FLOW_ERROR;
    if (!n->b)
        l->length = (int64_t)l->source.count;
    enum flow flow = run_iterations(r, l);
    return flow == FLOW_ON && !l->completed && n->other ? run_scope(r, n->other) : flow;
}

/* ---- macros and captured blocks ---- */

/* What the body writes, as a string. */
static int capture(struct run *r, const struct node *body, struct value *out)
{
    struct buf text = {0}, *outer = r->out;
    r->out = &text;
    enum flow flow = run_body(r, body);
    r->out = outer;
    if (flow == FLOW_ERROR) {
        buf_fini(&text);
        return -1;
    }
    return value_take(r, &text, out);
}

/* Positional arguments, then by name; each evaluated where the call is. */
static int bind_arguments(struct run *r, const struct macro *m, const struct node *call, struct scope *scope)
{
    const struct node *parameter = m->node->first;
    for (const struct node *a = call->first; a; a = a->next) {
        if (a->name.data)
            for (parameter = m->node->first; parameter && parameter->name.data != a->name.data;)
                parameter = parameter->next;
        if (!parameter)
            return run_fail(r, "the macro \"%.*s\" takes no such argument", (int)m->node->name.length,
                            m->node->name.data);
        for (const struct binding *b = scope->first; b; b = b->next)
            if (b->name.data == parameter->name.data)
                return run_fail(r, "an argument of the macro \"%.*s\" is given twice",
                                (int)m->node->name.length, m->node->name.data);
        struct value v;
        if (evaluate(r, a->a, &v) != 0 || run_bind(r, scope, parameter->name, v) != 0)
            return -1;
        parameter = parameter->next;
    }
    return 0;
}

static int bind_defaults(struct run *r, const struct macro *m, const struct scope *given, struct scope *scope)
{
    for (const struct node *p = m->node->first; p; p = p->next) {
        const struct binding *b = given->first;
        while (b && b->name.data != p->name.data)
            b = b->next;
        struct value v = b ? b->value : value_undefined(p->name);
        if ((!b && p->a && evaluate(r, p->a, &v) != 0) || run_bind(r, scope, p->name, v) != 0)
            return -1;
    }
    return 0;
}

int run_call_macro(struct run *r, const struct macro *m, const struct node *call, struct value *out)
{
    struct scope *outer = r->scope, *given = open_scope(r, NULL), *own = open_scope(r, m->scope);
    if (!given || !own || bind_arguments(r, m, call, given) != 0)
        return -1;
    r->scope = own;
    int result = bind_defaults(r, m, given, own) != 0 ? -1 : capture(r, m->node->body, out);
    r->scope = outer;
    return result;
}

static int define_macro(struct run *r, const struct node *n)
{
    struct macro *m = run_alloc(r, sizeof *m);
    if (!m)
        return -1;
    *m = (struct macro){n, r->scope};
    return run_bind(r, r->scope, n->name, (struct value){.kind = VALUE_MACRO, .macro = m});
}

static int set_block(struct run *r, const struct node *n)
{
    struct scope *outer = r->scope;
    struct value v, before = r->capture;
    if (!(r->scope = open_scope(r, outer)))
        return -1;
    int result = capture(r, n->body, &r->capture);
    r->scope = outer;
    if (result == 0)
        result = evaluate(r, n->a, &v);
    r->capture = before;
    return result == 0 ? assign(r, r->scope, n, v) : -1;
}

/* ---- all statements ---- */

static int set(struct run *r, const struct node *n)
{
    struct value v;
    return evaluate(r, n->a, &v) == 0 ? assign(r, r->scope, n, v) : -1;
}

static int output(struct run *r, const struct node *n)
{
    struct value v;
    return evaluate(r, n->a, &v) == 0 ? value_print(r, v, r->out) : -1;
}

static enum flow run_if(struct run *r, const struct node *n)
{
    for (const struct node *b = n->first; b; b = b->next) {
        struct value v = value_bool(true);
        if (b->a && evaluate(r, b->a, &v) != 0)
            return FLOW_ERROR;
        if (value_truth(v))
            return run_body(r, b->body);
    }
    return FLOW_ON;
}

static enum flow run_statement(struct run *r, const struct node *n)
{
    r->line = n->line;
    switch (n->kind) {
    case NODE_TEXT:
        return run_append(r, r->out, n->constant.string.data, n->constant.string.length) == 0 ? FLOW_ON
                                                                                              : FLOW_ERROR;
    case NODE_OUTPUT:
        return output(r, n) == 0 ? FLOW_ON : FLOW_ERROR;
    case NODE_IF:
        return run_if(r, n);
    case NODE_FOR:
        return run_for(r, n);
    case NODE_SET:
        return set(r, n) == 0 ? FLOW_ON : FLOW_ERROR;
    case NODE_SET_BLOCK:
        return set_block(r, n) == 0 ? FLOW_ON : FLOW_ERROR;
    case NODE_MACRO:
        return define_macro(r, n) == 0 ? FLOW_ON : FLOW_ERROR;
    case NODE_SCOPE:
        return run_scope(r, n->body);
    case NODE_BREAK:
        return FLOW_BREAK;
    default:
        return FLOW_CONTINUE;
    }
}

static enum flow run_body(struct run *r, const struct node *first)
{
    enum flow flow = FLOW_ON;
    if (run_enter(r) != 0)
        return FLOW_ERROR;
    for (const struct node *n = first; n && flow == FLOW_ON; n = n->next)
        flow = run_work(r, 1) == 0 ? run_statement(r, n) : FLOW_ERROR;
    r->depth--;
    return flow;
}

/* ---- a rendering ---- */

/* A variable that the template never names is left out. */
static int bind_variables(struct run *r, const struct template *t, const json_t *variables)
{
    const char *key;
    size_t length;
    json_t *json;
    json_object_keylen_foreach((json_t *)variables, key, length, json)
    {
        const struct name *name = name_find(t->names, (struct string){key, length});
        struct value v;
        if (name && (value_from_json(r, json, &v) != 0 || run_bind(r, r->scope, name->text, v) != 0))
            return -1;
    }
    return 0;
}

int template_render(const struct template *t, const json_t *fixed, const json_t *more, struct buf *out,
                    struct err *e)
{
    struct buf text = {0};
    struct scope outermost = {0};
    struct run r = {.arena.bytes_max = TEMPLATE_MEMORY_BYTES_MAX,
                    .steps_max = TEMPLATE_STEPS_MAX,
                    .scope = &outermost,
                    .out = &text,
                    .line = 1,
                    .e = e};
    int result = bind_variables(&r, t, fixed) != 0 || bind_variables(&r, t, more) != 0 ? -1 : 0;
    r.steps = 0;
    r.steps_max += TEMPLATE_STEPS_PER_BYTE * (uint64_t)r.arena.bytes;
    if (result == 0)
        result = run_body(&r, t->body->body) == FLOW_ERROR ? -1 : 0;
    if (result == 0 && buf_append(out, text.data ? text.data : "", text.length) != 0)
        result = err_memory(e);
    buf_fini(&text);
    arena_fini(&r.arena);
    return result;
}

#include "core/template/run.h"

#include <stdlib.h>
#include <string.h>

#include "core/template/evaluate.h"
#include "core/template/values/loop.h"
#include "core/template/values/value_print.h"

enum flow { FLOW_ERROR = -1, FLOW_ON, FLOW_BREAK, FLOW_CONTINUE };

static enum flow run_body(struct run *r, const struct node *first);

static int assign_attribute(struct run *r, const struct node *target, struct value value)
{
    struct value owner;
    if (!scope_lookup(r->scope, target->a->name, &owner) || owner.kind != VALUE_NAMESPACE)
        return context_fail(r->context, "attributes can be set on a namespace() only");
    return value_put(r->context, owner.dict, value_string(target->name), value);
}

/* Gives the value to the one name of the node, or one of its items to each of several. */
static int assign(struct run *r, struct scope *scope, const struct node *n, struct value value)
{
    struct list items = {1, &value};
    if (n->tuple && value_items(r->context, value, &items) != 0)
        return -1;
    const struct node *target = n->first;
    for (size_t i = 0; i < items.count && target; i++, target = target->next) {
        int result = target->kind == NODE_ATTRIBUTE
                         ? assign_attribute(r, target, items.items[i])
                         : scope_bind(r->context, scope, target->name, items.items[i]);
        if (result != 0)
            return -1;
        if (!target->next && i + 1 < items.count)
            return context_fail(r->context, "too many values for the names: %zu", items.count);
    }
    return target ? context_fail(r->context, "too few values for the names: %zu", items.count) : 0;
}

/* ---- loops ---- */

/* What templates see as `loop`, with what its filter and its body are evaluated with. */
struct for_loop {
    struct loop loop; /* the first member: loop_accepts gets this and finds the rest behind it */
    struct run *run;
    const struct node *node;
    struct scope *scope; /* around it */
    bool completed;      /* a pass reached the end of the body; if none does, "else" follows, as in Jinja2 */
};

static int loop_accepts(struct loop *loop, struct value item, bool *out)
{
    const struct for_loop *l = (struct for_loop *)loop;
    struct run *r = l->run;
    struct scope *outer = r->scope;
    struct value v;
    r->scope = scope_open(r->context, l->scope);
    int result =
        !r->scope || assign(r, r->scope, l->node, item) != 0 || evaluate(r, l->node->b, &v) != 0 ? -1 : 0;
    r->scope = outer;
    *out = result == 0 && value_truth(v);
    return result;
}

static enum flow run_iterations(struct run *r, struct for_loop *l)
{
    const struct node *n = l->node;
    struct scope *outer = r->scope;
    struct value item;
    for (int found; (found = loop_next(&l->loop, &item)) != 0;) {
        if (found < 0 || context_work(r->context, 1) != 0 || !(r->scope = scope_open(r->context, outer)))
            return FLOW_ERROR;
        struct value loop = {.kind = VALUE_LOOP, .loop = &l->loop};
        if (assign(r, r->scope, n, item) != 0 ||
            (n->name.data && scope_bind(r->context, r->scope, n->name, loop) != 0))
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
    if (!(r->scope = scope_open(r->context, outer)))
        return FLOW_ERROR;
    enum flow flow = run_body(r, body);
    r->scope = outer;
    return flow;
}

static int add_span(struct run *r, size_t from)
{
    struct template_spans *s = r->spans;
    if (s->count == s->capacity) {
        size_t capacity = s->capacity ? 2 * s->capacity : 16;
        struct template_span *items = realloc(s->items, capacity * sizeof *items);
        if (!items)
            return err_memory(r->context->e);
        s->items = items;
        s->capacity = capacity;
    }
    s->items[s->count++] = (struct template_span){from, r->text->length};
    return 0;
}

/* What is written into a macro's result or a captured block has no place in the text yet, and transformers
 * finds none either. */
static enum flow run_generation(struct run *r, const struct node *n)
{
    size_t from = r->out->length;
    struct template_spans *spans = r->spans;
    r->spans = NULL; /* one inside of it is a part of it */
    enum flow flow = run_scope(r, n->body);
    r->spans = spans;
    bool seen = flow != FLOW_ERROR && spans && r->out == r->text && r->out->length > from;
    return seen && add_span(r, from) != 0 ? FLOW_ERROR : flow;
}

static enum flow run_for(struct run *r, const struct node *n)
{
    struct value of;
    struct for_loop *l = context_alloc(r->context, sizeof *l);
    if (!l)
        return FLOW_ERROR;
    *l = (struct for_loop){.loop = {.accepts = n->b ? loop_accepts : NULL, .index0 = -1},
                           .run = r,
                           .node = n,
                           .scope = r->scope};
    if (evaluate(r, n->a, &of) != 0 || value_items(r->context, of, &l->loop.source) != 0)
        return FLOW_ERROR;
    enum flow flow = run_iterations(r, l);
    return flow == FLOW_ON && !l->completed && n->other ? run_scope(r, n->other) : flow;
}

/* ---- macros and captured blocks ---- */

struct macro {
    const struct node *node;
    struct scope *scope; /* where it was defined */
};

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
    return value_take(r->context, &text, out);
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
            return context_fail(r->context, "the macro \"%.*s\" takes no such argument",
                                (int)m->node->name.length, m->node->name.data);
        if (scope_find(scope, parameter->name))
            return context_fail(r->context, "an argument of the macro \"%.*s\" is given twice",
                                (int)m->node->name.length, m->node->name.data);
        struct value v;
        if (evaluate(r, a->a, &v) != 0 || scope_bind(r->context, scope, parameter->name, v) != 0)
            return -1;
        parameter = parameter->next;
    }
    return 0;
}

static int bind_defaults(struct run *r, const struct macro *m, const struct scope *given, struct scope *scope)
{
    for (const struct node *p = m->node->first; p; p = p->next) {
        const struct binding *b = scope_find(given, p->name);
        struct value v = b ? b->value : value_undefined(p->name);
        if ((!b && p->a && evaluate(r, p->a, &v) != 0) || scope_bind(r->context, scope, p->name, v) != 0)
            return -1;
    }
    return 0;
}

int run_macro(struct run *r, const struct macro *m, const struct node *call, struct value *out)
{
    struct scope *outer = r->scope, *given = scope_open(r->context, NULL),
                 *own = scope_open(r->context, m->scope);
    if (!given || !own || bind_arguments(r, m, call, given) != 0)
        return -1;
    r->scope = own;
    int result = bind_defaults(r, m, given, own) != 0 ? -1 : capture(r, m->node->body, out);
    r->scope = outer;
    return result;
}

static int define_macro(struct run *r, const struct node *n)
{
    struct macro *m = context_alloc(r->context, sizeof *m);
    if (!m)
        return -1;
    *m = (struct macro){n, r->scope};
    return scope_bind(r->context, r->scope, n->name, (struct value){.kind = VALUE_MACRO, .macro = m});
}

static int set_block(struct run *r, const struct node *n)
{
    struct scope *outer = r->scope;
    struct value v, before = r->capture;
    if (!(r->scope = scope_open(r->context, outer)))
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
    return evaluate(r, n->a, &v) == 0 ? value_print(r->context, v, r->out) : -1;
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
    r->context->line = n->line;
    switch (n->kind) {
    case NODE_TEXT:
        return context_append(r->context, r->out, n->constant.string.data, n->constant.string.length) == 0
                   ? FLOW_ON
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
    case NODE_GENERATION:
        return run_generation(r, n);
    case NODE_BREAK:
        return FLOW_BREAK;
    default:
        return FLOW_CONTINUE;
    }
}

static enum flow run_body(struct run *r, const struct node *first)
{
    enum flow flow = FLOW_ON;
    if (context_enter(r->context) != 0)
        return FLOW_ERROR;
    for (const struct node *n = first; n && flow == FLOW_ON; n = n->next)
        flow = context_work(r->context, 1) == 0 ? run_statement(r, n) : FLOW_ERROR;
    context_leave(r->context);
    return flow;
}

int run_all(struct run *r, const struct node *body)
{
    return run_body(r, body) == FLOW_ERROR ? -1 : 0;
}

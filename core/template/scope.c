#include "core/template/scope.h"

struct scope *scope_open(struct context *c, struct scope *parent)
{
    struct scope *s = context_alloc(c, sizeof *s);
    if (s)
        *s = (struct scope){.parent = parent};
    return s;
}

static struct binding *find(const struct scope *scope, struct string name)
{
    struct binding *b = scope->first;
    while (b && b->name.data != name.data)
        b = b->next;
    return b;
}

const struct binding *scope_find(const struct scope *scope, struct string name)
{
    return find(scope, name);
}

int scope_bind(struct context *c, struct scope *scope, struct string name, struct value value)
{
    struct binding *b = find(scope, name);
    if (b) {
        b->value = value;
        return 0;
    }
    if (!(b = context_alloc(c, sizeof *b)))
        return -1;
    *b = (struct binding){scope->first, name, value};
    scope->first = b;
    return 0;
}

bool scope_lookup(const struct scope *scope, struct string name, struct value *out)
{
    const struct binding *b = NULL;
    for (; scope && !b; scope = scope->parent)
        b = find(scope, name);
    if (b)
        *out = b->value;
    return b != NULL;
}

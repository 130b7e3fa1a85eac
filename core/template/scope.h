/* Names and what they stand for, while a template is rendered. As in Jinja2, loops, macros and captured
 * blocks have scopes of their own, branches have none. Scopes lie in the rendering's arena and go with it. */
#pragma once
#include "core/template/values/value.h"

struct binding {
    struct binding *next;
    struct string name; /* names of one template: the same name is the same pointer */
    struct value value;
};
struct scope {
    struct scope *parent;
    struct binding *first;
};

struct scope *scope_open(struct context *c, struct scope *parent); /* NULL: the error is set */
MUST_USE int scope_bind(struct context *c, struct scope *scope, struct string name, struct value value);
/* In this scope alone; NULL: it is not there. */
const struct binding *scope_find(const struct scope *scope, struct string name);
/* In this scope or those around it. */
bool scope_lookup(const struct scope *scope, struct string name, struct value *out);

/* Statements, carried out: what they write, and what names stand for meanwhile. Belongs to one thread. */
#pragma once
#include "core/template/scope.h"
#include "core/template/span.h"
#include "core/template/syntax/node.h"

struct run {
    struct context *context;
    struct scope *scope; /* the innermost */
    struct buf *out;
    struct value capture;         /* of NODE_CAPTURED */
    const struct buf *text;       /* the whole text, of which are */
    struct template_spans *spans; /* what generation blocks wrote; NULL: nobody asks */
};

MUST_USE int run_all(struct run *r, const struct node *body);
/* Positional arguments, then by name; *out: what the body writes, as a string. */
MUST_USE int run_macro(struct run *r, const struct macro *m, const struct node *call, struct value *out);

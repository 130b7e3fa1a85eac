/* A loop under way, which templates see as `loop`. It takes its items one by one, since its filter may look
 * at what the body changes. */
#pragma once
#include "core/template/values/value.h"

struct loop { /* zero-initialize, but for index0: -1 */
    struct list source;
    size_t at;
    /* The filter, which is the template's to evaluate; NULL: it takes every item. */
    int (*accepts)(struct loop *l, struct value item, bool *out);
    int64_t index0;
    struct value before, current, after;
    bool has_after; /* it was looked at: the filter let it through */
};

/* 1: *out is the next item, 0: there is none. */
MUST_USE int loop_next(struct loop *l, struct value *out);
/* loop.NAME */
MUST_USE int loop_attribute(struct context *c, struct loop *l, struct string name, struct value *out);

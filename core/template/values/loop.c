#include "core/template/values/loop.h"

/* 1: *out is the next item that the filter lets through. */
static int pull(struct loop *l, struct value *out)
{
    while (l->at < l->source.count) {
        bool accepted = true;
        struct value item = l->source.items[l->at++];
        if (l->accepts && l->accepts(l, item, &accepted) != 0)
            return -1;
        if (accepted) {
            *out = item;
            return 1;
        }
    }
    return 0;
}

static int peek(struct loop *l)
{
    if (l->has_after)
        return 1;
    int found = pull(l, &l->after);
    l->has_after = found == 1;
    return found;
}

int loop_next(struct loop *l, struct value *out)
{
    struct value item;
    int found = l->has_after ? 1 : pull(l, &item);
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

/* How many items there are in all. To know that, the filter has to look at all that are left; what it lets
 * through is kept, so that it looks at none of them twice. */
static int count(struct context *c, struct loop *l, int64_t *out)
{
    if (l->accepts) {
        struct value rest, item;
        size_t kept = 0;
        if (value_new_list(c, VALUE_LIST, l->source.count - l->at, &rest) != 0)
            return -1;
        for (int found; (found = pull(l, &item)) != 0;) {
            if (found < 0)
                return -1;
            rest.list->items[kept++] = item;
        }
        l->source = (struct list){kept, rest.list->items};
        l->at = 0;
        l->accepts = NULL;
    }
    *out = (int64_t)(l->source.count - l->at) + l->index0 + 1 + l->has_after;
    return 0;
}

int loop_attribute(struct context *c, struct loop *l, struct string name, struct value *out)
{
    int64_t length = 0;
    int found;
    bool counts = string_is(name, "length") || string_is(name, "revindex") || string_is(name, "revindex0");
    if (counts && count(c, l, &length) != 0)
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
        if ((found = peek(l)) < 0)
            return -1;
        if (name.length == 4)
            *out = value_bool(found == 0);
        else if (found)
            *out = l->after;
    } else if (string_is(name, "changed") || string_is(name, "cycle"))
        return context_fail(c, "loop.%.*s is not supported", (int)name.length, name.data);
    return 0;
}

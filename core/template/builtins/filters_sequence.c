/* Filters of sequences and dicts. */
#include <string.h>

#include "core/template/builtins/access.h"
#include "core/template/builtins/filters_private.h"
#include "core/template/values/loop.h"
#include "core/template/values/operators.h"
#include "core/template/values/string_case.h"
#include "core/template/values/value_print.h"

int filter_length(struct context *c, struct value in, const struct arguments *a, struct value *out)
{
    (void)a;
    if (in.kind == VALUE_LOOP)
        return loop_attribute(c, in.loop, STRING("length"), out);
    if (in.kind == VALUE_STRING) {
        *out = value_integer((int64_t)string_count(in.string));
        return context_bytes(c, in.string.length);
    }
    if (in.kind == VALUE_UNDEFINED)
        *out = value_integer(0);
    else if (in.kind == VALUE_DICT)
        *out = value_integer((int64_t)in.dict->count);
    else if (value_is_list(in) && in.kind != VALUE_GENERATOR)
        *out = value_integer((int64_t)in.list->count);
    else
        return context_fail(c, "%s has no length", value_kind_name(in));
    return 0;
}

int filter_default(struct context *c, struct value in, const struct arguments *a, struct value *out)
{
    (void)c;
    bool missing = in.kind == VALUE_UNDEFINED || (value_truth(a->values[1]) && !value_truth(in));
    *out = missing ? argument_or(a->values[0], value_string(STRING(""))) : in;
    return 0;
}

int filter_list(struct context *c, struct value in, const struct arguments *a, struct value *out)
{
    (void)a;
    struct list items;
    if (value_items(c, in, &items) != 0 || value_new_list(c, VALUE_LIST, 0, out) != 0)
        return -1;
    *out->list = items;
    return 0;
}

int filter_first(struct context *c, struct value in, const struct arguments *a, struct value *out)
{
    (void)a;
    struct list items;
    *out = value_undefined(STRING("the first item"));
    if (in.kind == VALUE_GENERATOR) { /* uses one item of it up, as next() does */
        if (in.list->count) {
            *out = *in.list->items++;
            in.list->count--;
        }
        return 0;
    }
    if (value_items(c, in, &items) != 0)
        return -1;
    if (items.count)
        *out = items.items[0];
    return 0;
}

int filter_last(struct context *c, struct value in, const struct arguments *a, struct value *out)
{
    (void)a;
    struct list items;
    if (in.kind == VALUE_GENERATOR)
        return context_fail(c, "a generator has no last item");
    *out = value_undefined(STRING("the last item"));
    if (value_items(c, in, &items) != 0)
        return -1;
    if (items.count)
        *out = items.items[items.count - 1];
    return 0;
}

int filter_items(struct context *c, struct value in, const struct arguments *a, struct value *out)
{
    (void)a;
    if (in.kind == VALUE_UNDEFINED)
        return value_new_list(c, VALUE_GENERATOR, 0, out);
    if (in.kind != VALUE_DICT)
        return context_fail(c, "items needs a dict, not %s", value_kind_name(in));
    if (value_new_view(c, VALUE_ITEMS, in.dict, out) != 0)
        return -1;
    out->kind = VALUE_GENERATOR;
    return 0;
}

/* Sorting compares strings without regard to case, unless it is told to. */
static int sort_key(struct context *c, struct value key, bool as_it_is, struct value *out)
{
    *out = key;
    return key.kind == VALUE_STRING && !as_it_is ? string_change_case(c, key.string, STRING_LOWER, out) : 0;
}

/* Insert pair `i` where it belongs among those before it, behind its equals. */
static int insert_sorted(struct context *c, struct list *pairs, struct value *keys, size_t i, bool reverse)
{
    struct value pair = pairs->items[i], key = keys[i];
    for (; i > 0; i--) {
        int order;
        bool unordered;
        if (context_work(c, 1) != 0 || operate_order(c, key, keys[i - 1], &order, &unordered) != 0)
            return -1;
        if (reverse ? order <= 0 : order >= 0)
            break;
        pairs->items[i] = pairs->items[i - 1];
        keys[i] = keys[i - 1];
    }
    pairs->items[i] = pair;
    keys[i] = key;
    return 0;
}

int filter_dictsort(struct context *c, struct value in, const struct arguments *a, struct value *out)
{
    struct value by = argument_or(a->values[1], value_string(STRING("key")));
    bool sensitive = value_truth(a->values[0]), reverse = value_truth(a->values[2]);
    if (in.kind != VALUE_DICT)
        return context_fail(c, "dictsort needs a dict, not %s", value_kind_name(in));
    if (by.kind != VALUE_STRING || !string_is(by.string, "key"))
        return context_fail(c, "dictsort by anything but \"key\" is not supported");
    struct value *keys = context_alloc(c, in.dict->count * sizeof *keys);
    if (!keys || value_new_view(c, VALUE_ITEMS, in.dict, out) != 0)
        return -1;
    out->kind = VALUE_LIST;
    for (size_t i = 0; i < in.dict->count; i++)
        if (sort_key(c, in.dict->entries[i].key, sensitive, &keys[i]) != 0 ||
            insert_sorted(c, out->list, keys, i, reverse) != 0)
            return -1;
    return 0;
}

/* What an item is compared by: itself, or what `path` finds in it. */
static int item_key(struct context *c, struct value item, struct value path, bool sensitive,
                    struct value *out)
{
    struct value found = item;
    if (!argument_none(path) && access_path(c, item, path, (struct value){0}, &found) != 0)
        return -1;
    return sort_key(c, found, sensitive, out);
}

int filter_sort(struct context *c, struct value in, const struct arguments *a, struct value *out)
{
    bool reverse = value_truth(a->values[0]), sensitive = value_truth(a->values[1]);
    struct value path = a->values[2];
    struct list items;
    if (path.kind == VALUE_STRING && memchr(path.string.data, ',', path.string.length))
        return context_fail(c, "sort by several attributes is not supported");
    if (value_items(c, in, &items) != 0 || value_new_list(c, VALUE_LIST, items.count, out) != 0)
        return -1;
    struct value *keys = context_alloc(c, items.count * sizeof *keys);
    if (!keys)
        return -1;
    for (size_t i = 0; i < items.count; i++) {
        out->list->items[i] = items.items[i];
        if (item_key(c, items.items[i], path, sensitive, &keys[i]) != 0 ||
            insert_sorted(c, out->list, keys, i, reverse) != 0)
            return -1;
    }
    return 0;
}

/* Is it among the first `count` keys? */
static int is_among(struct context *c, struct value key, const struct value *keys, size_t count, bool *found)
{
    *found = false;
    for (size_t i = 0; i < count && !*found; i++)
        if (context_work(c, 1) != 0 || operate_compare(c, TWO('=', '='), key, keys[i], found) != 0)
            return -1;
    return 0;
}

/* The first of each that compare equal, in their order. */
int filter_unique(struct context *c, struct value in, const struct arguments *a, struct value *out)
{
    bool sensitive = value_truth(a->values[0]), known;
    struct list items;
    size_t count = 0;
    if (value_items(c, in, &items) != 0 || value_new_list(c, VALUE_GENERATOR, items.count, out) != 0)
        return -1;
    struct value *keys = context_alloc(c, items.count * sizeof *keys);
    if (!keys)
        return -1;
    for (size_t i = 0; i < items.count; i++) {
        if (item_key(c, items.items[i], a->values[1], sensitive, &keys[count]) != 0)
            return -1;
        if (value_is_list(keys[count]) || keys[count].kind == VALUE_DICT)
            return context_fail(c, "unique of a %s is not supported", value_kind_name(keys[count]));
        if (is_among(c, keys[count], keys, count, &known) != 0)
            return -1;
        if (!known)
            out->list->items[count++] = items.items[i];
    }
    out->list->count = count;
    return 0;
}

int filter_reverse(struct context *c, struct value in, const struct arguments *a, struct value *out)
{
    (void)a;
    const struct value bounds[3] = {{.kind = VALUE_NONE}, {.kind = VALUE_NONE}, value_integer(-1)};
    struct list items;
    if (in.kind == VALUE_STRING)
        return operate_slice(c, in, bounds, out);
    bool list = in.kind == VALUE_GENERATOR; /* which cannot be read backwards: it becomes a list */
    if (value_items(c, in, &items) != 0 ||
        value_new_list(c, list ? VALUE_LIST : VALUE_GENERATOR, items.count, out) != 0)
        return -1;
    for (size_t i = 0; i < items.count; i++)
        out->list->items[i] = items.items[items.count - 1 - i];
    return 0;
}

int filter_join(struct context *c, struct value in, const struct arguments *a, struct value *out)
{
    struct string by = STRING("");
    struct list items;
    struct buf text = {0};
    bool path = !argument_none(a->values[1]);
    if ((argument_given(a->values[0]) && value_to_string(c, a->values[0], &by) != 0) ||
        value_items(c, in, &items) != 0)
        return -1;
    int result = 0;
    for (size_t i = 0; i < items.count && result == 0; i++) {
        struct value v = items.items[i];
        if (path)
            result = access_path(c, items.items[i], a->values[1], (struct value){0}, &v);
        if (result == 0 && i > 0)
            result = context_append(c, &text, by.data, by.length);
        if (result == 0)
            result = context_work(c, 1) != 0 ? -1 : value_print(c, v, &text);
    }
    if (result == 0)
        return value_take(c, &text, out);
    buf_fini(&text);
    return -1;
}

#include "core/template/builtins/access.h"

#include "core/template/builtins/methods.h"
#include "core/template/values/loop.h"
#include "core/template/values/operators.h"
#include "core/template/values/string_edit.h"

static int bind_method(struct context *c, struct value self, const struct method *method, struct value *out)
{
    struct bound *b = context_alloc(c, sizeof *b);
    if (!b)
        return -1;
    *b = (struct bound){self, method};
    *out = (struct value){.kind = VALUE_METHOD, .bound = b};
    return 0;
}

/* The method of that name; undefined where there is none. */
static int find_method(struct context *c, struct value of, struct string name, struct value *out)
{
    const struct method *method;
    if (of.safe)
        return context_fail(c, "methods of what went through \"safe\" are not supported");
    if (methods_find(c, of, name, &method) != 0)
        return -1;
    *out = value_undefined(name);
    return method ? bind_method(c, of, method, out) : 0;
}

int access_attribute(struct context *c, struct value of, struct string name, struct value *out)
{
    if (of.kind == VALUE_UNDEFINED)
        return value_fail_undefined(c, of);
    if (of.kind == VALUE_LOOP)
        return loop_attribute(c, of.loop, name, out);
    if (of.kind == VALUE_MACRO || of.kind == VALUE_FUNCTION || of.kind == VALUE_METHOD)
        return context_fail(c, "attributes of %s are not supported", value_kind_name(of));
    *out = value_undefined(name);
    if (of.kind != VALUE_NAMESPACE && find_method(c, of, name, out) != 0)
        return -1;
    if (out->kind != VALUE_UNDEFINED || (of.kind != VALUE_DICT && of.kind != VALUE_NAMESPACE))
        return 0;
    struct value *member;
    if (value_find(c, of.dict, value_string(name), &member) != 0)
        return -1;
    if (member)
        *out = *member;
    return 0;
}

static int subscript_dict(struct context *c, struct value of, struct value key, struct value *out)
{
    struct value *member;
    if (context_work(c, of.dict->count) != 0 || value_find(c, of.dict, key, &member) != 0)
        return -1;
    if (member) {
        *out = *member;
        return 0;
    }
    if (key.kind == VALUE_STRING && of.kind == VALUE_DICT)
        return find_method(c, of, key.string, out);
    *out = value_undefined(key.kind == VALUE_STRING ? key.string : STRING("a key"));
    return 0;
}

int access_subscript(struct context *c, struct value of, struct value key, struct value *out)
{
    int64_t index;
    size_t at;
    if (of.kind == VALUE_UNDEFINED)
        return value_fail_undefined(c, of);
    if (of.safe)
        return context_fail(c, "parts of what went through \"safe\" are not supported");
    if (of.kind == VALUE_DICT || of.kind == VALUE_NAMESPACE)
        return subscript_dict(c, of, key, out);
    if (of.kind == VALUE_LOOP && key.kind == VALUE_STRING)
        return loop_attribute(c, of.loop, key.string, out);
    if (key.kind == VALUE_STRING)
        return find_method(c, of, key.string, out);
    *out = value_undefined(STRING("an item"));
    if (!value_as_integer(key, &index))
        return 0;
    if (of.kind == VALUE_LIST || of.kind == VALUE_TUPLE || of.kind == VALUE_RANGE) {
        if (operate_index(index, of.list->count, &at))
            *out = of.list->items[at];
    } else if (of.kind == VALUE_STRING) {
        if (context_bytes(c, of.string.length) != 0)
            return -1;
        if (operate_index(index, string_count(of.string), &at))
            *out = value_string(string_part(of.string, at, 1));
    }
    return 0;
}

/* A name of digits alone is an item's number. */
static bool is_index(struct string s, int64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < s.length && i < 9; i++) {
        if (s.data[i] < '0' || s.data[i] > '9')
            return false;
        *out = *out * 10 + (s.data[i] - '0');
    }
    return s.length > 0 && s.length < 10;
}

int access_path(struct context *c, struct value of, struct value path, struct value otherwise,
                struct value *out)
{
    struct value dot = value_string(STRING(".")), parts;
    int64_t index;
    *out = of;
    if (path.kind == VALUE_INTEGER)
        return access_subscript(c, of, path, out);
    if (path.kind != VALUE_STRING)
        return context_fail(c, "an attribute's name must be a str, not %s", value_kind_name(path));
    if (string_split(c, path.string, &dot, -1, false, &parts) != 0)
        return -1;
    for (size_t i = 0; i < parts.list->count; i++) {
        struct value part = parts.list->items[i], next;
        if (is_index(part.string, &index))
            part = value_integer(index);
        if (access_subscript(c, *out, part, &next) != 0)
            return -1;
        *out = next.kind == VALUE_UNDEFINED && !argument_none(otherwise) ? otherwise : next;
    }
    return 0;
}

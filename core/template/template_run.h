/* A rendering under way: its scopes, limits and errors. template_run.c carries statements out,
 * template_evaluate.c and template_operators.c expressions, with the filters, tests, methods and functions of
 * the files of those names. Belongs to one thread. */
#pragma once
#include "core/template/template_node.h"

struct binding {
    struct binding *next;
    struct string name;
    struct value value;
};
struct scope {
    struct scope *parent;
    struct binding *first;
};

struct run {
    struct arena arena;
    struct scope *scope;
    struct buf *out;
    uint64_t steps, steps_max;
    int depth, line;
    struct value capture; /* of NODE_CAPTURED */
    struct err *e;
};

struct loop { /* takes items one by one, since its filter may look at what the body changes */
    const struct node *node;
    struct list source;
    size_t at;
    bool completed;         /* a body ran to its end: without, "else" follows, as in Jinja2 */
    struct scope *scope;    /* around it */
    int64_t index0, length; /* length: -1 not known yet, the filter is still to look at what is left */
    struct value before, current, after;
    bool has_after;
};

struct macro {
    const struct node *node;
    struct scope *scope; /* where it was defined */
};

/* Arguments by parameter; VALUE_UNDEFINED with string.data NULL: not given. */
struct arguments {
    struct value values[PARAMETERS_MAX];
};
static inline bool argument_given(struct value v)
{
    return v.kind != VALUE_UNDEFINED || v.string.data;
}
static inline bool argument_none(struct value v) /* or not given */
{
    return v.kind == VALUE_NONE || !argument_given(v);
}

struct filter {
    const char *name;
    struct signature signature;
    int (*apply)(struct run *r, struct value in, const struct arguments *a, struct value *out);
    bool takes_safe; /* its result is the same, whether or not a string is safe */
};
struct test {
    const char *name;
    struct signature signature;
    int (*apply)(struct run *r, struct value in, const struct arguments *a, bool *out);
};
struct function {
    const char *name;
    struct signature signature;
    bool any_names; /* takes whatever names; `named` is a dict of them */
    int (*call)(struct run *r, const struct arguments *a, struct dict *named, struct value *out);
};
struct method {
    const char *name;
    struct signature signature;
    int of; /* kinds, as template_methods.c numbers them */
    int (*call)(struct run *r, struct value self, const struct arguments *a, struct value *out);
};
struct bound {
    struct value self;
    const struct method *method;
};

const struct filter *filter_find(struct string name);
int filter_apply(struct run *r, const struct filter *f, struct value in, const struct arguments *a,
                 struct value *out);
const struct test *test_find(struct string name);
const struct function *function_find(struct string name);
bool method_known(struct string name);
/* The method of a value, *out NULL: none. An error where Python has one that is missing here. */
int method_find(struct run *r, struct value self, struct string name, const struct method **out);
/* Whether these arguments (NODE_ARGUMENT) fit; refuses by name. `what`: "filter \"join\"". */
int signature_check(const struct signature *s, const struct node *arguments, const char *what, int line,
                    struct err *e);

/* "chat_template_failed", with the line. */
int run_fail(struct run *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
int run_work(struct run *r, size_t steps);   /* count them */
int run_bytes(struct run *r, size_t length); /* the steps for looking at so many bytes */
int run_enter(struct run *r);                /* one deeper, to be undone by r->depth-- */
void *run_alloc(struct run *r, size_t size); /* NULL: the error is set */
int run_append(struct run *r, struct buf *out, const char *data, size_t length);
int run_undefined(struct run *r, struct value v); /* "'x' is undefined" */

int run_bind(struct run *r, struct scope *scope, struct string name, struct value value);
bool run_lookup(const struct run *r, struct string name, struct value *out);
int run_call_macro(struct run *r, const struct macro *m, const struct node *call, struct value *out);
/* 1: *out is the next item, 0: there is none. */
int loop_next(struct run *r, struct loop *l, struct value *out);
int loop_attribute(struct run *r, struct loop *l, struct string name, struct value *out);

int evaluate(struct run *r, const struct node *n, struct value *out);
/* a.name and a[b]; what is missing is VALUE_UNDEFINED. */
int evaluate_attribute(struct run *r, struct value of, struct string name, struct value *out);
int evaluate_subscript(struct run *r, struct value of, struct value key, struct value *out);
int evaluate_arguments(struct run *r, const struct signature *s, const struct node *arguments,
                       struct arguments *out);

/* template_operators.c */
int operate(struct run *r, int operator, struct value a, struct value b, struct value *out);
int operate_sign(struct run *r, int operator, struct value a, struct value *out);
int operate_compare(struct run *r, int operator, struct value a, struct value b, bool *out);
int operate_slice(struct run *r, struct value of, const struct value bounds[3], struct value *out);
/* Negative from the end; false: there is none. */
bool operate_index(int64_t index, size_t count, size_t *out);

/* template_strings.c */
size_t string_count(struct string s); /* code points */
/* `count` code points, which must be there, of the string itself. */
struct string string_part(struct string s, size_t start, size_t count);
bool string_is_space(uint32_t code); /* as Python's str.isspace */
enum string_sides { STRING_LEFT = 1, STRING_RIGHT = 2, STRING_BOTH = 3 };
/* Characters of `chars` off the ends; data NULL: white space. */
struct string string_strip(struct string s, struct string chars, enum string_sides sides);
/* First place of `part` from `from` on, or -1. */
ptrdiff_t string_find(struct string s, struct string part, size_t from);
int string_replace(struct run *r, struct string s, struct string old, struct string new, int64_t count,
                   struct value *out);
int string_split(struct run *r, struct string s, const struct value *separator, int64_t max, bool from_right,
                 struct value *out);
int string_lines(struct run *r, struct string s, bool keep_ends, struct value *out);
enum string_case { STRING_LOWER, STRING_UPPER, STRING_TITLE, STRING_CAPITALIZED, STRING_WORDS };
int string_change_case(struct run *r, struct string s, enum string_case to, struct value *out);
bool string_has_case(struct string s, enum string_case wanted); /* islower, isupper */

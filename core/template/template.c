#include "core/template/template.h"

#include <stdlib.h>

#include "core/template/run.h"
#include "core/template/syntax/statement.h"
#include "core/template/values/value_json.h"

enum { COMPILED_BYTES_MAX = 128 << 20 };

struct template
{
    struct arena arena; /* of the nodes and names */
    struct node *body;
    struct name *names; /* all names in it */
};

static int compile(struct template *t, const char *text, size_t length, struct err *e)
{
    struct token *tokens;
    if (lex(&t->arena, text, length, &tokens, e) != 0)
        return -1;
    struct parser p = {.arena = &t->arena, .at = tokens, .e = e};
    t->body = statement_parse_all(&p);
    t->names = p.names;
    free(tokens);
    return t->body ? 0 : -1;
}

int template_new(struct template **out, const char *text, size_t length, struct err *e)
{
    if (length > TEMPLATE_BYTES_MAX)
        return err_set(e, "chat_template_unsupported",
                       "the model's chat template may have %d bytes, it has %zu", TEMPLATE_BYTES_MAX, length);
    struct template *t = calloc(1, sizeof *t);
    if (!t)
        return err_memory(e);
    t->arena.bytes_max = COMPILED_BYTES_MAX;
    if (compile(t, text, length, e) != 0) {
        template_free(t);
        return -1;
    }
    *out = t;
    return 0;
}

void template_free(struct template *t)
{
    if (!t)
        return;
    arena_fini(&t->arena);
    free(t);
}

/* A variable that the template never names is left out. */
static int bind_variables(struct run *r, const struct template *t, const json_t *variables)
{
    const char *key;
    size_t length;
    json_t *json;
    json_object_keylen_foreach((json_t *)variables, key, length, json)
    {
        const struct name *name = names_find(t->names, (struct string){key, length});
        struct value v;
        if (name && (value_from_json(r->context, json, &v) != 0 ||
                     scope_bind(r->context, r->scope, name->text, v) != 0))
            return -1;
    }
    return 0;
}

int template_render_spans(const struct template *t, const json_t *fixed, const json_t *more, struct buf *out,
                          struct template_spans *spans, struct err *e)
{
    struct buf text = {0};
    struct scope outermost = {0};
    struct context c = {
        .arena.bytes_max = TEMPLATE_MEMORY_BYTES_MAX, .steps_max = TEMPLATE_STEPS_MAX, .line = 1, .e = e};
    struct run r = {.context = &c, .scope = &outermost, .out = &text, .text = &text, .spans = spans};
    int result = bind_variables(&r, t, fixed) != 0 || bind_variables(&r, t, more) != 0 ? -1 : 0;
    c.steps = 0;
    c.steps_max += TEMPLATE_STEPS_PER_BYTE * (uint64_t)c.arena.bytes;
    if (result == 0)
        result = run_all(&r, t->body->body);
    if (result == 0 && buf_append(out, text.data ? text.data : "", text.length) != 0)
        result = err_memory(e);
    buf_fini(&text);
    arena_fini(&c.arena);
    return result;
}

int template_render(const struct template *t, const json_t *fixed, const json_t *more, struct buf *out,
                    struct err *e)
{
    return template_render_spans(t, fixed, more, out, NULL, e);
}

/* What an answer has to be: the fields that ask for it, and the grammar that is made of them before the
 * adapters are looked for. */
#include <string.h>

#include "server/base/fields.h"
#include "server/inference/inference.h"

/* ---- the fields ---- */

int inference_want(struct inference *q, const char *field, enum grammars_kind kind, const json_t *value,
                   struct err *e)
{
    if (q->r->server->info->numeric) {
        err_set(e, "input_unsupported", "the model \"%s\" answers rows of numbers, which no grammar can hold",
                q->r->server->model_name);
        return err_param(e, field);
    }
    if (q->structure.kind != GRAMMARS_NONE) {
        err_set(e, "field_conflict", "\"%s\" and \"%s\" both say what the answer has to be",
                q->structure.field, field);
        return err_param(e, field);
    }
    q->structure.kind = kind;
    q->structure.field = field;
    q->structure.value = json_incref((json_t *)value);
    return 0;
}

static int want_schema(struct inference *q, const json_t *schema, struct err *e)
{
    if (!schema) {
        err_set(e, "missing_field", "a \"response_format\" of the type \"json_schema\" needs a schema");
        return err_param(e, "response_format");
    }
    return inference_want(q, "response_format", GRAMMARS_SCHEMA, schema, e);
}

/* OpenAI's form: {"type": "json_schema", "json_schema": {"name", "schema", "strict"}}; the schema is held
 * whether or not it is called strict. Beside "json_object" others take a schema, too. */
static int read_format(struct inference *q, const json_t *format, const char *type, struct err *e)
{
    const json_t *named = json_object_get(format, "json_schema"), *schema = json_object_get(format, "schema");
    if (strcmp(type, "text") == 0)
        return 0;
    if (strcmp(type, "json_object") == 0 && (!schema || json_is_null(schema)))
        return inference_want(q, "response_format", GRAMMARS_OBJECT, NULL, e);
    if (strcmp(type, "json_object") == 0)
        return want_schema(q, schema, e);
    if (strcmp(type, "json_schema") == 0 && json_is_object(named))
        return want_schema(q, json_object_get(named, "schema"), e);
    if (strcmp(type, "json_schema") == 0)
        return want_schema(q, schema, e);
    err_set(e, "unsupported_value",
            "the type of a \"response_format\" may be text, json_object or json_schema, found \"%.64s\"",
            type);
    return err_param(e, "response_format");
}

static int parse_format(struct inference *q, const json_t *body, struct err *e)
{
    static const char *const names[] = {"type", "json_schema", "schema", NULL};
    static const char *const inner[] = {"name", "description", "schema", "strict", NULL};
    const json_t *format = json_object_get(body, "response_format");
    const char *type = "";
    if (!format)
        return 0;
    if (!json_is_object(format))
        return field_wrong_type(format, "response_format", "an object", e);
    const json_t *named = json_object_get(format, "json_schema");
    if (fields_known(format, names, e) != 0 || (named && fields_known(named, inner, e) != 0) ||
        field_text(format, "type", 64, &type, e) < 0)
        return -1;
    return read_format(q, format, type, e);
}

static int parse_text(struct inference *q, const json_t *body, const char *field, enum grammars_kind kind,
                      struct err *e)
{
    const json_t *value = json_object_get(body, field);
    if (!value)
        return 0;
    if (!json_is_string(value))
        return field_wrong_type(value, field, "a string", e);
    return inference_want(q, field, kind, value, e);
}

int inference_want_choice(struct inference *q, const char *field, const json_t *list, struct err *e)
{
    if (!json_is_array(list))
        return field_wrong_type(list, field, "an array of strings", e);
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!json_is_string(json_array_get(list, i)))
            return field_wrong_type(json_array_get(list, i), field, "an array of strings", e);
    return inference_want(q, field, GRAMMARS_CHOICE, list, e);
}

int inference_parse_structure(struct inference *q, const json_t *body, struct err *e)
{
    const json_t *choice = json_object_get(body, "choice");
    if (parse_format(q, body, e) != 0 || parse_text(q, body, "grammar", GRAMMARS_GBNF, e) != 0 ||
        parse_text(q, body, "regex", GRAMMARS_REGEX, e) != 0)
        return -1;
    return choice ? inference_want_choice(q, "choice", choice, e) : 0;
}

/* ---- the grammar ---- */

int inference_compile_structure(struct inference *q, struct err *e)
{
    if (grammars_compile(q->r->server->grammars, q->structure.kind, q->structure.value, &q->structure.guide,
                         e) == 0)
        return 0;
    return e->param[0] ? -1 : err_param(e, q->structure.field);
}

void inference_structure_fini(struct inference *q)
{
    json_decref(q->structure.value);
    guide_unref(q->structure.guide);
}

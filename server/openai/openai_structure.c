/* What the answer has to be, by the names that other servers and their clients have for it. */
#include "server/base/fields.h"
#include "server/openai/openai.h"

/* A schema, or the text of one. */
static int want_json(struct inference *q, const char *field, const json_t *value, struct err *e)
{
    if (!json_is_string(value))
        return inference_want(q, field, GRAMMARS_SCHEMA, value, e);
    json_t *schema =
        json_loadb(json_string_value(value), json_string_length(value), JSON_REJECT_DUPLICATES, NULL);
    if (!schema) {
        err_set(e, "schema_invalid", "\"%s\" is a string that is not the text of a schema", field);
        return err_param(e, field);
    }
    int result = inference_want(q, field, GRAMMARS_SCHEMA, schema, e);
    json_decref(schema);
    return result;
}

static int want_any_json(struct inference *q, const char *field, const json_t *value, struct err *e)
{
    if (!json_is_boolean(value))
        return field_wrong_type(value, field, "true or false", e);
    return json_is_true(value) ? inference_want(q, field, GRAMMARS_OBJECT, NULL, e) : 0;
}

static int want_grammar(struct inference *q, const char *field, const json_t *value, struct err *e)
{
    if (!json_is_string(value))
        return field_wrong_type(value, field, "a string", e);
    return inference_want(q, field, GRAMMARS_GBNF, value, e);
}

static int want_regex(struct inference *q, const char *field, const json_t *value, struct err *e)
{
    if (!json_is_string(value))
        return field_wrong_type(value, field, "a string", e);
    return inference_want(q, field, GRAMMARS_REGEX, value, e);
}

static int parse_names(struct inference *q, const json_t *object, bool inner, struct err *e)
{
    static const struct {
        const char *name;
        bool inner; /* of structured_outputs */
        int (*want)(struct inference *q, const char *field, const json_t *value, struct err *e);
    } names[] = {
        {"json_schema", false, want_json},
        {"guided_json", false, want_json},
        {"guided_grammar", false, want_grammar},
        {"guided_regex", false, want_regex},
        {"guided_choice", false, inference_want_choice},
        {"json", true, want_json},
        {"grammar", true, want_grammar},
        {"regex", true, want_regex},
        {"choice", true, inference_want_choice},
        {"json_object", true, want_any_json},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const json_t *value = names[i].inner == inner ? json_object_get(object, names[i].name) : NULL;
        if (value && names[i].want(q, names[i].name, value, e) != 0)
            return -1;
    }
    return 0;
}

int openai_parse_structure(struct inference *q, const json_t *body, struct err *e)
{
    json_t *outputs = json_object_get(body, "structured_outputs");
    if (inference_parse_structure(q, body, e) != 0 || parse_names(q, body, false, e) != 0)
        return -1;
    if (!outputs)
        return 0;
    if (!json_is_object(outputs))
        return field_wrong_type(outputs, "structured_outputs", "an object", e);
    return openai_fields_check(outputs, OPENAI_STRUCTURED, e) == 0 ? parse_names(q, outputs, true, e) : -1;
}

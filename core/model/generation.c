#include "core/model/generation.h"

#include <stdbool.h>
#include <stddef.h>

#include "core/format/json_file.h"

static const struct json_file file = {
    .name = "generation_config.json", .code = "model_malformed", .bytes_max = 1 << 20};

/* What is read, and the values that can be used. */
static const struct {
    const char *field;
    size_t place; /* of a double in struct generation */
    double low, high;
    bool above; /* low itself is none */
    bool whole;
    const char *wanted;
} fields[] = {
    {"temperature", offsetof(struct generation, temperature), 0, 100, false, false, "a number from 0 to 100"},
    {"top_p", offsetof(struct generation, top_p), 0, 1, true, false, "a number above 0, up to 1"},
    {"min_p", offsetof(struct generation, min_p), 0, 1, false, false, "a number from 0 to 1"},
    {"repetition_penalty", offsetof(struct generation, repetition_penalty), 0, 100, true, false,
     "a number above 0, up to 100"},
    {"top_k", offsetof(struct generation, top_k), -1, 1000000, false, true,
     "a whole number up to 1000000, or 0 or -1 for none"},
};

struct generation generation_none(void)
{
    return (struct generation){NAN, NAN, NAN, NAN, NAN};
}

static int malformed(const char *field, const char *wanted, struct err *e)
{
    err_set(e, "model_malformed", "%s: %s must be %s", file.name, field, wanted);
    err_hint(e, "With --generation-config off the file's sampling defaults are not read.");
    return err_param(e, field);
}

static int read_field(const json_t *root, size_t i, struct generation *g, struct err *e)
{
    const json_t *said = json_object_get(root, fields[i].field);
    if (!said || json_is_null(said))
        return 0;
    double value = json_number_value(said);
    bool fits = fields[i].whole ? json_is_integer(said) : json_is_number(said);
    if (!fits || value < fields[i].low || value > fields[i].high ||
        (fields[i].above && value == fields[i].low))
        return malformed(fields[i].field, fields[i].wanted, e);
    *(double *)((char *)g + fields[i].place) = value;
    return 0;
}

static int read_fields(const json_t *root, struct generation *g, struct err *e)
{
    const json_t *sampled = json_object_get(root, "do_sample");
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (read_field(root, i, g, e) != 0)
            return -1;
    if (sampled && !json_is_null(sampled) && !json_is_boolean(sampled))
        return malformed("do_sample", "true or false", e);
    if (g->top_k < 0)
        g->top_k = 0;
    if (json_is_false(sampled))
        g->temperature = 0;
    return 0;
}

int generation_parse(struct generation *out, const json_t *root, struct err *e)
{
    struct generation g = generation_none();
    if (read_fields(root, &g, e) != 0)
        return -1;
    *out = g;
    return 0;
}

int generation_read(struct generation *out, const char *directory, struct err *e)
{
    json_t *root;
    if (json_file_read(&file, directory, false, &root, e) != 0)
        return -1;
    int result = root ? generation_parse(out, root, e) : 0;
    json_decref(root);
    if (!root)
        *out = generation_none();
    return result;
}

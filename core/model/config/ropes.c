/* Rotations: the section of the config that counts, and what it says. */
#include <stdio.h>
#include <string.h>

#include "core/model/config/parts.h"

/* One rotation's parameters: an object of the config, or none. */
struct section {
    const char *name; /* for messages */
    const json_t *fields;
    double theta; /* where the section does not say */
};

static bool in_list(const char *name, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(name, list[i]) == 0)
            return true;
    return false;
}

static int unsupported_in(const struct section *s, const char *field, const json_t *value, struct err *e)
{
    char name[160];
    snprintf(name, sizeof name, "%.60s.%.80s", s->name, field);
    return key_unsupported(name, value, e);
}

/* ---- kinds ---- */

static int read_kind(const struct section *s, const struct family *f, struct rope *out, struct err *e)
{
    static const struct {
        const char *name;
        enum rope_kind kind;
    } names[] = {{"default", ROPE_PLAIN}, {"linear", ROPE_LINEAR},   {"llama3", ROPE_LLAMA3},
                 {"yarn", ROPE_YARN},     {"dynamic", ROPE_DYNAMIC}, {"longrope", ROPE_LONG}};
    const json_t *type = json_object_get(s->fields, "rope_type");
    if (key_is_absent(type))
        type = json_object_get(s->fields, "type");
    out->kind = ROPE_PLAIN;
    if (key_is_absent(type))
        return 0;
    const char *name = json_string_value(type);
    if (name && f->yarn_is_long && (strcmp(name, "su") == 0 || strcmp(name, "yarn") == 0))
        name = "longrope";
    for (size_t i = 0; i < sizeof names / sizeof *names && name; i++)
        if (strcmp(name, names[i].name) == 0) {
            out->kind = names[i].kind;
            return 0;
        }
    return unsupported_in(s, "rope_type", type, e);
}

static int read_llama3(const struct section *s, struct rope *out, struct err *e)
{
    if (key_number(s->fields, "factor", 0, &out->factor, e) != 0 ||
        key_number(s->fields, "low_freq_factor", 0, &out->low_freq_factor, e) != 0 ||
        key_number(s->fields, "high_freq_factor", 0, &out->high_freq_factor, e) != 0)
        return -1;
    if (out->high_freq_factor <= out->low_freq_factor)
        return key_malformed("high_freq_factor", "greater than low_freq_factor", e);
    return 0;
}

/* Sequences may be longer than the config's context says. */
static int grow_context(struct config *c, double context, struct err *e)
{
    if (context > CONFIG_CONTEXT_MAX)
        return key_malformed("factor", "smaller: the context is beyond 2097152 tokens", e);
    c->context = context > c->context ? (int)context : c->context;
    return 0;
}

/* How much longer sequences may be than in training, where the config leaves it out; and sequences that are,
 * where it leaves the context as it was. */
static int read_yarn(const struct section *s, struct config *c, struct rope *out, struct err *e)
{
    const json_t *mscale = json_object_get(s->fields, "mscale"),
                 *all = json_object_get(s->fields, "mscale_all_dim");
    double share = 0, share_all = 0;
    if (key_number(s->fields, "factor", c->context / out->original_context, &out->factor, e) != 0 ||
        key_number(s->fields, "beta_fast", 32, &out->beta_fast, e) != 0 ||
        key_number(s->fields, "beta_slow", 1, &out->beta_slow, e) != 0 ||
        key_flag(s->fields, "truncate", true, &out->truncate, e) != 0 ||
        (!key_is_absent(mscale) && key_number(s->fields, "mscale", 0, &share, e) != 0) ||
        (!key_is_absent(all) && key_number(s->fields, "mscale_all_dim", 0, &share_all, e) != 0))
        return -1;
    double magnitude = share > 0 && share_all > 0
                           ? rope_magnitude(out->factor, share) / rope_magnitude(out->factor, share_all)
                           : rope_magnitude(out->factor, 1);
    if (key_number(s->fields, "attention_factor", magnitude, &out->magnitude, e) != 0)
        return -1;
    return grow_context(c, out->factor * out->original_context, e);
}

static int read_divisors(const struct section *s, const char *field, int pairs, float *out, struct err *e)
{
    const json_t *list = json_object_get(s->fields, field), *value;
    size_t i;
    char wanted[64];
    snprintf(wanted, sizeof wanted, "a list of %d positive numbers", pairs);
    if (!json_is_array(list) || json_array_size(list) != (size_t)pairs)
        return key_malformed(field, wanted, e);
    json_array_foreach((json_t *)list, i, value)
    {
        if (!json_is_number(value) || !(json_number_value(value) > 0))
            return key_malformed(field, wanted, e);
        out[i] = (float)json_number_value(value);
    }
    return 0;
}

static int read_long(const struct section *s, const struct config *c, struct rope *out, struct err *e)
{
    double factor = c->context / out->original_context;
    if (out->dim / 2 > ROPE_PAIRS_MAX)
        return key_malformed("head_dim", "smaller: longrope rotates 512 numbers of a head at most", e);
    if (read_divisors(s, "short_factor", out->dim / 2, out->near, e) != 0 ||
        read_divisors(s, "long_factor", out->dim / 2, out->far, e) != 0 ||
        key_number(s->fields, "factor", factor, &out->factor, e) != 0)
        return -1;
    out->whole = c->family->yarn_is_long;
    return key_number(s->fields, "attention_factor", rope_long_magnitude(out->factor, out->original_context),
                      &out->magnitude, e);
}

static int read_dynamic(const struct section *s, struct config *c, struct rope *out, struct err *e)
{
    out->original_context = c->context;
    if (out->dim <= 2)
        return key_malformed("head_dim", "such that a dynamic rotation has more than one pair", e);
    if (key_number(s->fields, "factor", 0, &out->factor, e) != 0)
        return -1;
    return grow_context(c, out->factor * c->context, e);
}

/* The sequences of training: a field of the config comes before the section's. */
static int read_original_context(const json_t *root, const struct section *s, const struct config *c,
                                 struct rope *out, struct err *e)
{
    static const char field[] = "original_max_position_embeddings";
    int fallback = c->family->original_context_default;
    bool on_top = fallback > 0 || !key_is_absent(json_object_get(root, field));
    if (key_number(on_top ? root : s->fields, field, fallback > 0 ? fallback : c->context,
                   &out->original_context, e) != 0)
        return -1;
    return out->original_context > 1 ? 0 : key_malformed(field, "more than 1", e);
}

static int read_scaling(const json_t *root, const struct section *s, struct config *c, struct rope *out,
                        struct err *e)
{
    switch (out->kind) {
    case ROPE_PLAIN:
        return 0;
    case ROPE_LINEAR:
        return key_number(s->fields, "factor", 0, &out->factor, e);
    case ROPE_LLAMA3:
        return read_original_context(root, s, c, out, e) == 0 ? read_llama3(s, out, e) : -1;
    case ROPE_YARN:
        return read_original_context(root, s, c, out, e) == 0 ? read_yarn(s, c, out, e) : -1;
    case ROPE_DYNAMIC:
        return read_dynamic(s, c, out, e);
    case ROPE_LONG:
        return read_original_context(root, s, c, out, e) == 0 ? read_long(s, c, out, e) : -1;
    }
    return 0;
}

/* ---- one rotation ---- */

static int check_fields(const struct section *s, const struct family *f, const struct rope *r, struct err *e)
{
    static const char *const known[] = {"rope_type",
                                        "type",
                                        "rope_theta",
                                        "factor",
                                        "low_freq_factor",
                                        "high_freq_factor",
                                        "original_max_position_embeddings",
                                        "partial_rotary_factor"},
                             *const yarn[] = {"beta_fast", "beta_slow",      "truncate",
                                              "mscale",    "mscale_all_dim", "attention_factor"},
                             *const lengthened[] = {"short_factor", "long_factor", "attention_factor"},
                             *const growth[] = {"llama_4_scaling_beta", "max_position_embeddings"};
    const char *field;
    json_t *value;
    json_object_foreach((json_t *)s->fields, field, value)
    {
        if (key_is_absent(value) || in_list(field, known, sizeof known / sizeof *known) ||
            (r->kind == ROPE_YARN && in_list(field, yarn, sizeof yarn / sizeof *yarn)) ||
            (r->kind == ROPE_LONG && in_list(field, lengthened, sizeof lengthened / sizeof *lengthened)) ||
            (f->query_growth && in_list(field, growth, sizeof growth / sizeof *growth)))
            continue;
        return unsupported_in(s, field, value, e);
    }
    return 0;
}

/* The share of a head that is rotated. */
static int read_rotated(const json_t *root, const struct section *s, const struct config *c, struct rope *out,
                        struct err *e)
{
    static const char field[] = "partial_rotary_factor";
    const struct family *f = c->family;
    const json_t *value = json_object_get(s->fields, field);
    double share = f->rotated_default > 0 ? f->rotated_default : 1;
    if (key_is_absent(value))
        value = json_object_get(root, field);
    if (!key_is_absent(value) && !json_is_number(value))
        return key_malformed(field, "a number", e);
    if (!key_is_absent(value))
        share = json_number_value(value);
    if (!(share > 0 && share <= 1) || (share < 1 && f->rotated_default <= 0))
        return key_unsupported(field, value, e);
    out->dim = (int)(c->head_dim * share);
    if (out->dim < 2 || out->dim % 2 != 0)
        return key_malformed(field, "such that an even part of a head is rotated", e);
    return 0;
}

/* How q grows with its position. */
static int read_growth(const struct section *s, struct config *c, const struct rope *r, struct err *e)
{
    const json_t *growth = json_object_get(s->fields, "llama_4_scaling_beta");
    if (!c->family->query_growth)
        return 0;
    if (!json_is_number(growth) || !(json_number_value(growth) >= 0))
        return key_malformed("llama_4_scaling_beta", "a number from 0 on", e);
    c->query_growth = (float)json_number_value(growth);
    c->query_context = (int)r->original_context;
    if (c->query_context < 1)
        return key_malformed("original_max_position_embeddings", "there", e);
    return 0;
}

static int read_section(const json_t *root, const struct section *s, struct config *c, struct rope *out,
                        struct err *e)
{
    *out = (struct rope){.magnitude = 1, .neighbours = c->family->rope_neighbours};
    if (read_rotated(root, s, c, out, e) != 0 || read_kind(s, c->family, out, e) != 0 ||
        check_fields(s, c->family, out, e) != 0 ||
        key_number(s->fields, "rope_theta", s->theta, &out->theta, e) != 0 ||
        read_scaling(root, s, c, out, e) != 0)
        return -1;
    return read_growth(s, c, out, e);
}

/* ---- which section counts ---- */

/* As in transformers, a rope_scaling that says something replaces rope_parameters as a whole. */
static int find_section(const json_t *root, struct section *out, struct err *e)
{
    static const char *const names[] = {"rope_parameters", "rope_scaling"};
    out->name = names[0];
    out->fields = NULL;
    for (int i = 0; i < 2; i++) {
        const json_t *fields = json_object_get(root, names[i]);
        if (!key_is_absent(fields) && !json_is_object(fields))
            return key_malformed(names[i], "an object or null", e);
        if (json_object_size(fields) > 0) {
            out->name = names[i];
            out->fields = fields;
        }
    }
    return 0;
}

static const char *const kinds_of_layers[CONFIG_ROPES] = {"full_attention", "sliding_attention"};

/* The section of a kind of layer in rope_parameters, which holds nothing else then. */
static int find_kind(const json_t *root, int kind, struct section *out, struct err *e)
{
    static const char *const names[CONFIG_ROPES] = {"rope_parameters.full_attention",
                                                    "rope_parameters.sliding_attention"};
    const json_t *all = json_object_get(root, "rope_parameters");
    const char *field;
    json_t *value;
    out->name = names[kind];
    out->fields = NULL;
    if (!key_is_absent(all) && !json_is_object(all))
        return key_malformed("rope_parameters", "an object or null", e);
    json_object_foreach((json_t *)all, field, value)
    {
        if (!in_list(field, kinds_of_layers, CONFIG_ROPES))
            return unsupported_in(&(struct section){.name = "rope_parameters"}, field, value, e);
        if (!key_is_absent(value) && !json_is_object(value))
            return key_malformed(field, "an object or null", e);
        if (strcmp(field, kinds_of_layers[kind]) == 0 && json_object_size(value) > 0)
            out->fields = value;
    }
    return 0;
}

/* The older spelling of the first kind's; one that names its kind by `type` has never been heard. */
static int find_older(const json_t *root, struct section *out, struct err *e)
{
    const json_t *scaling = json_object_get(root, "rope_scaling");
    if (key_is_absent(scaling) || (json_is_object(scaling) && json_object_size(scaling) == 0))
        return 0;
    if (!json_is_object(scaling))
        return key_malformed("rope_scaling", "an object or null", e);
    if (out->fields || key_is_absent(json_object_get(scaling, "rope_type")))
        return key_unsupported("rope_scaling", scaling, e);
    *out = (struct section){"rope_scaling", scaling, out->theta};
    return 0;
}

/* Families whose sliding layers have a rotation of their own. */
static int read_by_kind(const json_t *root, struct config *c, struct err *e)
{
    const struct family *f = c->family;
    struct section full = {.theta = f->theta_default}, local = {.theta = f->local_theta_default};
    const json_t *theta = json_object_get(root, "rope_theta");
    if (find_kind(root, 0, &full, e) != 0 || find_kind(root, 1, &local, e) != 0 ||
        find_older(root, &full, e) != 0 || key_number(root, "rope_theta", full.theta, &full.theta, e) != 0)
        return -1;
    if (f->field_local_theta && key_number(root, f->field_local_theta, local.theta, &local.theta, e) != 0)
        return -1;
    /* transformers has the default there whatever rope_theta says, older versions rope_theta */
    if (!f->field_local_theta && full.theta != local.theta && !json_object_get(local.fields, "rope_theta"))
        return key_unsupported("rope_theta", theta, e);
    c->ropes = 2;
    if (read_section(root, &full, c, &c->rope[0], e) != 0)
        return -1;
    return read_section(root, &local, c, &c->rope[1], e);
}

int ropes_read(const json_t *root, struct config *c, struct err *e)
{
    struct section s = {.theta = c->family->theta_default > 0 ? c->family->theta_default : 10000};
    if (c->family->learned_positions)
        return 0;
    if (c->family->local_theta_default > 0)
        return read_by_kind(root, c, e);
    if (find_section(root, &s, e) != 0 || key_number(root, "rope_theta", s.theta, &s.theta, e) != 0)
        return -1;
    if (c->family->query_growth && !s.fields)
        return key_malformed("rope_parameters", "an object", e);
    c->ropes = 1;
    return read_section(root, &s, c, &c->rope[0], e);
}

int ropes_read_layers(const json_t *root, struct config *c, struct err *e)
{
    const struct family *f = c->family;
    const json_t *list = json_object_get(root, "no_rope_layers");
    int every = f->unrotated_every;
    if (every && key_size(root, "no_rope_layer_interval", every, CONFIG_LAYERS_MAX, &every, e) != 0)
        return -1;
    if (every && !key_is_absent(list) && (!json_is_array(list) || json_array_size(list) < (size_t)c->layers))
        return key_malformed("no_rope_layers", "a list with an entry for each layer", e);
    for (int i = 0; i < c->layers; i++) {
        const json_t *entry = json_array_get(list, (size_t)i);
        c->rope_of[i] = f->learned_positions || (every && (i + 1) % every == 0) ? -1 : 0;
        if (!every || key_is_absent(list))
            continue;
        if (!json_is_integer(entry) || json_integer_value(entry) < 0 || json_integer_value(entry) > 1)
            return key_malformed("no_rope_layers", "a list of 0 and 1", e);
        c->rope_of[i] = json_integer_value(entry) == 1 ? 0 : -1;
    }
    return 0;
}

/* Sliding windows: which layers see only the last keys. */
#include <string.h>

#include "core/model/config/parts.h"

enum { LAYERS_DEFAULT = 28 }; /* that have none, of transformers */

/* What the config says about windows; a field that is left out has the default of transformers. */
struct window {
    json_int_t length; /* 0: none */
    bool is_said;      /* the config has it */
    bool is_on;        /* the family uses it */
    json_int_t first;  /* layer that has one, where layer_types does not say */
    int pattern;       /* each so many'th has none, the same; 0: there is no pattern */
    const json_t *types;
};

static int check_fields(const json_t *root, struct err *e)
{
    const json_t *length = json_object_get(root, "sliding_window"),
                 *use = json_object_get(root, "use_sliding_window"),
                 *first = json_object_get(root, "max_window_layers");
    if (!key_is_absent(length) && !json_is_integer(length))
        return key_malformed("sliding_window", "an integer or null", e);
    if (!key_is_absent(use) && !json_is_boolean(use))
        return key_malformed("use_sliding_window", "true or false", e);
    if (!key_is_absent(first) && !json_is_integer(first))
        return key_malformed("max_window_layers", "an integer", e);
    return 0;
}

/* Where layer_types says it, the pattern may be written in another way. */
static int read_pattern(const json_t *root, const struct family *f, struct window *w, struct err *e)
{
    w->pattern = f->window_pattern;
    if (!f->field_window_pattern || !w->is_on || !key_is_absent(w->types))
        return 0;
    return key_size(root, f->field_window_pattern, f->window_pattern, CONFIG_LAYERS_MAX, &w->pattern, e);
}

static int read_fields(const json_t *root, const struct config *c, struct window *out, struct err *e)
{
    const json_t *length = json_object_get(root, "sliding_window"),
                 *first = json_object_get(root, "max_window_layers");
    enum window_rule rule = c->family->window;
    bool chosen = rule == WINDOW_CHOSEN, use = json_is_true(json_object_get(root, "use_sliding_window"));
    if (check_fields(root, e) != 0)
        return -1;
    *out = (struct window){.length = length ? json_integer_value(length) : c->family->window_default,
                           .is_said = !key_is_absent(length),
                           .first = !chosen                ? 0
                                    : key_is_absent(first) ? LAYERS_DEFAULT
                                                           : json_integer_value(first),
                           .types = json_object_get(root, "layer_types")};
    out->is_on =
        (length ? !json_is_null(length) : c->family->window_default > 0) &&
        (rule == WINDOW_EVERY || rule == WINDOW_TYPED || ((chosen || rule == WINDOW_UNROTATED) && use));
    if (out->is_on && out->length < 1)
        return key_unsupported("sliding_window", length, e);
    return read_pattern(root, c->family, out, e);
}

/* One entry for every layer. Where the family has no window, a layer that slides passes if the window is
 * known not to bite; where every layer has one, none may say that it sees all. */
static int read_layer_types(const struct window *w, struct config *c, struct err *e)
{
    const json_t *type;
    size_t i;
    bool bites = w->length < c->context;
    if (!json_is_array(w->types) || json_array_size(w->types) != (size_t)c->layers)
        return key_malformed("layer_types", "a list with one entry per layer", e);
    json_array_foreach((json_t *)w->types, i, type)
    {
        const char *name = json_string_value(type);
        bool full = name && strcmp(name, "full_attention") == 0;
        bool slides = name && strcmp(name, "sliding_attention") == 0;
        bool full_passes = !(w->is_on && bites && c->family->window == WINDOW_EVERY);
        if (!(full && full_passes) && !(slides && (w->is_on || (w->is_said && !bites))))
            return key_unsupported("layer_types", type, e);
        c->slides[i] = slides;
    }
    return 0;
}

static bool slides_by_rule(const struct window *w, const struct config *c, int layer)
{
    switch (c->family->window) {
    case WINDOW_NONE:
        return false;
    case WINDOW_EVERY:
        return true;
    case WINDOW_CHOSEN:
        return layer >= w->first;
    case WINDOW_TYPED:
        return w->is_on && (w->pattern == 0 || (layer + 1) % w->pattern != 0);
    case WINDOW_UNROTATED:
        return c->rope_of[layer] < 0;
    }
    return false;
}

/* A window matters where it is shorter than the context and some layer uses it. */
int windows_read(const json_t *root, struct config *c, struct err *e)
{
    struct window w = {0};
    if (read_fields(root, c, &w, e) != 0)
        return -1;
    for (int i = 0; i < c->layers; i++)
        c->slides[i] = slides_by_rule(&w, c, i);
    if (!key_is_absent(w.types) && read_layer_types(&w, c, e) != 0)
        return -1;
    bool some = false;
    for (int i = 0; i < c->layers; i++) {
        some |= c->slides[i];
        if (c->family->unrotated_full && w.is_on && !c->slides[i])
            c->rope_of[i] = -1;
        else if (c->family->local_theta_default > 0 && c->slides[i])
            c->rope_of[i] = 1;
    }
    c->window = w.is_on && some && w.length < c->context ? (int)w.length : 0;
    return 0;
}

/* The components of tokenizer.json behind the model: decoders and post-processors. */
#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"
#include "core/tokenizer/load/component.h"
#include "core/tokenizer/load/tokenizer_parts.h"

/* ---- decoders ---- */

static struct decoder_step *add_step(struct decoder *d, enum decoder_kind kind, struct err *e)
{
    if (d->count == DECODER_STEPS_MAX) {
        err_set(e, "tokenizer_unsupported", "decoder: more than %d steps", DECODER_STEPS_MAX);
        return NULL;
    }
    struct decoder_step *step = &d->steps[d->count++];
    *step = (struct decoder_step){.kind = kind};
    for (size_t i = 0; i + 1 < d->count; i++)
        step->fused |= d->steps[i].kind == DECODER_FUSE || d->steps[i].kind == DECODER_BYTE_LEVEL;
    return step;
}

static int load_replace(struct decoder *d, json_t *component, struct err *e)
{
    static const char *const known[] = {"type", "pattern", "content", NULL};
    const char *where = "decoder Replace", *pattern, *content;
    bool is_regex;
    struct decoder_step *step = add_step(d, DECODER_REPLACE, e);
    if (!step || component_check(component, where, known, e) != 0 ||
        component_pattern(component, where, &is_regex, &pattern, &step->pattern_length, e) != 0 ||
        component_string(component, where, "content", &content, &step->content_length, e) != 0)
        return -1;
    if (is_regex)
        return err_set(e, "tokenizer_unsupported", "%s: a Regex pattern is not supported", where);
    if (step->fused && step->pattern_length != utf8_size(*pattern))
        return err_set(e, "tokenizer_unsupported", "%s behind Fuse: a pattern of more than one character",
                       where);
    step->pattern = component_copy(pattern, step->pattern_length);
    step->content = component_copy(content, step->content_length);
    return step->pattern && step->content ? 0 : err_memory(e);
}

static int load_strip(struct decoder *d, json_t *component, struct err *e)
{
    static const char *const known[] = {"type", "content", "start", "stop", NULL};
    const char *where = "decoder Strip", *character;
    size_t length;
    struct decoder_step *step = add_step(d, DECODER_STRIP, e);
    if (!step || component_check(component, where, known, e) != 0 ||
        component_character(component, where, "content", &character, &length, e) != 0 ||
        component_size(component, where, "start", &step->start, e) != 0 ||
        component_size(component, where, "stop", &step->stop, e) != 0)
        return -1;
    step->character = utf8_decode(character, &length);
    return 0;
}

static int load_metaspace(struct decoder *d, json_t *component, struct err *e)
{
    const char *character;
    size_t length;
    enum prepend_scheme scheme;
    struct decoder_step *step = add_step(d, DECODER_METASPACE, e);
    if (!step || component_metaspace(component, "decoder Metaspace", &character, &length, &scheme, e) != 0)
        return -1;
    step->character = utf8_decode(character, &length);
    step->drop_first = scheme != PREPEND_NEVER;
    return 0;
}

static int load_byte_level(struct decoder *d, json_t *component, struct err *e)
{
    static const char *const known[] = {"type", "add_prefix_space", "trim_offsets", "use_regex", NULL};
    return add_step(d, DECODER_BYTE_LEVEL, e) ? component_check(component, "decoder ByteLevel", known, e)
                                              : -1;
}

static int load_byte_fallback(struct decoder *d, json_t *component, struct err *e)
{
    static const char *const known[] = {"type", NULL};
    return add_step(d, DECODER_BYTE_FALLBACK, e)
               ? component_check(component, "decoder ByteFallback", known, e)
               : -1;
}

static int load_fuse(struct decoder *d, json_t *component, struct err *e)
{
    static const char *const known[] = {"type", NULL};
    return add_step(d, DECODER_FUSE, e) ? component_check(component, "decoder Fuse", known, e) : -1;
}

static int load_decoder(void *arg, json_t *component, int depth, struct err *e)
{
    struct decoder *d = arg;
    const char *type;
    if (component_type(component, "decoder", &type, e) != 0)
        return -1;
    if (strcmp(type, "Sequence") == 0)
        return component_sequence(component, "decoder Sequence", "decoders", depth, load_decoder, d, e);
    static const struct {
        const char *type;
        int (*load)(struct decoder *, json_t *, struct err *);
    } kinds[] = {{"Replace", load_replace},      {"Strip", load_strip},
                 {"Metaspace", load_metaspace},  {"ByteFallback", load_byte_fallback},
                 {"ByteLevel", load_byte_level}, {"Fuse", load_fuse}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].type, type) == 0)
            return kinds[i].load(d, component, e);
    return component_refuse_type("decoder", type, e);
}

/* struct detokenizer has room for the state of one step of each kind, and bytes must come before fusing. */
static int check_order(const struct decoder *d, struct err *e)
{
    int bytes = 0, strips = 0, metaspaces = 0;
    for (size_t i = 0; i < d->count; i++) {
        const struct decoder_step *s = &d->steps[i];
        bool is_bytes = s->kind == DECODER_BYTE_LEVEL || s->kind == DECODER_BYTE_FALLBACK;
        bytes += is_bytes;
        strips += s->kind == DECODER_STRIP && s->fused;
        metaspaces += s->kind == DECODER_METASPACE;
        if (is_bytes && s->fused)
            return err_set(e, "tokenizer_unsupported",
                           "decoder: ByteFallback or ByteLevel behind a fusing step");
    }
    if (bytes > 1 || strips > 1 || metaspaces > 1)
        return err_set(e, "tokenizer_unsupported", "decoder: more than one %s in a Sequence",
                       bytes > 1    ? "ByteFallback or ByteLevel"
                       : strips > 1 ? "Strip behind Fuse"
                                    : "Metaspace");
    return 0;
}

int tokenizer_load_decoder(struct decoder *d, json_t *component, struct err *e)
{
    if (!component || json_is_null(component))
        return 0;
    d->present = true;
    return load_decoder(d, component, 0, e) != 0 ? -1 : check_order(d, e);
}

/* ---- post-processors ---- */

/* The ids of a special token of the template. */
static int read_special(json_t *special_tokens, const char *name, struct token_list *out, struct err *e)
{
    const char *where = "post_processor TemplateProcessing";
    json_t *token = json_object_get(special_tokens, name), *ids, *id;
    size_t index;
    if (!json_is_object(token))
        return err_set(e, "tokenizer_malformed", "%s: \"%.64s\" is not in special_tokens", where, name);
    if (component_array(token, where, "ids", &ids, e) != 0)
        return -1;
    json_array_foreach(ids, index, id)
    {
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= VOCAB_ID_LIMIT)
            return err_set(e, "tokenizer_malformed", "%s: an id of \"%.64s\" is no token id", where, name);
        if (token_list_push(out, (int32_t)json_integer_value(id)) != 0)
            return err_memory(e);
    }
    return 0;
}

static int read_piece(struct tokenizer *t, json_t *piece, bool *behind, json_t *special_tokens, struct err *e)
{
    const char *where = "post_processor TemplateProcessing", *name;
    size_t length;
    json_t *sequence = json_object_get(piece, "Sequence"), *special = json_object_get(piece, "SpecialToken");
    if (!sequence == !special)
        return err_set(e, "tokenizer_malformed", "%s.single: expected Sequence or SpecialToken", where);
    if (component_string(sequence ? sequence : special, where, "id", &name, &length, e) != 0)
        return -1;
    if (special)
        return read_special(special_tokens, name, *behind ? &t->suffix : &t->prefix, e);
    if (strcmp(name, "A") != 0 || *behind)
        return err_set(e, "tokenizer_unsupported", "%s.single: expected Sequence A once, found %.64s", where,
                       *behind ? "a second one" : name);
    *behind = true;
    return 0;
}

struct postprocessors { /* what load_postprocessor works on */
    struct tokenizer *tokenizer;
    bool has_template;
};

static int load_template(struct postprocessors *p, json_t *component, struct err *e)
{
    static const char *const known[] = {"type", "single", "pair", "special_tokens", NULL};
    const char *where = "post_processor TemplateProcessing";
    json_t *single, *piece, *special_tokens = json_object_get(component, "special_tokens");
    size_t index;
    bool behind = false;
    if (p->has_template)
        return err_set(e, "tokenizer_unsupported", "%s: more than one in a Sequence", where);
    p->has_template = true;
    if (component_check(component, where, known, e) != 0 ||
        component_array(component, where, "single", &single, e) != 0)
        return -1;
    json_array_foreach(single, index, piece)
    {
        if (read_piece(p->tokenizer, piece, &behind, special_tokens, e) != 0)
            return -1;
    }
    return behind ? 0 : err_set(e, "tokenizer_unsupported", "%s.single: it does not have Sequence A", where);
}

static int load_postprocessor(void *arg, json_t *component, int depth, struct err *e)
{
    static const char *const byte_level[] = {"type", "add_prefix_space", "trim_offsets", "use_regex", NULL};
    const char *type;
    if (component_type(component, "post_processor", &type, e) != 0)
        return -1;
    if (strcmp(type, "Sequence") == 0)
        return component_sequence(component, "post_processor Sequence", "processors", depth,
                                  load_postprocessor, arg, e);
    if (strcmp(type, "TemplateProcessing") == 0)
        return load_template(arg, component, e);
    if (strcmp(type, "ByteLevel") == 0) /* changes offsets into the text alone, which are not kept here */
        return component_check(component, "post_processor ByteLevel", byte_level, e);
    return component_refuse_type("post_processor", type, e);
}

int tokenizer_load_postprocessor(struct tokenizer *t, json_t *component, struct err *e)
{
    struct postprocessors p = {.tokenizer = t};
    return !component || json_is_null(component) ? 0 : load_postprocessor(&p, component, 0, e);
}

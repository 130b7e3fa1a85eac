/* The components of tokenizer.json around the model: from JSON to the parts that do the work. */
#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"
#include "core/tokenizer/load/component.h"
#include "core/tokenizer/load/tokenizer_parts.h"

#define GPT2_SPLIT "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
/* The last two ranges became digits in Unicode 17, which is what the reference's Digits goes by. */
#define DIGITS "[\\p{N}\\x{11DE0}-\\x{11DE9}\\x{16FF4}-\\x{16FF6}]"

static int refuse_more(const char *where, int limit, struct err *e)
{
    return err_set(e, "tokenizer_unsupported", "%s: more than %d steps", where, limit);
}

static int new_pattern(json_t *component, const char *where, struct pattern **out, struct err *e)
{
    bool is_regex;
    const char *text;
    size_t length;
    if (component_pattern(component, where, &is_regex, &text, &length, e) != 0)
        return -1;
    return is_regex ? pattern_new_regex(out, text, length, e) : pattern_new_literal(out, text, length, e);
}

/* ---- normalizers ---- */

static int load_prepend(struct normalizer_step *step, json_t *component, struct err *e)
{
    static const char *const known[] = {"type", "prepend", NULL};
    const char *text;
    step->kind = NORMALIZER_PREPEND;
    if (component_check(component, "normalizer Prepend", known, e) != 0 ||
        component_string(component, "normalizer Prepend", "prepend", &text, &step->content_length, e) != 0)
        return -1;
    step->content = component_copy(text, step->content_length);
    return step->content ? 0 : err_memory(e);
}

static int load_replace(struct normalizer_step *step, json_t *component, struct err *e)
{
    static const char *const known[] = {"type", "pattern", "content", NULL};
    const char *text;
    step->kind = NORMALIZER_REPLACE;
    if (component_check(component, "normalizer Replace", known, e) != 0 ||
        component_string(component, "normalizer Replace", "content", &text, &step->content_length, e) != 0)
        return -1;
    step->content = component_copy(text, step->content_length);
    if (!step->content)
        return err_memory(e);
    if (new_pattern(component, "normalizer Replace", &step->pattern, e) != 0)
        return -1;
    return pattern_can_be_empty(step->pattern)
               ? err_set(e, "tokenizer_unsupported", "normalizer Replace: a Regex that can match nothing")
               : 0;
}

static int load_nfc(struct normalizer_step *step, json_t *component, struct err *e)
{
    static const char *const known[] = {"type", NULL};
    step->kind = NORMALIZER_NFC;
    return component_check(component, "normalizer NFC", known, e);
}

static int load_normalizer(void *arg, json_t *component, int depth, struct err *e)
{
    struct normalizer *n = arg;
    const char *type;
    if (component_type(component, "normalizer", &type, e) != 0)
        return -1;
    if (strcmp(type, "Sequence") == 0)
        return component_sequence(component, "normalizer Sequence", "normalizers", depth, load_normalizer, n,
                                  e);
    int (*load)(struct normalizer_step *, json_t *, struct err *) =
        strcmp(type, "NFC") == 0       ? load_nfc
        : strcmp(type, "Prepend") == 0 ? load_prepend
        : strcmp(type, "Replace") == 0 ? load_replace
                                       : NULL;
    if (!load)
        return component_refuse_type("normalizer", type, e);
    if (n->count == NORMALIZER_STEPS_MAX)
        return refuse_more("normalizer", NORMALIZER_STEPS_MAX, e);
    return load(&n->steps[n->count++], component, e);
}

int tokenizer_load_normalizer(struct normalizer *n, json_t *component, struct err *e)
{
    return !component || json_is_null(component) ? 0 : load_normalizer(n, component, 0, e);
}

/* ---- pre-tokenizers ---- */

static struct stage *add_stage(struct pretokenizer *p, enum stage_kind kind, struct err *e)
{
    if (p->count == STAGES_MAX) {
        refuse_more("pre_tokenizer", STAGES_MAX, e);
        return NULL;
    }
    struct stage *stage = &p->stages[p->count++];
    *stage = (struct stage){.kind = kind, .behavior = SPLIT_ISOLATED};
    return stage;
}

static int add_regex_stage(struct pretokenizer *p, const char *regex, enum split_behavior behavior,
                           struct err *e)
{
    struct stage *stage = add_stage(p, STAGE_SPLIT, e);
    if (!stage)
        return -1;
    stage->behavior = behavior;
    return pattern_new_regex(&stage->pattern, regex, strlen(regex), e);
}

static int load_byte_level(struct pretokenizer *p, json_t *component, struct err *e)
{
    static const char *const known[] = {"type", "add_prefix_space", "trim_offsets", "use_regex", NULL};
    const char *where = "pre_tokenizer ByteLevel";
    bool prefix_space = true, use_regex = true;
    if (component_check(component, where, known, e) != 0 ||
        component_bool(component, where, "add_prefix_space", &prefix_space, e) != 0 ||
        component_bool(component, where, "use_regex", &use_regex, e) != 0)
        return -1;
    if (prefix_space && !add_stage(p, STAGE_PREFIX_SPACE, e))
        return -1;
    if (use_regex && add_regex_stage(p, GPT2_SPLIT, SPLIT_ISOLATED, e) != 0)
        return -1;
    return add_stage(p, STAGE_BYTES, e) ? 0 : -1;
}

static int load_digits(struct pretokenizer *p, json_t *component, struct err *e)
{
    static const char *const known[] = {"type", "individual_digits", NULL};
    bool individual = false;
    if (component_check(component, "pre_tokenizer Digits", known, e) != 0 ||
        component_bool(component, "pre_tokenizer Digits", "individual_digits", &individual, e) != 0)
        return -1;
    return add_regex_stage(p, DIGITS, individual ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS, e);
}

static int read_behavior(json_t *component, enum split_behavior *out, struct err *e)
{
    static const char *const names[] = {[SPLIT_REMOVED] = "Removed",
                                        [SPLIT_ISOLATED] = "Isolated",
                                        [SPLIT_MERGED_WITH_PREVIOUS] = "MergedWithPrevious",
                                        [SPLIT_MERGED_WITH_NEXT] = "MergedWithNext",
                                        [SPLIT_CONTIGUOUS] = "Contiguous"};
    const char *name;
    size_t length;
    if (component_string(component, "pre_tokenizer Split", "behavior", &name, &length, e) != 0)
        return -1;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i], name) == 0) {
            *out = (enum split_behavior)i;
            return 0;
        }
    }
    return err_set(e, "tokenizer_unsupported", "pre_tokenizer Split: the behavior \"%.64s\" is not supported",
                   name);
}

static int load_split(struct pretokenizer *p, json_t *component, struct err *e)
{
    static const char *const known[] = {"type", "pattern", "behavior", "invert", NULL};
    struct stage *stage = add_stage(p, STAGE_SPLIT, e);
    if (!stage || component_check(component, "pre_tokenizer Split", known, e) != 0 ||
        component_bool(component, "pre_tokenizer Split", "invert", &stage->invert, e) != 0 ||
        read_behavior(component, &stage->behavior, e) != 0)
        return -1;
    return new_pattern(component, "pre_tokenizer Split", &stage->pattern, e);
}

static int load_metaspace(struct pretokenizer *p, json_t *component, struct err *e)
{
    const char *where = "pre_tokenizer Metaspace", *text;
    bool split = true;
    struct stage *stage = add_stage(p, STAGE_METASPACE, e);
    if (!stage ||
        component_metaspace(component, where, &text, &stage->replacement_length, &stage->prepend, e) != 0 ||
        component_bool(component, where, "split", &split, e) != 0 ||
        pattern_new_literal(&stage->pattern, " ", 1, e) != 0)
        return -1;
    memcpy(stage->replacement, text, stage->replacement_length);
    if (!split)
        return 0;
    struct stage *cut = add_stage(p, STAGE_SPLIT, e);
    if (!cut)
        return -1;
    cut->behavior = SPLIT_MERGED_WITH_NEXT;
    return pattern_new_literal(&cut->pattern, text, stage->replacement_length, e);
}

static int load_pretokenizer(void *arg, json_t *component, int depth, struct err *e)
{
    struct pretokenizer *p = arg;
    const char *type;
    if (component_type(component, "pre_tokenizer", &type, e) != 0)
        return -1;
    if (strcmp(type, "Sequence") == 0)
        return component_sequence(component, "pre_tokenizer Sequence", "pretokenizers", depth,
                                  load_pretokenizer, p, e);
    static const struct {
        const char *type;
        int (*load)(struct pretokenizer *, json_t *, struct err *);
    } kinds[] = {{"ByteLevel", load_byte_level},
                 {"Digits", load_digits},
                 {"Split", load_split},
                 {"Metaspace", load_metaspace}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].type, type) == 0)
            return kinds[i].load(p, component, e);
    return component_refuse_type("pre_tokenizer", type, e);
}

int tokenizer_load_pretokenizer(struct pretokenizer *p, json_t *component, struct err *e)
{
    return !component || json_is_null(component) ? 0 : load_pretokenizer(p, component, 0, e);
}

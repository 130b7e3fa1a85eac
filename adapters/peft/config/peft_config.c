#include "adapters/peft/config/peft_config.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "adapters/peft/config/peft_notes.h"
#include "adapters/types/files.h"
#include "core/base/buf.h"
#include "core/format/json_file.h"
#include "core/system/file.h"

enum {
    SAVED_MAX = 256,
    PATTERNS_MAX = 4096,
    LAYERS_MAX = 4096,
    LAYER_PATTERNS_MAX = 64,
    TOKEN_MODULES_MAX = 16
};
static const char malformed[] = "config_malformed";
static const char unsupported[] = "adapter_unsupported_feature";

static int refuse(struct err *e, const char *field, const char *wanted)
{
    err_set(e, malformed, "adapter_config.json: %s must be %s", field, wanted);
    return err_param(e, field);
}

/* A short text of any value, for messages. */
static void value_text(json_t *value, char out[PEFT_TEXT])
{
    char *text = !value ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII);
    snprintf(out, PEFT_TEXT, "%s", text ? text : "?");
    if (text && strlen(text) >= PEFT_TEXT)
        memcpy(out + PEFT_TEXT - 4, "...", 4);
    free(text);
}

void peft_config_text(const char *text, char out[PEFT_TEXT])
{
    json_t *value = json_string(text);
    value_text(value, out);
    json_decref(value);
}

static int refuse_feature(struct err *e, const char *field, json_t *value, const char *hint)
{
    char text[PEFT_TEXT];
    value_text(value, text);
    err_set(e, unsupported, "adapter_config.json: %s = %s is not supported", field, text);
    err_hint(e, "%s", hint);
    return err_param(e, field);
}

/* ---- fields that are not read: harmless at any value, or harmless only while they are off ---- */

enum rule { READ, INFORMATIVE, OFF };

static const struct field {
    const char *name;
    enum rule rule;
    const char *hint; /* of OFF */
} fields[] = {
    {"peft_type", READ, NULL},
    {"r", READ, NULL},
    {"lora_alpha", READ, NULL},
    {"use_rslora", READ, NULL},
    {"target_modules", READ, NULL},
    {"exclude_modules", READ, NULL},
    {"rank_pattern", READ, NULL},
    {"alpha_pattern", READ, NULL},
    {"layers_to_transform", READ, NULL},
    {"layers_pattern", READ, NULL},
    {"bias", READ, NULL},
    {"init_lora_weights", READ, NULL},
    {"ensure_weight_tying", READ, NULL},
    {"modules_to_save", READ, NULL},
    {"trainable_token_indices", READ, NULL},
    {"use_dora", READ, NULL},
    {"task_type", READ, NULL},
    {"id2label", READ, NULL}, /* and what follows: of an adapter that gives labels */
    {"problem_type", READ, NULL},
    {"label2id", INFORMATIVE, NULL},
    {"num_labels", INFORMATIVE, NULL},

    {"auto_mapping", INFORMATIVE, NULL},
    {"base_model_name_or_path", INFORMATIVE, NULL},
    {"fan_in_fan_out", INFORMATIVE, NULL}, /* what counts is how the base stores its weight */
    {"inference_mode", INFORMATIVE, NULL},
    {"lora_dropout", INFORMATIVE, NULL}, /* training only */
    {"megatron_core", INFORMATIVE, NULL},
    {"merge_weights", INFORMATIVE, NULL}, /* before 0.3 */
    {"peft_version", INFORMATIVE, NULL},
    {"qalora_group_size", INFORMATIVE, NULL},
    {"revision", INFORMATIVE, NULL},
    {"runtime_config", INFORMATIVE, NULL}, /* PEFT ignores it in a file */
    /* Parameters of initializations: those that matter are refused by init_lora_weights. */
    {"corda_config", INFORMATIVE, NULL},
    {"eva_config", INFORMATIVE, NULL},
    {"loftq_config", INFORMATIVE, NULL},
    {"lora_ga_config", INFORMATIVE, NULL},

    {"lora_bias", OFF, "Train with lora_bias=False."},
    {"megatron_config", OFF, "Convert the adapter to plain LoRA."},
    {"alora_invocation_tokens", OFF,
     "Activated LoRA changes its weights inside a sequence; train plain LoRA."},
    {"use_qalora", OFF, "Train with use_qalora=False."},
    {"use_bdlora", OFF, "Convert the block-diagonal factors to plain LoRA."},
    {"arrow_config", OFF, "Arrow routes between adapters by token; upload the single adapters."},
    {"kasa_config", OFF, "Train plain LoRA."},
    {"monteclora_config", OFF, "Train plain LoRA."},
    {"velora_config", OFF, "Save the adapter without velora_config: it is for training only."},
    {"layer_replication", OFF, "Save the base with its replicated layers and serve that."},
    {"target_parameters", OFF, "Target modules with target_modules."},
    {"enable_lora", OFF, "Convert the adapter with PEFT 0.3 or newer."},
};

static const struct field *find_field(const char *name)
{
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (strcmp(fields[i].name, name) == 0)
            return &fields[i];
    return NULL;
}

static bool is_empty_container(json_t *value)
{
    return (json_is_array(value) && json_array_size(value) == 0) ||
           (json_is_object(value) && json_object_size(value) == 0);
}

static bool is_off(json_t *value)
{
    return json_is_null(value) || json_is_false(value) || is_empty_container(value);
}

/* A field of a later PEFT or a tool's that peft_note does not have: refused where its value switches
 * something on. */
static int check_unknown(const char *name, json_t *value, struct err *e)
{
    bool switches =
        json_is_true(value) || ((json_is_array(value) || json_is_object(value)) && !is_off(value));
    if (!switches)
        return 0;
    char field[PEFT_TEXT], text[PEFT_TEXT];
    peft_config_text(name, field);
    value_text(value, text);
    err_set(e, unsupported, "adapter_config.json: the field %s is not known and is switched on: %s", field,
            text);
    err_hint(e, "If it has no effect on inference, remove it from adapter_config.json.");
    return err_param(e, name);
}

static int check_fields(json_t *root, struct err *e)
{
    const char *name;
    json_t *value;
    json_object_foreach(root, name, value)
    {
        const struct field *f = find_field(name);
        if (!f && !peft_note(name) && check_unknown(name, value, e) != 0)
            return -1;
        if (f && f->rule == OFF && !is_off(value))
            return refuse_feature(e, name, value, f->hint);
    }
    return 0;
}

/* ---- fields that are read ---- */

/* NULL for a field that is absent or null. */
static json_t *get(const struct peft_config *c, const char *name)
{
    json_t *value = json_object_get(c->root, name);
    return json_is_null(value) ? NULL : value;
}

/* Other tools call their configurations so, too: of these mlx-lm's is the commonest. */
static int refuse_untyped(const struct peft_config *c, struct err *e)
{
    refuse(e, "peft_type", "\"LORA\"; it is missing or not a string");
    if (json_object_get(c->root, "lora_parameters"))
        return err_hint(e, "This looks like the configuration of mlx-lm; adapters are read as PEFT's "
                           "save_pretrained writes them.");
    return -1;
}

static int parse_type(const struct peft_config *c, struct err *e)
{
    const char *type = json_string_value(json_object_get(c->root, "peft_type"));
    if (!type)
        return refuse_untyped(c, e);
    if (strcmp(type, "LORA") == 0)
        return 0;
    char text[PEFT_TEXT];
    value_text(json_object_get(c->root, "peft_type"), text);
    err_set(e, "adapter_unsupported_type", "adapter_config.json: peft_type is %s; only \"LORA\" is supported",
            text);
    err_hint(e, "Train the adapter with PEFT's LoraConfig.");
    return err_param(e, "peft_type");
}

static int parse_bool(const struct peft_config *c, const char *name, bool *out, struct err *e)
{
    json_t *value = get(c, name);
    if (value && !json_is_boolean(value))
        return refuse(e, name, "true or false");
    *out = json_is_true(value);
    return 0;
}

/* Others say what an adapter is for, and nothing about what it computes. */
static void parse_task(struct peft_config *c)
{
    const char *task = json_string_value(get(c, "task_type"));
    if (task && strcmp(task, "SEQ_CLS") == 0)
        c->task = HEAD_TEXT;
    if (task && strcmp(task, "TOKEN_CLS") == 0)
        c->task = HEAD_TOKENS;
}

static int parse_rank(struct peft_config *c, struct err *e)
{
    json_t *value = get(c, "r");
    if (!json_is_integer(value) || json_integer_value(value) < 1)
        return refuse(e, "r", "a whole number of 1 or more");
    c->rank = json_integer_value(value);
    return 0;
}

static int parse_alpha(struct peft_config *c, struct err *e)
{
    json_t *value = json_object_get(c->root, "lora_alpha");
    c->alpha = 8; /* PEFT's default */
    if (value && !json_is_number(value))
        return refuse(e, "lora_alpha", "a number");
    if (value)
        c->alpha = json_number_value(value);
    return 0;
}

static int parse_bias(struct peft_config *c, struct err *e)
{
    static const char *const names[] = {
        [PEFT_BIAS_NONE] = "none", [PEFT_BIAS_TARGETS] = "lora_only", [PEFT_BIAS_ALL] = "all"};
    json_t *value = get(c, "bias");
    const char *bias = value ? json_string_value(value) : "none";
    for (size_t i = 0; bias && i < sizeof names / sizeof *names; i++)
        if (strcmp(bias, names[i]) == 0) {
            c->bias = (enum peft_bias)i;
            return 0;
        }
    return refuse(e, "bias", "\"none\", \"all\" or \"lora_only\"");
}

/* Some initializations change the base's weights, so the adapter fits another base than ours. */
static int parse_init(const struct peft_config *c, struct err *e)
{
    static const char *const harmless[] = {"gaussian", "eva", "orthogonal", "mica"};
    json_t *value = get(c, "init_lora_weights");
    if (!value || json_is_boolean(value))
        return 0;
    const char *init = json_string_value(value);
    if (!init)
        return refuse(e, "init_lora_weights", "true, false or the name of an initialization");
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        if (strcasecmp(init, harmless[i]) == 0)
            return 0;
    return refuse_feature(
        e, "init_lora_weights", value,
        "Convert to plain LoRA: save_pretrained(..., path_initial_model_for_weight_conversion=...) "
        "of PEFT does, given the adapter as it was before training.");
}

static int compare_texts(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

static int parse_names(struct peft_names *n, const char *field, json_t *list, struct err *e)
{
    size_t count = json_array_size(list);
    const char **items = malloc((count + 1) * sizeof *items);
    if (!items)
        return err_memory(e);
    n->items = items;
    for (size_t i = 0; i < count; i++) {
        items[i] = json_string_value(json_array_get(list, i));
        if (!items[i] || items[i][0] == '\0')
            return refuse(e, field, "a list of module names or a string");
    }
    qsort(items, count, sizeof *items, compare_texts);
    for (size_t i = 0; i < count; i++)
        if (n->count == 0 || strcmp(items[n->count - 1], items[i]) != 0)
            items[n->count++] = items[i];
    return 0;
}

static int parse_selector(const struct peft_config *c, const char *field, struct peft_selector *s,
                          struct err *e)
{
    json_t *value = get(c, field);
    if (!value)
        return 0;
    if (json_is_array(value)) {
        s->kind = PEFT_LIST;
        return parse_names(&s->names, field, value, e);
    }
    s->kind = PEFT_PATTERN;
    s->pattern = json_string_value(value);
    return s->pattern ? 0 : refuse(e, field, "a list of module names or a string");
}

static int parse_saved(struct peft_config *c, struct err *e)
{
    json_t *value = get(c, "modules_to_save");
    if (!value)
        return 0;
    if (!json_is_array(value) || json_array_size(value) > SAVED_MAX)
        return refuse(e, "modules_to_save", "a list of at most 256 module names");
    return parse_names(&c->saved, "modules_to_save", value, e);
}

static int parse_selectors(struct peft_config *c, struct err *e)
{
    if (parse_selector(c, "target_modules", &c->target, e) != 0 ||
        parse_selector(c, "exclude_modules", &c->exclude, e) != 0)
        return -1;
    if (c->target.kind == PEFT_LIST && c->target.names.count == 0)
        return refuse(e, "target_modules", "a list of at least one module name");
    if (c->target.kind == PEFT_PATTERN && strcasecmp(c->target.pattern, "all-linear") == 0)
        c->target.kind = PEFT_ALL_LINEAR;
    if (c->target.kind == PEFT_PATTERN && strcmp(c->target.pattern, "dummy-target-modules") == 0)
        c->target.kind = PEFT_NO_MODULE;
    if (c->exclude.kind == PEFT_PATTERN && c->exclude.pattern[0] == '\0')
        c->exclude.kind = PEFT_NOTHING; /* PEFT takes an empty text for none */
    return 0;
}

static int parse_patterns(const struct peft_config *c, const char *field, bool whole, json_t **out,
                          struct err *e)
{
    json_t *value = get(c, field);
    if (value && !json_is_object(value))
        return refuse(e, field, "an object");
    if (json_object_size(value) > PATTERNS_MAX)
        return refuse(e, field, "an object of at most 4096 entries");
    const char *key;
    json_t *number;
    json_object_foreach(value, key, number)
    {
        bool good =
            whole ? json_is_integer(number) && json_integer_value(number) >= 1 : json_is_number(number);
        if (!good)
            return refuse(e, field,
                          whole ? "an object of whole numbers of 1 or more" : "an object of numbers");
    }
    *out = value;
    return 0;
}

static bool is_indices(json_t *list)
{
    size_t i;
    json_t *index;
    json_array_foreach(list, i, index)
    {
        if (!json_is_integer(index) || json_integer_value(index) < 0 || json_integer_value(index) > INT32_MAX)
            return false;
    }
    return json_array_size(list) > 0;
}

/* Nothing at all is named by an empty list or object; PEFT fails on one that is empty inside of an object. */
static int parse_tokens(struct peft_config *c, struct err *e)
{
    static const char field[] = "trainable_token_indices";
    static const char wanted[] = "a list of whole numbers of 0 or more, or an object of such lists by module";
    json_t *value = get(c, field), *list;
    const char *module;
    if (!value || is_empty_container(value))
        return 0;
    if (json_object_size(value) > TOKEN_MODULES_MAX)
        return refuse(e, field, "an object of at most 16 modules");
    if (!json_is_object(value) && !is_indices(value))
        return refuse(e, field, wanted);
    json_object_foreach(value, module, list)
    {
        if (!module[0] || !is_indices(list))
            return refuse(e, field, wanted);
    }
    c->tokens = value;
    return 0;
}

static int parse_layers(struct peft_config *c, struct err *e)
{
    json_t *value = get(c, "layers_to_transform"), *layer;
    size_t i;
    if (value && !json_is_integer(value) && !json_is_array(value))
        return refuse(e, "layers_to_transform", "a whole number or a list of them");
    if (json_array_size(value) > LAYERS_MAX)
        return refuse(e, "layers_to_transform", "a list of at most 4096 layers");
    json_array_foreach(value, i, layer) if (!json_is_integer(layer)) return refuse(
        e, "layers_to_transform", "a whole number or a list of them");
    c->layers = is_empty_container(value) ? NULL : value;
    return 0;
}

static int parse_layers_pattern(struct peft_config *c, struct err *e)
{
    json_t *value = get(c, "layers_pattern"), *pattern;
    size_t i;
    if (value && !json_is_string(value) && !json_is_array(value))
        return refuse(e, "layers_pattern", "a string or a list of strings");
    if (json_array_size(value) > LAYER_PATTERNS_MAX)
        return refuse(e, "layers_pattern", "a list of at most 64 strings");
    json_array_foreach(value, i, pattern) if (!json_is_string(pattern)) return refuse(
        e, "layers_pattern", "a string or a list of strings");
    bool empty = is_empty_container(value) || (json_is_string(value) && json_string_length(value) == 0);
    c->layers_pattern = empty ? NULL : value;
    return 0;
}

/* What PEFT itself refuses to load. */
static int check_layers(const struct peft_config *c, struct err *e)
{
    bool text = c->target.kind != PEFT_NOTHING && c->target.kind != PEFT_LIST;
    if (text && get(c, "layers_to_transform"))
        return refuse(e, "layers_to_transform", "null where target_modules is a string");
    if (text && get(c, "layers_pattern"))
        return refuse(e, "layers_pattern", "null where target_modules is a string");
    if (c->layers_pattern && !get(c, "layers_to_transform"))
        return refuse(e, "layers_pattern", "null where layers_to_transform is null");
    return 0;
}

static int parse(struct peft_config *c, struct err *e)
{
    if (!json_is_object(c->root))
        return err_set(e, malformed, "adapter_config.json is not a JSON object");
    if (parse_type(c, e) != 0 || check_fields(c->root, e) != 0)
        return -1;
    parse_task(c);
    if (parse_rank(c, e) != 0 || parse_alpha(c, e) != 0 || parse_bool(c, "use_rslora", &c->rslora, e) != 0 ||
        parse_bool(c, "use_dora", &c->dora, e) != 0 || parse_bias(c, e) != 0 || parse_init(c, e) != 0 ||
        parse_bool(c, "ensure_weight_tying", &c->ensure_weight_tying, e) != 0)
        return -1;
    if (parse_selectors(c, e) != 0 || parse_saved(c, e) != 0 || parse_tokens(c, e) != 0 ||
        parse_patterns(c, "rank_pattern", true, &c->rank_pattern, e) != 0 ||
        parse_patterns(c, "alpha_pattern", false, &c->alpha_pattern, e) != 0)
        return -1;
    if (parse_layers(c, e) != 0 || parse_layers_pattern(c, e) != 0)
        return -1;
    return check_layers(c, e);
}

static int read_text(int fd, struct buf *out, struct err *e)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return err_errno(e, "cannot look at adapter_config.json");
    if (status.st_size > ADAPTER_CONFIG_BYTES_MAX)
        return err_set(e, malformed, "adapter_config.json has %lld bytes; at most %d are accepted",
                       (long long)status.st_size, ADAPTER_CONFIG_BYTES_MAX);
    if (buf_reserve(out, (size_t)status.st_size) != 0)
        return err_memory(e);
    out->length = (size_t)status.st_size;
    return file_pread(fd, out->data, out->length, 0, e);
}

static int read_json(int fd, json_t **out, struct err *e)
{
    static const struct json_file file = {.name = "adapter_config.json", .code = malformed};
    struct buf text = {0};
    int result = read_text(fd, &text, e);
    if (result == 0)
        result = json_file_parse(&file, text.data, text.length, out, e);
    buf_fini(&text);
    return result;
}

int peft_config_init(struct peft_config *c, int fd, struct err *e)
{
    json_t *root = NULL;
    memset(c, 0, sizeof *c);
    if (read_json(fd, &root, e) != 0)
        return -1;
    int result = peft_config_take(c, root, e);
    json_decref(root);
    return result;
}

int peft_config_take(struct peft_config *c, json_t *root, struct err *e)
{
    *c = (struct peft_config){.root = json_incref(root)};
    int result = parse(c, e);
    if (result != 0)
        peft_config_fini(c);
    return result;
}

bool peft_config_knows(const char *field)
{
    return find_field(field) || peft_note(field);
}

void peft_config_fini(struct peft_config *c)
{
    json_decref(c->root);
    free((void *)c->target.names.items);
    free((void *)c->exclude.names.items);
    free((void *)c->saved.items);
    memset(c, 0, sizeof *c);
}

long peft_names_find(const struct peft_names *n, const char *name)
{
    const char *const *found =
        n->count ? bsearch(&name, n->items, n->count, sizeof *n->items, compare_texts) : NULL;
    return found ? (long)(found - n->items) : -1;
}

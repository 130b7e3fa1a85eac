#include "core/tokenizer/load/tokenizer_class.h"

#include <string.h>

#include "core/format/json_file.h"

enum { CONFIG_BYTES_MAX = 16 << 20 };

/* Python's bool() of a JSON value. */
static bool truth(const json_t *value)
{
    if (json_is_number(value))
        return json_number_value(value) != 0;
    if (json_is_string(value))
        return json_string_length(value) > 0;
    return json_is_true(value) || json_array_size(value) > 0 || json_object_size(value) > 0;
}

static bool is_one_of(const json_t *value, const char *const *names)
{
    const char *text = json_string_value(value);
    for (; text && *names; names++)
        if (strcmp(text, *names) == 0)
            return true;
    return false;
}

static int read_json(const char *directory, const char *name, json_t **out, struct err *e)
{
    const struct json_file f = {.name = name,
                                .code = "tokenizer_malformed",
                                .bytes_max = CONFIG_BYTES_MAX,
                                .flags = JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL};
    return json_file_read(&f, directory, false, out, e);
}

/* Whether transformers 5 builds LlamaTokenizer's pipeline. It does not where the file is of the byte-level
 * kind all the same, which many are whose class was never corrected; nor for families that it knows better
 * classes for. */
static bool is_llama(const json_t *config, const json_t *model, const struct buf *file)
{
    static const char *const classes[] = {"LlamaTokenizer", "LlamaTokenizerFast", NULL};
    static const char *const others[] = {"mistral", "qwen2", NULL};
    static const char byte_level[] = "\"ByteLevel\"";
    return is_one_of(json_object_get(config, "tokenizer_class"), classes) &&
           !is_one_of(json_object_get(model, "model_type"), others) &&
           !memmem(file->data, file->length, byte_level, sizeof byte_level - 1);
}

/* One space is put in front of the text, or with `legacy` in front of every stretch between added tokens. */
static json_t *pre_tokenizer(const json_t *config, bool prefix)
{
    const char *scheme = !prefix ? "never" : truth(json_object_get(config, "legacy")) ? "always" : "first";
    return json_pack("{s:s, s:s, s:s, s:b}", "type", "Metaspace", "replacement", "\u2581", "prepend_scheme",
                     scheme, "split", 0);
}

static json_t *decoder(bool prefix)
{
    json_t *steps = json_pack("[{s:s, s:{s:s}, s:s}, {s:s}, {s:s}]", "type", "Replace", "pattern", "String",
                              "\u2581", "content", " ", "type", "ByteFallback", "type", "Fuse");
    json_t *strip = json_pack("{s:s, s:s, s:i, s:i}", "type", "Strip", "content", " ", "start", 1, "stop", 0);
    if (steps && strip && prefix && json_array_append(steps, strip) != 0) {
        json_decref(steps);
        steps = NULL;
    }
    json_decref(strip);
    return steps ? json_pack("{s:s, s:o}", "type", "Sequence", "decoders", steps) : NULL;
}

/* The vocabulary and the merges are the file's; how they are applied is the class's. */
static json_t *model_of(const json_t *json)
{
    json_t *model = json_copy(json_object_get(json, "model"));
    json_t *ways =
        json_pack("{s:n, s:n, s:n, s:n, s:b, s:b, s:b}", "dropout", "unk_token", "continuing_subword_prefix",
                  "end_of_word_suffix", "fuse_unk", 1, "byte_fallback", 1, "ignore_merges", 0);
    if (!model || !ways || json_object_update(model, ways) != 0) {
        json_decref(model);
        model = NULL;
    }
    json_decref(ways);
    return model;
}

/* A component that is null means the same as one that is absent. */
static bool same(const json_t *a, const json_t *b)
{
    bool none_a = !a || json_is_null(a), none_b = !b || json_is_null(b);
    return none_a || none_b ? none_a == none_b : json_equal((json_t *)a, (json_t *)b);
}

/* Whether the class makes another pipeline than the file has. The unknown token is not looked at: with byte
 * fallback it is needed only where a byte has no token. */
static bool differs(const json_t *json, const json_t *components)
{
    static const char *const ways[] = {"fuse_unk", "byte_fallback", "ignore_merges"};
    const json_t *old = json_object_get(json, "model"), *new = json_object_get(components, "model");
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (truth(json_object_get(old, ways[i])) != truth(json_object_get(new, ways[i])))
            return true;
    return !same(json_object_get(json, "normalizer"), NULL) ||
           !same(json_object_get(json, "pre_tokenizer"), json_object_get(components, "pre_tokenizer")) ||
           !same(json_object_get(json, "decoder"), json_object_get(components, "decoder"));
}

static int apply(json_t *json, const json_t *config, enum tokenizer_pipeline pipeline, bool *disputed,
                 struct err *e)
{
    const json_t *asked = json_object_get(config, "add_prefix_space");
    bool prefix = !asked || json_is_null(asked) || truth(asked);
    json_t *components =
        json_pack("{s:n, s:o, s:o, s:o}", "normalizer", "pre_tokenizer", pre_tokenizer(config, prefix),
                  "decoder", decoder(prefix), "model", model_of(json));
    int result = components ? 0 : err_memory(e);
    if (result == 0)
        *disputed = differs(json, components);
    if (result == 0 && pipeline == TOKENIZER_OF_CLASS && json_object_update(json, components) != 0)
        result = err_memory(e);
    json_decref(components);
    return result;
}

int tokenizer_class_apply(json_t *json, const struct buf *file, const char *directory,
                          enum tokenizer_pipeline pipeline, bool *disputed, struct err *e)
{
    json_t *config = NULL, *model = NULL;
    *disputed = false;
    int result = read_json(directory, "tokenizer_config.json", &config, e);
    if (result == 0)
        result = read_json(directory, "config.json", &model, e);
    if (result == 0 && json_is_object(json_object_get(json, "model")) && is_llama(config, model, file))
        result = apply(json, config, pipeline, disputed, e);
    json_decref(config);
    json_decref(model);
    return result;
}

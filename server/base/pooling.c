#include "server/base/pooling.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/format/json_file.h"
#include "core/system/file.h"

enum { FILE_BYTES_MAX = 1 << 20 };
static const char modules_file[] = "modules.json", config_file[] = "config.json";

static const char *const names[] = {
    [POOLING_BY_FILES] = "files", [POOLING_LAST] = "last", [POOLING_MEAN] = "mean"};

const char *pooling_name(enum pooling_kind kind)
{
    return names[kind];
}

bool pooling_find(const char *name, enum pooling_kind *out)
{
    for (int i = 0; i <= POOLING_MEAN; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (enum pooling_kind)i;
            return true;
        }
    return false;
}

static int malformed(const char *file, const char *what, struct err *e)
{
    return err_set(e, "model_malformed", "%s: %s", file, what);
}

/* *out NULL: there is no such file. */
static int read_json(const char *directory, const char *name, json_t **out, struct err *e)
{
    const struct json_file f = {.name = name, .code = "model_malformed"};
    struct buf text = {0};
    char *path = file_join(directory, name);
    int result = path ? 0 : err_memory(e);
    *out = NULL;
    if (result == 0 && file_exists(path)) {
        result = file_read(path, FILE_BYTES_MAX, &text, e);
        if (result == 0)
            result = json_file_parse(&f, text.data ? text.data : "", text.length, out, e);
    }
    free(path);
    buf_fini(&text);
    return result;
}

/* ---- the pooling's config.json ---- */

/* Older files have a flag for each way, newer ones a name. */
static const struct {
    const char *flag, *name;
    bool by_default; /* the flag, left out */
    enum pooling_kind kind;
} ways[] = {
    {"pooling_mode_mean_tokens", "mean", true, POOLING_MEAN},
    {"pooling_mode_lasttoken", "lasttoken", false, POOLING_LAST},
    {"pooling_mode_cls_token", "cls", false, POOLING_BY_FILES},
    {"pooling_mode_max_tokens", "max", false, POOLING_BY_FILES},
    {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", false, POOLING_BY_FILES},
    {"pooling_mode_weightedmean_tokens", "weightedmean", false, POOLING_BY_FILES},
};
enum { WAYS = sizeof ways / sizeof *ways };

static void choose(struct pooling *out, int way, const char *name)
{
    if (way >= 0 && ways[way].kind != POOLING_BY_FILES)
        out->kind = ways[way].kind;
    else
        snprintf(out->problem, sizeof out->problem, "the model's pooling is %.64s, which is not computed",
                 name);
}

static void take_name(struct pooling *out, const char *name)
{
    int way = WAYS - 1;
    while (way >= 0 && strcmp(ways[way].name, name) != 0)
        way--;
    choose(out, way, name);
}

static int take_flags(struct pooling *out, const json_t *root, struct err *e)
{
    int found = -1, count = 0;
    for (int i = 0; i < WAYS; i++) {
        const json_t *flag = json_object_get(root, ways[i].flag);
        if (flag && !json_is_boolean(flag))
            return malformed(config_file, "what begins with pooling_mode_ must be true or false", e);
        if (flag ? !json_is_true(flag) : !ways[i].by_default)
            continue;
        found = i;
        count++;
    }
    if (count != 1)
        snprintf(out->problem, sizeof out->problem,
                 "the model's pooling puts %d vectors side by side, which is not computed", count);
    else
        choose(out, found, ways[found].flag);
    return 0;
}

static int take_config(struct pooling *out, const json_t *root, struct err *e)
{
    const json_t *mode = json_object_get(root, "pooling_mode");
    if (!json_is_object(root) || (mode && !json_is_string(mode)))
        return malformed(config_file, "this is no configuration of a pooling", e);
    if (!mode)
        return take_flags(out, root, e);
    take_name(out, json_string_value(mode));
    return 0;
}

/* `folder` is somebody's text: no way out of the model's directory. */
static int read_pooling(struct pooling *out, const char *directory, const char *folder, struct err *e)
{
    json_t *root = NULL;
    if (!*folder || strchr(folder, '/') || folder[0] == '.')
        return malformed(modules_file, "the path of a module must be the name of a directory", e);
    char *path = file_join(directory, folder);
    int result = path ? read_json(path, config_file, &root, e) : err_memory(e);
    if (result == 0)
        result = root ? take_config(out, root, e) : malformed(modules_file, "its pooling is not there", e);
    json_decref(root);
    free(path);
    return result;
}

/* ---- modules.json ---- */

/* The class without its package. */
static const char *class_of(const json_t *module)
{
    const char *type = json_string_value(json_object_get(module, "type")),
               *dot = type ? strrchr(type, '.') : NULL;
    return dot ? dot + 1 : type;
}

static int take_module(struct pooling *out, const char *directory, const json_t *module, struct err *e)
{
    const char *class = class_of(module), *path = json_string_value(json_object_get(module, "path"));
    if (!class || !path)
        return malformed(modules_file, "each module needs a type and a path", e);
    if (strcmp(class, "Pooling") == 0)
        return read_pooling(out, directory, path, e);
    if (strcmp(class, "Transformer") != 0 && strcmp(class, "Normalize") != 0)
        snprintf(out->problem, sizeof out->problem,
                 "the model's vectors go through a module %.64s, which is "
                 "not computed",
                 class);
    return 0;
}

static int take_modules(struct pooling *out, const char *directory, const json_t *modules, struct err *e)
{
    size_t i;
    json_t *module;
    if (!json_is_array(modules))
        return malformed(modules_file, "this is no list of modules", e);
    json_array_foreach((json_t *)modules, i, module)
    {
        if (take_module(out, directory, module, e) != 0)
            return -1;
    }
    return 0;
}

int pooling_read(struct pooling *out, const char *directory, enum pooling_kind wanted, struct err *e)
{
    struct pooling p = {.kind = wanted};
    json_t *modules = NULL;
    int result = 0;
    if (wanted == POOLING_BY_FILES) {
        p.kind = POOLING_LAST;
        result = read_json(directory, modules_file, &modules, e);
        if (result == 0 && modules)
            result = take_modules(&p, directory, modules, e);
    }
    json_decref(modules);
    if (result == 0)
        *out = p;
    return result;
}

#include <dirent.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/lib/commands.h"
#include "cli/lib/list.h"
#include "cli/lib/path.h"
#include "cli/lib/progress.h"
#include "core/format/filetype.h"
#include "core/system/file.h"

static int adapters_path(struct buf *path, const char *tenant, const char *label, struct err *e)
{
    if (buf_append_string(path, "/adapters") != 0 || (tenant && path_query(path, "tenant", tenant) != 0) ||
        (label && path_query(path, "label", label) != 0))
        return err_memory(e);
    return 0;
}

/* Of what the name means, and what else decides how requests for it fare. */
static void add_state(struct table *t, const json_t *adapter)
{
    const char *state = json_string_value(json_object_get(adapter, "state"));
    char text[64];
    snprintf(text, sizeof text, "%s%s%s", state ? state : "none active",
             json_is_true(json_object_get(adapter, "expired")) ? ", expired" : "",
             json_is_true(json_object_get(adapter, "pinned")) ? ", pinned" : "");
    table_add(t, text);
}

static int print_rows(const json_t *rows, struct err *e)
{
    struct table t;
    size_t i;
    const json_t *row;
    table_init(&t, "NAME|VERSION|>VERSIONS|STATE|CREATED");
    json_array_foreach(rows, i, row)
    {
        table_add_member(&t, row, "name");
        table_add_digest(&t, row, "version");
        table_add_member(&t, row, "versions");
        add_state(&t, row);
        table_add_time(&t, row, "created");
    }
    return table_print(&t, e);
}

int adapters_list(struct context *c, const struct args *a, struct err *e)
{
    struct buf path = {0};
    int result = adapters_path(&path, args_get(a, "--tenant"), args_get(a, "--label"), e);
    if (result == 0)
        result = list_show(c, a, path.data, &(struct list_view){.print = print_rows}, e);
    buf_fini(&path);
    return result;
}

/* "yes", "no", or its share where it is the canary. */
static void add_active(struct table *t, const json_t *adapter, const json_t *version)
{
    const json_t *canary = json_object_get(adapter, "canary");
    char share[32];
    if (!json_is_object(canary) ||
        !json_equal(json_object_get(canary, "version"), json_object_get(version, "version"))) {
        table_add_member(t, version, "active");
        return;
    }
    snprintf(share, sizeof share, "canary %g %%", json_number_value(json_object_get(canary, "percent")));
    table_add(t, share);
}

int adapters_print_versions(const json_t *adapter, struct err *e)
{
    struct table t;
    size_t i;
    const json_t *row;
    table_init(&t, "VERSION|ACTIVE|STATE|>RANK|>SITES|>BYTES|>LOGIT CHANGE|>NORM SUM|CREATED");
    json_array_foreach(json_object_get(adapter, "versions"), i, row)
    {
        table_add_digest(&t, row, "version");
        add_active(&t, adapter, row);
        table_add_member(&t, row, "state");
        table_add_member(&t, row, "rank_max");
        table_add_member(&t, row, "sites");
        table_add_bytes(&t, row, "bytes");
        table_add_member(&t, json_object_get(row, "proof"), "max_logit_change");
        table_add_member(&t, json_object_get(row, "proof"), "norm_sum");
        table_add_time(&t, row, "created");
    }
    return table_print(&t, e);
}

/* ---- show ---- */

static void add_sample(struct table *t, const json_t *version)
{
    const json_t *sample = json_object_get(json_object_get(version, "proof"), "sample");
    for (const char *const *name = (const char *const[]){"prompt", "base", "adapter", NULL};
         json_is_object(sample) && *name; name++) {
        table_add_digest(t, version, "version");
        table_add(t, *name);
        table_add_member(t, sample, *name);
    }
}

/* A table that may have no rows: its titles alone would say nothing. `before`: what stands between it and
 * what came before; `otherwise`: what is said instead of an empty one. */
static int print_filled(struct table *t, const char *before, const char *otherwise, struct err *e)
{
    if (t->count > t->columns || t->failed) {
        fputs(before, stdout);
        return table_print(t, e);
    }
    fputs(otherwise, stdout);
    table_fini(t);
    return 0;
}

static int print_samples(const json_t *versions, struct err *e)
{
    struct table t;
    size_t i;
    const json_t *row;
    table_init(&t, "VERSION|SAMPLE|TEXT");
    json_array_foreach(versions, i, row) add_sample(&t, row);
    return print_filled(&t, "\n", "", e);
}

static int print_metadata(const json_t *adapter, const char *before, const char *otherwise, struct err *e)
{
    const json_t *labels = json_object_get(adapter, "labels"), *value;
    const char *key, *note = json_string_value(json_object_get(adapter, "note"));
    struct table t;
    table_init(&t, "ABOUT|TEXT");
    json_object_foreach((json_t *)(uintptr_t)labels, key, value)
    {
        char label[80];
        snprintf(label, sizeof label, "label %s", key);
        table_add(&t, label);
        table_add_member(&t, labels, key);
    }
    if (note && *note) {
        table_add(&t, "note");
        table_add(&t, note);
    }
    if (json_is_string(json_object_get(adapter, "expires_at"))) {
        table_add(&t, json_is_true(json_object_get(adapter, "expired")) ? "expired" : "expires");
        table_add_time(&t, adapter, "expires_at");
    }
    if (json_is_true(json_object_get(adapter, "pinned"))) {
        table_add(&t, "pinned");
        table_add(&t, "yes");
    }
    return print_filled(&t, before, otherwise, e);
}

int adapters_print_metadata(const json_t *adapter, struct err *e)
{
    return print_metadata(adapter, "", "no labels, no note, no end, no pin\n", e);
}

static int print_adapter(const json_t *adapter, struct err *e)
{
    if (adapters_print_versions(adapter, e) != 0 || print_metadata(adapter, "\n", "", e) != 0)
        return -1;
    return print_samples(json_object_get(adapter, "versions"), e);
}

/* One version: how large the update of each module is. */
static int print_version(const json_t *version, struct err *e)
{
    struct table t;
    size_t i;
    const json_t *row;
    table_init(&t, "MODULE|>NORM");
    json_array_foreach(json_object_get(json_object_get(version, "proof"), "norms"), i, row)
    {
        table_add_member(&t, row, "module");
        table_add_member(&t, row, "norm");
    }
    json_t *one = json_pack("[O]", version);
    int result = one ? table_print(&t, e) : err_memory(e);
    if (result == 0)
        result = print_samples(one, e);
    json_decref(one);
    return result;
}

static int show(struct context *c, const struct args *a, const char *name, const char *version, struct err *e)
{
    struct buf path = {0};
    struct answer answer;
    const char *tenant = args_get(a, "--tenant");
    int result =
        path_adapter(&path, name, version) != 0 || (tenant && path_query(&path, "tenant", tenant) != 0)
            ? err_memory(e)
            : client_call(c->client, "GET", path.data, NULL, &answer, e);
    buf_fini(&path);
    if (result != 0)
        return -1;
    if (c->json)
        print_answer(&answer);
    else
        result = version ? print_version(answer.json, e) : print_adapter(answer.json, e);
    answer_fini(&answer);
    return result;
}

int adapters_show(struct context *c, const struct args *a, struct err *e)
{
    char *name;
    const char *version;
    if (path_reference(a->operand[0], &name, &version, e) != 0)
        return -1;
    int result = show(c, a, name, version, e);
    free(name);
    return result;
}

/* ---- upload ---- */

/* Why adapter_model.safetensors is not there: perhaps the directory has the old form. */
static int missing_weights(const char *directory, struct err *e)
{
    DIR *d = opendir(directory);
    if (!d)
        return err_errno(e, "cannot read the directory %s", directory);
    char found[NAME_MAX + 1] = "";
    for (struct dirent *entry; !found[0] && (entry = readdir(d));)
        if (filetype_is_pickle(entry->d_name))
            snprintf(found, sizeof found, "%s", entry->d_name);
    closedir(d);
    if (found[0])
        return filetype_refuse_pickle(found, e);
    err_set(e, "not_an_adapter", "%s has no adapter_model.safetensors", directory);
    return err_hint(e, "name the directory that PEFT's save_pretrained wrote");
}

static int check_directory(const char *directory, const char *config, const char *weights, struct err *e)
{
    struct stat s;
    if (stat(directory, &s) != 0)
        return err_errno(e, "cannot read %s", directory);
    if (!S_ISDIR(s.st_mode)) {
        if (filetype_is_pickle(directory))
            return filetype_refuse_pickle(directory, e);
        err_set(e, "not_an_adapter", "%s is not a directory", directory);
        return err_hint(e, "name the directory that holds adapter_config.json and adapter_model.safetensors");
    }
    if (stat(weights, &s) != 0)
        return missing_weights(directory, e);
    if (!S_ISREG(s.st_mode))
        return err_set(e, "not_an_adapter", "%s is not a file", weights);
    if (stat(config, &s) == 0 && S_ISREG(s.st_mode))
        return 0;
    err_set(e, "not_an_adapter", "%s has no adapter_config.json", directory);
    return err_hint(e, "name the directory that PEFT's save_pretrained wrote");
}

static int is_gguf(const char *path)
{
    size_t length = strlen(path);
    struct stat s;
    return length > 5 && strcasecmp(path + length - 5, ".gguf") == 0 && stat(path, &s) == 0 &&
           S_ISREG(s.st_mode);
}

/* --name, or what the directory or file is called. */
static int choose_name(const struct args *a, char out[NAME_MAX + 1], struct err *e)
{
    const char *name = args_get(a, "--name");
    char *real = name ? NULL : realpath(a->operand[0], NULL);
    if (!name && !real)
        return err_errno(e, "cannot read %s", a->operand[0]);
    char *base = name ? (char *)(uintptr_t)name : strrchr(real, '/') + 1;
    if (!name && is_gguf(a->operand[0]))
        base[strlen(base) - 5] = '\0';
    int good = path_name_valid(base);
    if (good)
        snprintf(out, NAME_MAX + 1, "%s", base);
    else
        err_set(e, "usage", "\"%.100s\" cannot name an adapter: names match [a-z0-9][a-z0-9._-]{0,63}", base);
    free(real);
    return good ? 0 : name ? -1 : err_hint(e, "give one with --name");
}

static void print_upload_sample(struct table *t, const json_t *sample)
{
    if (!json_is_object(sample))
        return;
    table_add(t, "proof: the base answers");
    table_add_member(t, sample, "base");
    table_add(t, "proof: the adapter answers");
    table_add_member(t, sample, "adapter");
}

/* Each in a row of its own. */
static void print_warnings(struct table *t, const json_t *warnings)
{
    size_t i;
    json_t *text;
    json_array_foreach(warnings, i, text)
    {
        table_add(t, "warning");
        table_add(t, json_string_value(text));
    }
}

static int print_upload(const struct answer *answer, struct err *e)
{
    const json_t *u = answer->json, *proof = json_object_get(u, "proof");
    struct table t;
    table_init(&t, "");
    t.columns = 2;
    for (const char *const *name = (const char *const[]){"tenant", "name", "version", "active", "rank_max",
                                                         "sites", "parameters", NULL};
         *name; name++) {
        table_add(&t, *name);
        table_add_member(&t, u, *name);
    }
    table_add(&t, "bytes");
    table_add_bytes(&t, u, "bytes");
    table_add(&t, "proof: largest logit change");
    table_add_member(&t, proof, "max_logit_change");
    table_add(&t, "proof: mean logit change");
    table_add_member(&t, proof, "mean_logit_change");
    table_add(&t, "proof: sum of norms");
    table_add_member(&t, proof, "norm_sum");
    print_upload_sample(&t, json_object_get(proof, "sample"));
    print_warnings(&t, json_object_get(u, "warnings"));
    return table_print(&t, e);
}

static int upload(struct context *c, const struct client_form *f, struct err *e)
{
    struct answer answer;
    int result = client_send_form(c->client, f, &answer, e);
    progress_end(f->arg);
    if (result != 0)
        return -1;
    if (c->json)
        print_answer(&answer);
    else
        result = print_upload(&answer, e);
    answer_fini(&answer);
    return result;
}

/* Files beside the weights that say how an adapter is talked to: in a directory, and in the form. */
enum { SETTINGS = 4 };
static const char *const settings_files[SETTINGS] = {"tokenizer_config.json", "chat_template.jinja",
                                                     "generation_config.json", "added_tokens.json"};
static const char *const settings_parts[SETTINGS] = {"tokenizer_config", "chat_template", "generation_config",
                                                     "added_tokens"};

/* What goes with the weights. Owned; each NULL where there is none. */
struct settings {
    char *path[SETTINGS];
    char *added; /* in the place of the last one: what a tokenizer.json says of added tokens */
};

static void settings_fini(struct settings *s)
{
    for (int i = 0; i < SETTINGS; i++)
        free(s->path[i]);
    free(s->added);
}

/* `config` NULL: the weights are a GGUF file. */
static int upload_files(struct context *c, const struct args *a, const char *config, const char *weights,
                        const struct settings *s, struct err *e)
{
    char name[NAME_MAX + 1];
    struct progress p;
    if (choose_name(a, name, e) != 0)
        return -1;
    struct client_part parts[] = {
        {.name = "tenant", .text = args_get(a, "--tenant")},
        {.name = "name", .text = name},
        {.name = "proof_prompt", .text = args_get(a, "--proof-prompt")},
        {.name = "activate", .text = args_get(a, "--no-activate") ? "false" : NULL},
        {.name = "allow_no_effect", .text = args_get(a, "--allow-no-effect") ? "true" : NULL},
        {.name = settings_parts[0], .path = s->path[0], .filename = settings_files[0]},
        {.name = settings_parts[1], .path = s->path[1], .filename = settings_files[1]},
        {.name = settings_parts[2], .path = s->path[2], .filename = settings_files[2]},
        {.name = settings_parts[3], .path = s->path[3], .filename = settings_files[3], .text = s->added},
        {.name = "config", .path = config, .filename = "adapter_config.json"},
        {.name = "weights",
         .path = weights,
         .filename = config ? "adapter_model.safetensors" : "adapter.gguf"}};
    const struct client_form form = {.path = "/adapters",
                                     .parts = parts,
                                     .count = sizeof parts / sizeof *parts,
                                     .progress = progress_show,
                                     .arg = &p};
    progress_begin(&p);
    return upload(c, &form, e);
}

/* A file of the directory, or NULL in *out. */
static int find_file(const char *directory, const char *name, char **out, struct err *e)
{
    struct stat s;
    *out = file_join(directory, name);
    if (!*out)
        return err_memory(e);
    if (stat(*out, &s) == 0 && S_ISREG(s.st_mode))
        return 0;
    free(*out);
    *out = NULL;
    return 0;
}

/* The list alone: the rest of a tokenizer.json is the base's, and large. */
static int read_added(const char *path, char **out, struct err *e)
{
    json_error_t error;
    json_t *root = json_load_file(path, JSON_ALLOW_NUL, &error),
           *list = json_object_get(root, "added_tokens");
    if (!root) {
        err_set(e, "invalid_json", "%s: %s", path, error.text);
        return err_hint(e, "--no-settings leaves it behind.");
    }
    json_t *object = json_is_array(list) ? json_pack("{s:O}", "added_tokens", list) : NULL;
    *out = object ? json_dumps(object, JSON_COMPACT) : NULL;
    int result = *out || !json_is_array(list) ? 0 : err_memory(e);
    json_decref(object);
    json_decref(root);
    return result;
}

/* Those that the directory has. */
static int find_settings(const struct args *a, struct settings *out, struct err *e)
{
    char *tokenizer = NULL;
    if (args_get(a, "--no-settings"))
        return 0;
    for (int i = 0; i < SETTINGS; i++)
        if (find_file(a->operand[0], settings_files[i], &out->path[i], e) != 0)
            return -1;
    if (find_file(a->operand[0], "tokenizer.json", &tokenizer, e) != 0)
        return -1;
    int result = tokenizer ? read_added(tokenizer, &out->added, e) : 0;
    free(tokenizer);
    return result;
}

int adapters_upload(struct context *c, const struct args *a, struct err *e)
{
    const char *path = a->operand[0];
    struct settings settings = {0};
    if (is_gguf(path))
        return upload_files(c, a, NULL, path, &settings, e);
    char *config = file_join(path, "adapter_config.json");
    char *weights = file_join(path, "adapter_model.safetensors");
    int result = -1;
    if (!config || !weights)
        err_memory(e);
    else if (check_directory(path, config, weights, e) == 0 && find_settings(a, &settings, e) == 0)
        result = upload_files(c, a, config, weights, &settings, e);
    settings_fini(&settings);
    free(config);
    free(weights);
    return result;
}

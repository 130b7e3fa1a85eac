#include "cli/training/train_request.h"

#include <stdlib.h>
#include <string.h>

#include "cli/lib/path.h"
#include "core/format/json_file.h"
#include "core/system/file.h"

enum { CONFIG_BYTES_MAX = 1 << 20, RANK_MAX = 1024 };

static int base_name(struct context *c, const char *tenant, json_t *request, struct err *e)
{
    struct buf path = {0};
    struct answer answer;
    int result = buf_append_string(&path, "/v1/models") != 0 || path_query(&path, "limit", "1") != 0 ||
                         (tenant && path_query(&path, "tenant", tenant) != 0)
                     ? err_memory(e)
                     : client_call(c->client, "GET", path.data, NULL, &answer, e);
    buf_fini(&path);
    if (result != 0)
        return -1;
    json_t *id = json_object_get(json_array_get(json_object_get(answer.json, "data"), 0), "id");
    if (!json_is_string(id))
        result = err_set(e, "not_adapterd", "the list of models has no base");
    else if (json_object_set(request, "model", id) != 0)
        result = err_memory(e);
    answer_fini(&answer);
    return result;
}

/* The object of that name in the request, made where it is missing. */
static json_t *part(json_t *request, const char *name)
{
    json_t *o = json_object_get(request, name);
    if (!json_is_object(o)) {
        o = json_object();
        if (json_object_set_new(request, name, o) != 0)
            return NULL;
    }
    return o;
}

static int set(json_t *request, const char *name, const char *member, json_t *value, struct err *e)
{
    json_t *o = name ? part(request, name) : request;
    if (o)
        return json_object_set_new(o, member, value) == 0 ? 0 : err_memory(e);
    json_decref(value);
    return err_memory(e);
}

/* ---- which modules ---- */

static int add_letters(json_t *list, const char *letters)
{
    static const struct {
        char letter;
        const char *module;
    } modules[] = {{'q', "q_proj"},    {'k', "k_proj"},  {'v', "v_proj"},   {'o', "o_proj"},
                   {'g', "gate_proj"}, {'u', "up_proj"}, {'d', "down_proj"}};
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++)
        if (strchr(letters, modules[i].letter) &&
            json_array_append_new(list, json_string(modules[i].module)) != 0)
            return -1;
    return 0;
}

static int add_names(json_t *list, const char *names)
{
    while (*names) {
        size_t length = strcspn(names, "+,");
        if (length > 0 && json_array_append_new(list, json_stringn(names, length)) != 0)
            return -1;
        names += length + (names[length] != '\0');
    }
    return 0;
}

static json_t *modules_of(const char *targets)
{
    if (strcmp(targets, "all") == 0 || strcmp(targets, "all-linear") == 0)
        return json_string("all-linear");
    json_t *list = json_array();
    bool letters = targets[0] && targets[strspn(targets, "qkvogud")] == '\0';
    if (list && (letters ? add_letters(list, targets) : add_names(list, targets)) == 0)
        return list;
    json_decref(list);
    return NULL;
}

/* Twice the rank is what the daemon takes for its own default: the scale stays the same. */
int train_request_lora(json_t *request, long long rank, const char *targets, struct err *e)
{
    if (rank > 0 && (set(request, "lora", "r", json_integer(rank), e) != 0 ||
                     set(request, "lora", "lora_alpha", json_integer(2 * rank), e) != 0))
        return -1;
    return targets ? set(request, "lora", "target_modules", modules_of(targets), e) : 0;
}

/* ---- options ---- */

/* Fields as docs/http-api.md has them. */
static int read_config(const char *path, json_t *request, struct err *e)
{
    const struct json_file f = {.name = path, .code = "usage", .bytes_max = CONFIG_BYTES_MAX};
    struct buf text = {0};
    json_t *config = NULL;
    int result = file_read(path, CONFIG_BYTES_MAX, &text, e);
    if (result == 0)
        result = json_file_parse(&f, text.data ? text.data : "", text.length, &config, e);
    if (result == 0 && !json_is_object(config))
        result = err_set(e, "usage", "%s is not a JSON object", path);
    if (result == 0 && json_object_update(request, config) != 0)
        result = err_memory(e);
    json_decref(config);
    buf_fini(&text);
    return result;
}

static int add_number(const struct args *a, const char *option, const char *name, const char *member,
                      bool whole, json_t *request, struct err *e)
{
    int given;
    long long integer;
    double number;
    if ((whole ? args_integer(a, option, 0, INT64_MAX >> 10, &given, &integer, e)
               : args_number(a, option, &given, &number, e)) != 0)
        return -1;
    return given ? set(request, name, member, whole ? json_integer(integer) : json_real(number), e) : 0;
}

static int add_numbers(const struct args *a, json_t *request, struct err *e)
{
    static const struct {
        const char *option, *name, *member;
        bool whole;
    } numbers[] = {{"--alpha", "lora", "lora_alpha", false},
                   {"--epochs", "training", "n_epochs", false},
                   {"--batch-size", "training", "batch_size", true},
                   {"--learning-rate", "training", "learning_rate", false},
                   {"--max-steps", "training", "max_steps", true},
                   {"--seed", NULL, "seed", true}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (add_number(a, numbers[i].option, numbers[i].name, numbers[i].member, numbers[i].whole, request,
                       e) != 0)
            return -1;
    return 0;
}

static int add_texts(const struct args *a, const char *name, json_t *request, struct err *e)
{
    const char *model = args_get(a, "--model"), *tenant = args_get(a, "--tenant");
    if (set(request, NULL, "suffix", json_string(name), e) != 0 ||
        (model && set(request, NULL, "model", json_string(model), e) != 0) ||
        (tenant && set(request, NULL, "tenant", json_string(tenant), e) != 0))
        return -1;
    return args_get(a, "--no-activate") ? set(request, NULL, "activate", json_false(), e) : 0;
}

static int fill(struct context *c, const struct args *a, const char *name, json_t *request, struct err *e)
{
    const char *config = args_get(a, "--config");
    int given;
    long long rank = 0;
    if ((config && read_config(config, request, e) != 0) ||
        args_integer(a, "--rank", 1, RANK_MAX, &given, &rank, e) != 0 ||
        train_request_lora(request, rank, args_get(a, "--targets"), e) != 0 ||
        add_numbers(a, request, e) != 0 || add_texts(a, name, request, e) != 0)
        return -1;
    return json_object_get(request, "model") ? 0 : base_name(c, args_get(a, "--tenant"), request, e);
}

int train_request_new(json_t **out, struct context *c, const struct args *a, const char *name, struct err *e)
{
    json_t *request = json_object();
    int result = request ? fill(c, a, name, request, e) : err_memory(e);
    if (result == 0)
        *out = request;
    else
        json_decref(request);
    return result;
}

#include "adapters/peft.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "adapters/peft_config.h"
#include "adapters/peft_match.h"
#include "core/base/file.h"
#include "core/model/safetensors.h"

enum { HEADER_BYTES_MAX = 1 << 20, READ_BYTES = 16384, PATH_BYTES = 256 };
static const char prefix[] = "base_model.model.";

struct peft {
    struct delta_source source;
    struct delta_part *parts; /* owned, in order of site */
    float *values;            /* owned: all A and B */
    struct peft_info info;
};

/* One site's tensors and what was found in them. */
struct slot {
    const struct tensor *a, *b, *base; /* base: a copy of the base's own weight */
    float *a_values, *b_values;
    double a_max, b_max; /* largest magnitudes */
};

/* Which tensor of which site a name stands for. */
enum role { ROLE_A, ROLE_B, ROLE_BASE };
struct place {
    int site;
    enum role role;
};

struct load {
    const struct model *model;
    const struct site *sites;
    size_t site_count;
    struct peft_target *targets; /* owned, [site_count] */
    struct slot *slots;          /* owned, [site_count] */
    struct safetensors *weights; /* owned */
    int weights_fd;
    struct peft *result; /* owned until it is handed over */
};

/* ---- names: every tensor of the file has one place, or the upload is refused ---- */

static int refuse_name(const struct tensor *t, const char *code, const char *why, const char *hint,
                       struct err *e)
{
    err_set(e, code, "tensor %s: %s", t->name, why);
    return hint ? err_hint(e, "%s", hint) : -1;
}

static bool has_suffix(const char *text, size_t length, const char *suffix)
{
    size_t suffix_length = strlen(suffix);
    return length > suffix_length && memcmp(text + length - suffix_length, suffix, suffix_length) == 0;
}

static bool is_module(const struct model *m, const char *path)
{
    size_t count;
    const char *const *modules = model_modules(m, &count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(modules[i], path) == 0)
            return true;
    return false;
}

static const struct {
    const char *suffix;
    enum role role;
} roles[] = {
    {".lora_A.weight", ROLE_A},
    {".lora_B.weight", ROLE_B},
    {".base_layer.weight", ROLE_BASE},
    {".weight", ROLE_BASE},
};

/* A name that ends like one of ours, for a module that takes no adapter. */
static int refuse_module(const struct load *l, const struct tensor *t, const char *path, enum role role,
                         struct err *e)
{
    if (!is_module(l->model, path))
        return refuse_name(t, "adapter_unknown_module", "the base has no such module", NULL, e);
    if (role != ROLE_BASE)
        return refuse_name(t, "adapter_unexpected_tensor", "adapter_config.json does not target this module",
                           "Check target_modules, exclude_modules and layers_to_transform.", e);
    const char *dot = strrchr(path, '.'), *last = dot ? dot + 1 : path;
    bool embedding = strcmp(last, "embed_tokens") == 0 || strcmp(last, "lm_head") == 0 ||
                     strcmp(last, "wte") == 0 || strcmp(last, "wpe") == 0;
    if (embedding)
        return refuse_name(t, "adapter_unsupported_feature",
                           "weights that replace the base's cannot be served yet",
                           "Save the adapter with save_embedding_layers=False.", e);
    return refuse_name(t, "adapter_unexpected_tensor", "it is not part of a LoRA on this module", NULL, e);
}

/* Only lm_head comes with a copy of the base's weight: PEFT saves it where lm_head is a target. */
static bool takes(const struct load *l, int site, enum role role)
{
    return role == ROLE_BASE ? l->sites[site].kind == SITE_LM_HEAD : l->targets[site].targeted;
}

static int find_place(const struct load *l, const struct tensor *t, struct place *out, struct err *e)
{
    if (strncmp(t->name, prefix, sizeof prefix - 1) != 0)
        return refuse_name(t, "adapter_unexpected_tensor", "the name does not start with base_model.model.",
                           NULL, e);
    const char *name = t->name + sizeof prefix - 1;
    size_t length = strlen(name);
    if (has_suffix(name, length, ".lora_embedding_A") || has_suffix(name, length, ".lora_embedding_B"))
        return refuse_name(t, "adapter_unsupported_feature", "LoRA on embeddings cannot be served yet",
                           "Train without embeddings among target_modules.", e);
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        if (!has_suffix(name, length, roles[i].suffix))
            continue;
        char path[PATH_BYTES + 1]; /* longer names were refused on opening */
        snprintf(path, sizeof path, "%.*s", (int)(length - strlen(roles[i].suffix)), name);
        if (roles[i].role == ROLE_BASE && strstr(path, ".lora_"))
            break; /* DoRA's magnitudes, or a name with an adapter's name in it */
        *out = (struct place){model_find_site(l->model, path), roles[i].role};
        if (out->site >= 0 && takes(l, out->site, out->role))
            return 0;
        return refuse_module(l, t, path, out->role, e);
    }
    return refuse_name(t, "adapter_unexpected_tensor", "it is not a tensor of plain LoRA as PEFT names them",
                       "Save the adapter with save_pretrained of PEFT.", e);
}

static int place_tensors(struct load *l, struct err *e)
{
    for (size_t i = 0; i < safetensors_count(l->weights); i++) {
        const struct tensor *t = safetensors_at(l->weights, i);
        struct place place;
        if (find_place(l, t, &place, e) != 0)
            return -1;
        struct slot *s = &l->slots[place.site];
        const struct tensor **slot = place.role == ROLE_A ? &s->a : place.role == ROLE_B ? &s->b : &s->base;
        if (*slot)
            return refuse_name(t, "adapter_unexpected_tensor", "the same weight is there under another name",
                               NULL, e);
        *slot = t;
    }
    return 0;
}

static int check_complete(const struct load *l, struct err *e)
{
    for (size_t i = 0; i < l->site_count; i++) {
        const struct slot *s = &l->slots[i];
        if (!l->targets[i].targeted || (s->a && s->b))
            continue;
        err_set(e, "adapter_missing_tensor",
                "tensor %s%s.lora_%c.weight is missing; adapter_config.json targets %s", prefix,
                l->sites[i].path, s->a ? 'B' : 'A', l->sites[i].path);
        return err_hint(e, "Check target_modules and layers_to_transform, or save the adapter again.");
    }
    return 0;
}

/* ---- shapes ---- */

static int check_shape(const struct tensor *t, long long rows, long long columns, const char *meaning,
                       struct err *e)
{
    if (t->dimensions == 2 && t->shape[0] == rows && t->shape[1] == columns)
        return 0;
    char shape[128];
    tensor_shape_text(t, shape, sizeof shape);
    return err_set(e, "adapter_shape_mismatch", "tensor %s: expected [%lld, %lld] (%s), found %s", t->name,
                   rows, columns, meaning, shape);
}

static int check_shapes(const struct load *l, struct err *e)
{
    for (size_t i = 0; i < l->site_count; i++) {
        const struct slot *s = &l->slots[i];
        const struct site *site = &l->sites[i];
        int rank = l->targets[i].rank;
        if (s->a && (check_shape(s->a, rank, site->in, "rank, inputs of the base's layer", e) != 0 ||
                     check_shape(s->b, site->out, rank, "outputs of the base's layer, rank", e) != 0))
            return -1;
        if (s->base &&
            check_shape(s->base, site->out, site->in, "outputs, inputs of the base's layer", e) != 0)
            return -1;
    }
    return 0;
}

/* ---- values ---- */

static int check_equal(const struct load *l, int site, const struct tensor *t, float *stored, float *base,
                       struct err *e)
{
    if (safetensors_read(l->weights_fd, t, stored, 1, e) != 0)
        return -1;
    model_site_weight(l->model, site, base);
    for (int64_t i = 0; i < tensor_elements(t); i++)
        if (stored[i] != base[i])
            return refuse_name(
                t, "adapter_unsupported_feature",
                "it differs from the base's own weight, and replaced weights cannot be served yet",
                "Save the adapter with save_embedding_layers=False if this weight was not trained.", e);
    return 0;
}

/* A copy of the base's weight that equals it changes nothing. */
static int check_base_copies(const struct load *l, struct err *e)
{
    for (size_t i = 0; i < l->site_count; i++) {
        const struct tensor *t = l->slots[i].base;
        if (!t)
            continue;
        size_t elements = (size_t)tensor_elements(t);
        float *stored = calloc(elements, sizeof *stored), *base = calloc(elements, sizeof *base);
        int result = stored && base ? check_equal(l, (int)i, t, stored, base, e) : err_memory(e);
        free(stored);
        free(base);
        if (result != 0)
            return -1;
    }
    return 0;
}

/* Room for all A and B, and which part of it each has. */
static int make_room(struct load *l, struct err *e)
{
    struct peft *p = l->result;
    int64_t total = 0;
    for (size_t i = 0; i < l->site_count; i++)
        if (l->targets[i].targeted)
            total += tensor_elements(l->slots[i].a) + tensor_elements(l->slots[i].b);
    p->values = calloc((size_t)total, sizeof *p->values);
    if (!p->values)
        return err_memory(e);
    float *next = p->values;
    for (size_t i = 0; i < l->site_count; i++) {
        struct slot *s = &l->slots[i];
        if (!l->targets[i].targeted)
            continue;
        s->a_values = next;
        s->b_values = next + tensor_elements(s->a);
        next = s->b_values + tensor_elements(s->b);
    }
    p->info.parameters = total;
    return 0;
}

static int check_finite(const struct tensor *t, const float *values, size_t count, double *largest,
                        struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(values[i]))
            return err_set(e, "adapter_not_finite", "tensor %s contains %s", t->name,
                           isnan(values[i]) ? "NaN" : "an infinity");
        *largest = fmax(*largest, fabs((double)values[i]));
    }
    return 0;
}

/* Read a tensor once: widened to `out`, its largest magnitude, and the hash of its bytes. */
static int read_tensor(int fd, const struct tensor *t, float *out, double *largest,
                       uint8_t digest[SHA256_BYTES], struct err *e)
{
    char chunk[READ_BYTES];
    struct sha256 hash;
    sha256_init(&hash);
    size_t size = dtype_size(t->dtype);
    for (uint64_t done = 0; done < t->bytes;) {
        size_t length = t->bytes - done < READ_BYTES ? (size_t)(t->bytes - done) : READ_BYTES;
        if (file_pread(fd, chunk, length, t->offset + done, e) != 0)
            return -1;
        sha256_update(&hash, chunk, length);
        dtype_widen(t->dtype, chunk, out, length / size);
        if (check_finite(t, out, length / size, largest, e) != 0)
            return -1;
        out += length / size;
        done += length;
    }
    sha256_final(&hash, digest);
    return 0;
}

/* ---- the version: SHA-256 of a canonical text, defined in docs/internals/adapters.md ---- */

static void add_line(struct sha256 *version, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add_line(struct sha256 *version, const char *format, ...)
{
    char line[1024]; /* names and paths have at most 256 bytes */
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    sha256_update(version, line, (size_t)length < sizeof line ? (size_t)length : sizeof line - 1);
}

static void add_tensor(struct sha256 *version, const struct tensor *t, const uint8_t digest[SHA256_BYTES])
{
    char shape[128], hex[SHA256_HEX + 1];
    tensor_shape_text(t, shape, sizeof shape);
    hex_encode(digest, SHA256_BYTES, hex);
    add_line(version, "tensor %s %s %s %s\n", t->name, dtype_name(t->dtype), shape, hex);
}

/* Reads every A and B in order of name. */
static int read_tensors(struct load *l, struct sha256 *version, struct err *e)
{
    for (size_t i = 0; i < safetensors_count(l->weights); i++) {
        const struct tensor *t = safetensors_at(l->weights, i);
        struct place place;
        if (find_place(l, t, &place, e) != 0)
            return -1;
        if (place.role == ROLE_BASE)
            continue;
        struct slot *s = &l->slots[place.site];
        bool is_a = place.role == ROLE_A;
        uint8_t digest[SHA256_BYTES];
        if (read_tensor(l->weights_fd, t, is_a ? s->a_values : s->b_values, is_a ? &s->a_max : &s->b_max,
                        digest, e) != 0)
            return -1;
        add_tensor(version, t, digest);
    }
    return 0;
}

static int compare_paths(const void *left, const void *right)
{
    const struct site *const *a = left, *const *b = right;
    return strcmp((*a)->path, (*b)->path);
}

static int add_sites(const struct load *l, struct sha256 *version, struct err *e)
{
    const struct site **order = malloc(l->site_count * sizeof *order);
    if (!order)
        return err_memory(e);
    size_t count = 0;
    for (size_t i = 0; i < l->site_count; i++)
        if (l->targets[i].targeted)
            order[count++] = &l->sites[i];
    qsort(order, count, sizeof *order, compare_paths);
    for (size_t i = 0; i < count; i++) {
        const struct peft_target *t = &l->targets[order[i] - l->sites];
        add_line(version, "site %s %d %.17g\n", order[i]->path, t->rank, t->scale);
    }
    free(order);
    return 0;
}

static int read_values(struct load *l, struct err *e)
{
    struct sha256 version;
    sha256_init(&version);
    add_line(&version, "adapterd adapter 1\n");
    if (read_tensors(l, &version, e) != 0 || add_sites(l, &version, e) != 0)
        return -1;
    sha256_final(&version, l->result->info.version);
    return 0;
}

/* ---- effect ---- */

/* Finite factors whose product may not be: bounds for scale * B and for the entries of scale * B A. */
static int check_products(const struct load *l, struct err *e)
{
    for (size_t i = 0; i < l->site_count; i++) {
        const struct slot *s = &l->slots[i];
        double scaled = fabs(l->targets[i].scale) * s->b_max,
               product = scaled * s->a_max * l->targets[i].rank;
        if (!l->targets[i].targeted || (scaled <= FLT_MAX && product <= FLT_MAX))
            continue;
        return err_set(
            e, "adapter_not_finite",
            "module %s: scale * lora_B * lora_A can reach %.3g, more than f32 holds (largest magnitudes: "
            "A %.3g, B %.3g; scale %.3g)",
            l->sites[i].path, fmax(product, scaled), s->a_max, s->b_max, l->targets[i].scale);
    }
    return 0;
}

static int check_effect(const struct load *l, struct err *e)
{
    for (size_t i = 0; i < l->site_count; i++)
        if (l->targets[i].targeted && l->targets[i].scale != 0 && l->slots[i].a_max > 0 &&
            l->slots[i].b_max > 0)
            return 0;
    err_set(e, "adapter_no_effect",
            "the adapter changes nothing: in every module lora_A, lora_B or the scale is zero");
    return err_hint(
        e, "An adapter saved before training has lora_B = 0. To store it all the same, set allow_no_effect.");
}

/* ---- putting it together ---- */

static int open_weights(struct load *l, struct err *e)
{
    struct stat status;
    if (fstat(l->weights_fd, &status) != 0)
        return err_errno(e, "cannot look at adapter_model.safetensors");
    if ((uint64_t)status.st_size > PEFT_WEIGHTS_BYTES_MAX)
        return err_set(e, "safetensors_malformed", "the file has %lld bytes; at most %llu are accepted",
                       (long long)status.st_size, (unsigned long long)PEFT_WEIGHTS_BYTES_MAX);
    return safetensors_open(&l->weights, l->weights_fd, HEADER_BYTES_MAX, e);
}

static int make_parts(struct load *l, struct err *e)
{
    struct peft *p = l->result;
    p->parts = calloc(l->site_count, sizeof *p->parts);
    if (!p->parts)
        return err_memory(e);
    size_t count = 0;
    for (size_t i = 0; i < l->site_count; i++) {
        const struct peft_target *t = &l->targets[i];
        if (!t->targeted)
            continue;
        p->parts[count++] = (struct delta_part){.site = (int)i,
                                                .rank = t->rank,
                                                .scale = (float)t->scale,
                                                .a = l->slots[i].a_values,
                                                .b = l->slots[i].b_values};
        if (t->rank > p->info.rank_max)
            p->info.rank_max = t->rank;
    }
    p->source = (struct delta_source){p->parts, count};
    p->info.sites = (int)count;
    return 0;
}

/* Everything about the weights file, in the order in which a person would want to hear of it. */
static int load_weights(struct load *l, int allow_no_effect, struct err *e)
{
    if (place_tensors(l, e) != 0 || check_complete(l, e) != 0 || check_shapes(l, e) != 0)
        return -1;
    if (make_room(l, e) != 0 || read_values(l, e) != 0 || check_products(l, e) != 0)
        return -1;
    if (check_base_copies(l, e) != 0)
        return -1;
    if (!allow_no_effect && check_effect(l, e) != 0)
        return -1;
    return make_parts(l, e);
}

/* An error that names no field is about one of the two files. */
static int in_file(struct err *e, const char *file)
{
    return e->param[0] ? -1 : err_param(e, file);
}

static int load(struct load *l, int config_fd, int allow_no_effect, struct err *e)
{
    struct peft_config config;
    if (peft_config_init(&config, config_fd, e) != 0)
        return in_file(e, "adapter_config.json");
    if (open_weights(l, e) != 0) {
        peft_config_fini(&config);
        return in_file(e, "adapter_model.safetensors");
    }
    int result = peft_match(l->model, &config, l->targets, e);
    peft_config_fini(&config);
    if (result != 0)
        return in_file(e, "adapter_config.json");
    return load_weights(l, allow_no_effect, e) == 0 ? 0 : in_file(e, "adapter_model.safetensors");
}

int peft_load(struct peft **out, const struct model *m, int config_fd, int weights_fd, int allow_no_effect,
              struct err *e)
{
    struct load l = {.model = m, .weights_fd = weights_fd};
    l.sites = model_sites(m, &l.site_count);
    l.targets = calloc(l.site_count, sizeof *l.targets);
    l.slots = calloc(l.site_count, sizeof *l.slots);
    l.result = calloc(1, sizeof *l.result);
    int result = l.targets && l.slots && l.result ? load(&l, config_fd, allow_no_effect, e) : err_memory(e);
    safetensors_close(l.weights);
    free(l.targets);
    free(l.slots);
    if (result == 0)
        *out = l.result;
    else
        peft_free(l.result);
    return result;
}

void peft_free(struct peft *p)
{
    if (!p)
        return;
    free(p->parts);
    free(p->values);
    free(p);
}

const struct delta_source *peft_source(const struct peft *p)
{
    return &p->source;
}

const struct peft_info *peft_info(const struct peft *p)
{
    return &p->info;
}

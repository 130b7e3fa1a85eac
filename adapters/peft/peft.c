#include "adapters/peft/peft.h"

#include <fcntl.h>
#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapters/peft/peft_stages.h"
#include "adapters/types/files.h"
#include "core/system/file.h"
#include "core/system/hugepage.h"
#include "core/kernels/vector.h"

enum { HEADER_BYTES_MAX = 1 << 20 };

struct peft {
    struct delta_source source;
    struct delta_part *parts;               /* owned, in order of site */
    struct delta_replacement *replacements; /* owned, in order of parameter */
    struct delta_rows *rows;                /* owned, in order of parameter */
    void **kept; /* owned, [kept_count], and what it has: values of replaced tensors and rows */
    size_t kept_count;
    struct peft_site *sites;     /* owned, one for each of the model: its tensors */
    struct safetensors *weights; /* owned */
    int weights_fd;              /* owned */
    float *values;               /* owned: room for A, B and magnitude of any one part */
    size_t values_bytes;
    struct peft_info info;
    struct warnings warnings;
};

/* ---- values ---- */

static int64_t site_elements(const struct peft_site *s)
{
    int64_t count = 0;
    for (int v = 0; v < DELTA_VALUES; v++)
        count += s->tensors[v] ? tensor_elements(s->tensors[v]) : 0;
    return count;
}

/* A part's values, in the room that there is for one. */
static int read_part(void *arg, struct delta_part *part, struct err *e)
{
    const struct peft *p = arg;
    const struct peft_site *s = &p->sites[part->site];
    float *next = p->values;
    for (int v = 0; v < DELTA_VALUES; v++) {
        const struct tensor *t = s->tensors[v];
        bool turned = s->turned && (v == DELTA_A || v == DELTA_B);
        if (t && (turned ? peft_tied_read(p->weights_fd, t, next, e)
                         : safetensors_read(p->weights_fd, t, next, 0, e)) != 0)
            return -1;
        part->values[v] = t ? next : NULL;
        next += t ? tensor_elements(t) : 0;
    }
    return 0;
}

/* ---- effect ---- */

/* Finite factors whose product may not be: bounds for scale * B and for the entries of scale * B A. */
static int check_products(const struct peft_load *l, struct err *e)
{
    for (size_t i = 0; i < l->site_count; i++) {
        const struct peft_site *s = &l->site_found[i];
        double scaled = fabs(l->targets[i].scale) * s->largest[DELTA_B],
               product = scaled * s->largest[DELTA_A] * l->targets[i].rank;
        if (!l->targets[i].targeted || (scaled <= FLT_MAX && product <= FLT_MAX))
            continue;
        return err_set(
            e, "adapter_not_finite",
            "module %s: scale * lora_B * lora_A can reach %.3g, more than f32 holds (largest magnitudes: "
            "A %.3g, B %.3g; scale %.3g)",
            l->sites[i].path, fmax(product, scaled), s->largest[DELTA_A], s->largest[DELTA_B],
            l->targets[i].scale);
    }
    return 0;
}

/* Products need both factors; what comes behind the magnitude is added by itself. */
static bool changes_site(const struct peft_site *s)
{
    double largest = s->largest[DELTA_A] > 0 ? s->largest[DELTA_B] : 0;
    for (int v = DELTA_MAGNITUDE + 1; v < DELTA_VALUES; v++)
        largest = fmax(largest, s->largest[v]);
    return largest > 0;
}

static bool has_effect(const struct peft_load *l)
{
    for (size_t i = 0; i < l->site_count; i++)
        if (l->targets[i].targeted && l->targets[i].scale != 0 && changes_site(&l->site_found[i]))
            return true;
    for (size_t i = 0; i < l->parameter_count; i++)
        if (l->rows[i].differs)
            return true;
    if (l->head.head || l->vocab)
        return true;
    return l->result->source.replacement_count > 0;
}

static int check_effect(const struct peft_load *l, struct err *e)
{
    if (has_effect(l))
        return 0;
    err_set(e, "adapter_no_effect",
            "the adapter changes nothing: in every module lora_A, lora_B or the scale is zero");
    return err_hint(
        e, "An adapter saved before training has lora_B = 0. To store it all the same, set allow_no_effect.");
}

/* ---- replaced tensors ---- */

/* What stands in a parameter at last: its own values or, of a shared matrix, its partner's; NULL: the
 * base's. */
static const float *final_values(const struct peft_load *l, int parameter)
{
    const struct peft_parameter *own = &l->parameter_found[parameter];
    int other = peft_tied_partner(l, parameter);
    if (l->tied.saves && parameter == l->tied.head_parameter)
        return l->parameter_found[other].values; /* the same, once in memory */
    if (own->tensor || other < 0 || l->saved[other])
        return own->values;
    return l->parameter_found[other].values;
}

/* Are both sides' numbers the same, those of the base's rows and those behind them? */
static bool is_one_matrix(const struct peft_load *l, int parameter, int other)
{
    const struct peft_parameter *a = &l->parameter_found[parameter], *b = &l->parameter_found[other];
    size_t row = (size_t)l->parameters[parameter].cols * sizeof *a->values,
           rows = (size_t)l->parameters[parameter].rows, more = a->more ? (size_t)l->vocab - rows : 0;
    if (!a->values != !b->values || (a->values && memcmp(a->values, b->values, rows * row) != 0))
        return false;
    return !a->more == !b->more && (!a->more || memcmp(a->more, b->more, more * row) == 0);
}

/* A shared matrix that is given twice, and not the same. PEFT would keep the one that it loads last. Saved
 * modules are copies of their own, but with ensure_weight_tying. */
static int check_shared(const struct peft_load *l, struct err *e)
{
    for (size_t i = 0; i < l->parameter_count; i++) {
        const struct peft_parameter *own = &l->parameter_found[i];
        int other = own->tensor ? peft_tied_partner(l, (int)i) : -1;
        if (other < 0 || !l->parameter_found[other].tensor ||
            (!l->tied.saves && (l->saved[i] || l->saved[other])) || is_one_matrix(l, (int)i, other))
            continue;
        return err_set(e, "adapter_unsupported_feature",
                       "tensors %s and %s differ, but are one matrix in this base", own->tensor->name,
                       l->parameter_found[other].tensor->name);
    }
    return 0;
}

static int make_replacements(struct peft_load *l, struct err *e)
{
    struct peft *p = l->result;
    p->replacements = calloc(l->parameter_count + 1, sizeof *p->replacements);
    if (!p->replacements)
        return err_memory(e);
    size_t count = 0;
    for (size_t i = 0; i < l->parameter_count; i++) {
        const float *values = final_values(l, (int)i);
        if (values)
            p->replacements[count++] = (struct delta_replacement){(int)i, values};
    }
    p->source.replacements = p->replacements;
    p->source.replacement_count = count;
    return 0;
}

static int make_rows(struct peft_load *l, struct err *e)
{
    struct peft *p = l->result;
    p->rows = calloc(l->parameter_count + 1, sizeof *p->rows);
    if (!p->rows)
        return err_memory(e);
    size_t count = 0;
    for (size_t i = 0; i < l->parameter_count; i++) {
        if (!l->rows[i].indices && !peft_vocab_more(l, (int)i))
            continue;
        if (peft_vocab_merge(l, (int)i, &p->rows[count++], e) != 0)
            return -1;
        p->info.changes_rows |= peft_vocab_more(l, (int)i) || l->rows[l->rows[i].source].differs;
    }
    p->source.rows = p->rows;
    p->source.rows_count = count;
    p->source.vocab = p->info.vocab = l->vocab;
    return 0;
}

/* ---- putting it together ---- */

static int open_weights(struct peft_load *l, struct err *e)
{
    struct stat status;
    if (fstat(l->weights_fd, &status) != 0)
        return err_errno(e, "cannot look at adapter_model.safetensors");
    if ((uint64_t)status.st_size > ADAPTER_WEIGHTS_BYTES_MAX)
        return err_set(e, "safetensors_malformed", "the file has %lld bytes; at most %llu are accepted",
                       (long long)status.st_size, (unsigned long long)ADAPTER_WEIGHTS_BYTES_MAX);
    if (safetensors_open(&l->weights, l->weights_fd, HEADER_BYTES_MAX, e) != 0)
        return -1;
    l->result->weights = l->weights;
    return 0;
}

/* For the values of the largest part. */
static int make_room(struct peft *p, struct err *e)
{
    int64_t largest = 0;
    for (size_t i = 0; i < p->source.count; i++) {
        int64_t elements = site_elements(&p->sites[p->parts[i].site]);
        p->info.parameters += elements;
        if (elements > largest)
            largest = elements;
    }
    p->values_bytes = (size_t)largest * sizeof *p->values;
    p->values = hugepage_new(p->values_bytes);
    return p->values ? 0 : err_memory(e);
}

static int make_parts(struct peft_load *l, struct err *e)
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
        struct delta_part *part = &p->parts[count++];
        *part = (struct delta_part){.site = (int)i, .rank = t->rank, .scale = (float)t->scale};
        for (int v = 0; v < DELTA_VALUES; v++)
            part->has[v] = l->site_found[i].tensors[v] != NULL;
        if (t->rank > p->info.rank_max)
            p->info.rank_max = t->rank;
    }
    p->source.parts = p->parts;
    p->source.count = count;
    p->source.read = read_part;
    p->source.arg = p;
    p->info.sites = (int)count;
    return make_room(p, e);
}

/* Everything about the weights file, in the order in which a person would want to hear of it. */
static int load_weights(struct peft_load *l, struct err *e)
{
    if (peft_place_all(l, e) != 0 || peft_values(l, e) != 0 || check_products(l, e) != 0)
        return -1;
    if (check_shared(l, e) != 0 || make_replacements(l, e) != 0 || make_rows(l, e) != 0)
        return -1;
    if (!l->stored && !l->allow_no_effect && check_effect(l, e) != 0)
        return -1;
    return make_parts(l, e);
}

/* An error that names no field is about one of the two files. */
static int in_file(struct err *e, const char *file)
{
    return e->param[0] ? -1 : err_param(e, file);
}

static int load(struct peft_load *l, int config_fd, struct err *e)
{
    if (peft_config_init(&l->config, config_fd, e) != 0)
        return in_file(e, "adapter_config.json");
    peft_head_settle(l);
    if (open_weights(l, e) != 0)
        return in_file(e, "adapter_model.safetensors");
    peft_path_find(l);
    if (peft_match(l, e) != 0 || peft_saved(l, e) != 0 || peft_rows(l, e) != 0)
        return in_file(e, "adapter_config.json");
    return load_weights(l, e) == 0 ? 0 : in_file(e, "adapter_model.safetensors");
}

static int allocate(struct peft_load *l, struct err *e)
{
    l->sites = model_sites(l->model, &l->site_count);
    l->parameters = model_parameters(l->model, &l->parameter_count);
    l->targets = calloc(l->site_count, sizeof *l->targets);
    l->saved = calloc(l->parameter_count, sizeof *l->saved);
    l->parameter_found = calloc(l->parameter_count, sizeof *l->parameter_found);
    l->rows = calloc(l->parameter_count, sizeof *l->rows);
    l->result = calloc(1, sizeof *l->result);
    if (!l->targets || !l->saved || !l->parameter_found || !l->rows || !l->result)
        return err_memory(e);
    l->result->weights_fd = -1;
    l->warnings = &l->result->warnings;
    l->result->kept = l->kept = calloc(PEFT_KEPT * l->parameter_count, sizeof *l->kept);
    l->result->sites = l->site_found = calloc(l->site_count, sizeof *l->site_found);
    return l->kept && l->site_found ? 0 : err_memory(e);
}

/* The caller may close its own. */
static int keep_descriptor(struct peft_load *l, int weights_fd, struct err *e)
{
    l->weights_fd = l->result->weights_fd = fcntl(weights_fd, F_DUPFD_CLOEXEC, 0);
    return l->weights_fd >= 0 ? 0 : err_errno(e, "cannot keep adapter_model.safetensors open");
}

/* Hand over what the stages found out. */
static void finish(struct peft_load *l)
{
    struct peft *p = l->result;
    p->kept_count = l->kept_count;
    p->source.head = l->head.head;
    p->info.task = l->head.head ? l->head.head->kind : HEAD_NONE;
    p->info.parameters += l->elements;
    memcpy(p->info.version, l->version, SHA256_BYTES);
}

int peft_load(struct peft **out, const struct model *m, int config_fd, int weights_fd, unsigned options,
              struct err *e)
{
    struct peft_load l = {.model = m,
                          .stored = (options & PEFT_STORED) != 0,
                          .allow_no_effect = (options & PEFT_ALLOW_NO_EFFECT) != 0};
    int result =
        allocate(&l, e) == 0 && keep_descriptor(&l, weights_fd, e) == 0 ? load(&l, config_fd, e) : -1;
    peft_config_fini(&l.config);
    free(l.targets);
    free(l.saved);
    free(l.parameter_found);
    free(l.rows);
    if (l.result)
        finish(&l);
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
    for (size_t i = 0; i < p->kept_count; i++)
        free(p->kept[i]);
    free(p->kept);
    free(p->replacements);
    free(p->rows);
    free(p->parts);
    free(p->sites);
    safetensors_close(p->weights);
    if (p->weights_fd >= 0)
        close(p->weights_fd);
    hugepage_free(p->values, p->values_bytes);
    warnings_fini(&p->warnings);
    head_unref(p->source.head);
    free(p);
}

const struct delta_source *peft_source(const struct peft *p)
{
    return &p->source;
}

struct warnings *peft_warnings(struct peft *p)
{
    return &p->warnings;
}

const struct peft_info *peft_info(const struct peft *p)
{
    return &p->info;
}

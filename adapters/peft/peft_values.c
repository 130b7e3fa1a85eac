/* What the tensors of a file hold: numbers that are finite, what differs from the base, the version. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/peft/peft_stages.h"
#include "core/kernels/vector.h"
#include "core/system/file.h"

enum { READ_BYTES = 16384, COMPARE = 4096 };

static int check_finite(const struct tensor *t, const float *values, size_t count, double *largest,
                        struct err *e)
{
    float found = vector_largest(values, count);
    if (!isfinite(found))
        return err_set(e, "adapter_not_finite", "tensor %s contains %s", t->name,
                       isnan(found) ? "NaN" : "an infinity");
    *largest = fmax(*largest, (double)found);
    return 0;
}

/* Look at a tensor's numbers once: their largest magnitude, the hash of their bytes (zeros where no version
 * is computed), and, where `out` is given, they themselves, widened. */
static int scan_tensor(const struct peft_load *l, const struct tensor *t, float *out, double *largest,
                       uint8_t digest[SHA256_BYTES], struct err *e)
{
    char chunk[READ_BYTES];
    float widened[READ_BYTES / 2];
    struct sha256 hash;
    sha256_init(&hash);
    size_t size = dtype_size(t->dtype);
    for (uint64_t done = 0; done < t->bytes;) {
        size_t length = t->bytes - done < READ_BYTES ? (size_t)(t->bytes - done) : READ_BYTES;
        float *values = out ? out + done / size : widened;
        if (file_pread(l->weights_fd, chunk, length, t->offset + done, e) != 0)
            return -1;
        if (!l->stored)
            sha256_update(&hash, chunk, length);
        dtype_widen(t->dtype, chunk, values, length / size);
        if (check_finite(t, values, length / size, largest, e) != 0)
            return -1;
        done += length;
    }
    memset(digest, 0, SHA256_BYTES);
    if (!l->stored)
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

/* Without the adapter's name, where the tensor's has that in it. */
static void add_tensor(struct sha256 *version, const struct tensor *t, struct peft_place place,
                       const uint8_t digest[SHA256_BYTES])
{
    char shape[128], hex[SHA256_HEX + 1];
    int before = place.name_length ? place.name_at : 0;
    tensor_shape_text(t, shape, sizeof shape);
    hex_encode(digest, SHA256_BYTES, hex);
    add_line(version, "tensor %.*s%s %s %s %s\n", before, t->name, t->name + before + place.name_length,
             dtype_name(t->dtype), shape, hex);
}

/* Sets *differs where the values are not elements [at, at + count) of the base's tensor. */
static int compare_base(const struct model *m, int parameter, size_t at, const float *values, size_t count,
                        bool *differs, struct err *e)
{
    float base[COMPARE];
    for (size_t done = 0; done < count && !*differs; done += COMPARE) {
        size_t length = count - done < COMPARE ? count - done : COMPARE;
        if (model_parameter_values(m, parameter, at + done, length, base, e) != 0)
            return -1;
        for (size_t i = 0; i < length; i++)
            *differs |= values[done + i] != base[i];
    }
    return 0;
}

/* The rows behind the base's, by themselves. */
static int keep_more(struct peft_load *l, int parameter, const float *values, size_t base, size_t count,
                     struct err *e)
{
    float *more = malloc((count - base) * sizeof *more);
    l->kept[l->kept_count++] = more;
    if (!more)
        return err_memory(e);
    memcpy(more, values + base, (count - base) * sizeof *more);
    l->parameter_found[parameter].more = more;
    return 0;
}

/* What the file says of a tensor that it has in `values`, of the base's `base` numbers. Rows that it has not
 * are the base's. */
static int look_at(struct peft_load *l, int parameter, float *values, size_t base, size_t count,
                   struct err *e)
{
    struct peft_parameter *s = &l->parameter_found[parameter];
    size_t common = count < base ? count : base;
    if (compare_base(l->model, parameter, 0, values, common, &s->differs, e) != 0)
        return -1;
    if (count > base && keep_more(l, parameter, values, base, count, e) != 0)
        return -1;
    if (count < base && s->differs)
        return model_parameter_values(l->model, parameter, count, base - count, values + count, e);
    return 0;
}

/* A tensor that equals the base's is dropped. */
static int read_parameter(struct peft_load *l, struct peft_place place, struct sha256 *version, struct err *e)
{
    struct peft_parameter *s = &l->parameter_found[place.index];
    const struct parameter *p = &l->parameters[place.index];
    size_t count = (size_t)tensor_elements(s->tensor),
           base = (size_t)p->rows * (size_t)(p->cols ? p->cols : 1);
    uint8_t digest[SHA256_BYTES];
    double largest = 0;
    float *values = malloc((count > base ? count : base) * sizeof *values);
    if (!values)
        return err_memory(e);
    int result = scan_tensor(l, s->tensor, values, &largest, digest, e);
    if (result == 0)
        result = look_at(l, place.index, values, base, count, e);
    if (result == 0 && (s->differs || count != base)) {
        l->elements += (int64_t)count;
        add_tensor(version, s->tensor, place, digest);
    }
    if (result == 0 && s->differs)
        s->values = l->kept[l->kept_count++] = values;
    else
        free(values);
    return result;
}

/* What was stored was looked at before, and is read when its part is asked for. */
static int scan_site(struct peft_load *l, struct peft_place place, const struct tensor *t,
                     struct sha256 *version, struct err *e)
{
    struct peft_site *s = &l->site_found[place.index];
    uint8_t digest[SHA256_BYTES];
    if (l->stored)
        return 0;
    if (scan_tensor(l, t, NULL, &s->largest[place.role], digest, e) != 0)
        return -1;
    add_tensor(version, t, place, digest);
    return 0;
}

static int compare_rows(struct peft_load *l, int parameter, struct err *e)
{
    struct peft_rows *r = &l->rows[parameter];
    size_t cols = (size_t)l->parameters[parameter].cols;
    for (int i = 0; i < r->count && !r->differs; i++)
        if (r->index[i] >= l->parameters[parameter].rows)
            r->differs = true;
        else if (compare_base(l->model, parameter, (size_t)r->index[i] * cols, r->values + (size_t)i * cols,
                              cols, &r->differs, e) != 0)
            return -1;
    return 0;
}

static int read_rows(struct peft_load *l, struct peft_place place, struct sha256 *version, struct err *e)
{
    struct peft_rows *r = &l->rows[place.index];
    size_t count = (size_t)tensor_elements(r->tensor);
    uint8_t digest[SHA256_BYTES];
    double largest = 0;
    float *values = malloc(count * sizeof *values);
    if (!values)
        return err_memory(e);
    int result = scan_tensor(l, r->tensor, values, &largest, digest, e);
    if (result == 0)
        result = peft_rows_sort(l, place.index, values, e);
    free(values);
    if (result == 0)
        result = compare_rows(l, place.index, e);
    if (result != 0)
        return -1;
    l->elements += (int64_t)count;
    add_tensor(version, r->tensor, place, digest);
    return 0;
}

/* Not used, and so no part of the version; but every number of a file is finite. */
static int scan_copy(struct peft_load *l, const struct tensor *t, struct err *e)
{
    uint8_t ignored[SHA256_BYTES];
    double largest = 0;
    return l->stored ? 0 : scan_tensor(l, t, NULL, &largest, ignored, e);
}

/* The base's own beside a saved one. Where lm_head and the embedding are one matrix, PEFT loads it into the
 * other one, too, unless that is saved as well. */
static int scan_original(struct peft_load *l, struct peft_place place, const struct tensor *t, struct err *e)
{
    int other = peft_tied_partner(l, place.index);
    const struct parameter *p = &l->parameters[place.index];
    size_t count = (size_t)tensor_elements(t), base = (size_t)p->rows * (size_t)(p->cols ? p->cols : 1);
    uint8_t ignored[SHA256_BYTES];
    double largest = 0;
    bool differs = false;
    if (l->stored || other < 0 || l->saved[other])
        return scan_copy(l, t, e);
    float *values = malloc(count * sizeof *values);
    if (!values)
        return err_memory(e);
    int result = scan_tensor(l, t, values, &largest, ignored, e);
    if (result == 0)
        result = compare_base(l->model, place.index, 0, values, count < base ? count : base, &differs, e);
    free(values);
    if (result != 0 || !differs)
        return result;
    return err_set(e, "adapter_unsupported_feature",
                   "tensor %s is another matrix than this base has, and %s is not saved", t->name,
                   l->parameters[other].path);
}

/* Its numbers, widened into what gives the labels. */
static int read_head(struct peft_load *l, struct peft_place place, const struct tensor *t,
                     struct sha256 *version, struct err *e)
{
    struct head *h = l->head.head;
    uint8_t digest[SHA256_BYTES];
    double largest = 0;
    if (scan_tensor(l, t, place.index ? h->bias : h->weight, &largest, digest, e) != 0)
        return -1;
    add_tensor(version, t, place, digest);
    return 0;
}

static int scan_one(struct peft_load *l, struct peft_place place, const struct tensor *t,
                    struct sha256 *version, struct err *e)
{
    switch (place.role) {
    case PEFT_ROLE_BASE:
        return read_parameter(l, place, version, e);
    case PEFT_ROLE_ROWS:
        return read_rows(l, place, version, e);
    case PEFT_ROLE_COPY:
        return scan_copy(l, t, e);
    case PEFT_ROLE_ORIGINAL:
        return scan_original(l, place, t, e);
    case PEFT_ROLE_HEAD:
        return read_head(l, place, t, version, e);
    case PEFT_ROLE_HEAD_COPY:
        return scan_copy(l, t, e);
    default: /* or what is the same under another name */
        return t == l->site_found[place.index].tensors[place.role] ? scan_site(l, place, t, version, e) : 0;
    }
}

/* Goes through every tensor in order of name. */
static int scan_tensors(struct peft_load *l, struct sha256 *version, struct err *e)
{
    for (size_t i = 0; i < safetensors_count(l->weights); i++) {
        const struct tensor *t = safetensors_at(l->weights, i);
        struct peft_place place;
        if (peft_place_find(l, t, &place, e) != 0)
            return -1;
        if (scan_one(l, place, t, version, e) != 0)
            return -1;
    }
    return 0;
}

/* Where lm_head and the embedding are one matrix, a saved module is a copy of its own, and another tensor
 * changes both. */
static void add_saved(const struct peft_load *l, struct sha256 *version)
{
    for (size_t i = 0; i < safetensors_count(l->weights); i++) {
        const struct tensor *t = safetensors_at(l->weights, i);
        struct peft_place place;
        struct err ignored;
        if (peft_place_find(l, t, &place, &ignored) == 0 && place.role == PEFT_ROLE_BASE &&
            l->saved[place.index] && peft_tied_partner(l, place.index) >= 0)
            add_line(version, "saved %s\n", t->name);
    }
}

/* The SHA-256 of the indices, in order of the file's rows, as decimal numbers with commas between them. */
static void hash_indices(json_t *indices, char hex[SHA256_HEX + 1])
{
    struct sha256 hash;
    uint8_t digest[SHA256_BYTES];
    size_t i;
    json_t *index;
    sha256_init(&hash);
    json_array_foreach(indices, i, index)
    {
        char text[32];
        int length = snprintf(text, sizeof text, "%s%lld", i ? "," : "", json_integer_value(index));
        sha256_update(&hash, text, (size_t)length);
    }
    sha256_final(&hash, digest);
    hex_encode(digest, SHA256_BYTES, hex);
}

static void add_rows(const struct peft_load *l, struct sha256 *version)
{
    char hex[SHA256_HEX + 1];
    for (size_t i = 0; i < l->parameter_count; i++) {
        const struct peft_rows *r = &l->rows[i];
        if (!r->indices)
            continue;
        hash_indices(r->indices, hex);
        add_line(version, "rows %s %s %s\n", l->parameters[i].path, l->parameters[r->source].path, hex);
    }
}

static int compare_paths(const void *left, const void *right)
{
    const struct site *const *a = left, *const *b = right;
    return strcmp((*a)->path, (*b)->path);
}

static int add_sites(const struct peft_load *l, struct sha256 *version, struct err *e)
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

int peft_values(struct peft_load *l, struct err *e)
{
    struct sha256 version;
    sha256_init(&version);
    add_line(&version, "adapterd adapter 1\n");
    if (peft_head_new(l, e) != 0 || scan_tensors(l, &version, e) != 0 || peft_tied_check(l, e) != 0)
        return -1;
    if (l->stored)
        return 0;
    if (add_sites(l, &version, e) != 0)
        return -1;
    add_saved(l, &version);
    add_rows(l, &version);
    peft_head_hash(l, &version);
    sha256_final(&version, l->version);
    return 0;
}

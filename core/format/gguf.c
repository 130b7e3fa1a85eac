#include "core/format/gguf.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/system/file.h"

enum { MARK_BYTES = 4, KEY_BYTES_MAX = 256, DIMENSIONS = 4, ALIGNMENT_DEFAULT = 32, ALIGNMENT_MAX = 1 << 16 };
#define DIMENSION_MAX (INT64_C(1) << 32)

enum value_type {
    VALUE_U8,
    VALUE_I8,
    VALUE_U16,
    VALUE_I16,
    VALUE_U32,
    VALUE_I32,
    VALUE_F32,
    VALUE_BOOL,
    VALUE_STRING,
    VALUE_ARRAY,
    VALUE_U64,
    VALUE_I64,
    VALUE_F64,
    VALUE_TYPES
};
static const size_t value_bytes[VALUE_TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

struct reader {
    const unsigned char *data; /* the beginning of the file */
    size_t size, at;
    uint64_t file_bytes;
    uint32_t alignment;
    struct gguf *out;
    unsigned seen; /* one bit for each known key */
};

static const char malformed[] = "gguf_malformed";

/* ---- primitives: each is checked against what is left ---- */

static const unsigned char *take(struct reader *r, uint64_t count, struct err *e)
{
    if (count <= r->size - r->at) {
        r->at += (size_t)count;
        return r->data + r->at - count;
    }
    if (r->size == GGUF_HEADER_BYTES_MAX)
        err_set(e, malformed, "the header is longer than %d bytes, or damaged", GGUF_HEADER_BYTES_MAX);
    else
        err_set(e, malformed, "the file ends within its header: %llu bytes are wanted at byte %zu of %zu",
                (unsigned long long)count, r->at, r->size);
    return NULL;
}

static int take_number(struct reader *r, size_t bytes, uint64_t *out, struct err *e)
{
    const unsigned char *p = take(r, bytes, e);
    if (!p)
        return -1;
    *out = 0;
    for (size_t i = bytes; i > 0; i--)
        *out = *out << 8 | p[i - 1];
    return 0;
}

struct text { /* in the header; not terminated */
    const char *bytes;
    size_t length;
};

static int take_text(struct reader *r, struct text *out, struct err *e)
{
    uint64_t length;
    if (take_number(r, 8, &length, e) != 0)
        return -1;
    const unsigned char *p = take(r, length, e);
    if (!p)
        return -1;
    *out = (struct text){(const char *)p, (size_t)length};
    return 0;
}

static int copy_text(struct text t, const char *what, char out[GGUF_TEXT_MAX + 1], struct err *e)
{
    if (t.length > GGUF_TEXT_MAX || memchr(t.bytes, '\0', t.length))
        return err_set(e, malformed, "%s \"%.*s\" is longer than %d bytes, or holds a NUL", what,
                       (int)(t.length < GGUF_TEXT_MAX ? t.length : GGUF_TEXT_MAX), t.bytes, GGUF_TEXT_MAX);
    memcpy(out, t.bytes, t.length);
    out[t.length] = '\0';
    return 0;
}

static bool is(struct text t, const char *name)
{
    return t.length == strlen(name) && memcmp(t.bytes, name, t.length) == 0;
}

/* ---- keys and values ---- */

static int skip_array(struct reader *r, struct err *e)
{
    uint64_t type, count;
    if (take_number(r, 4, &type, e) != 0 || take_number(r, 8, &count, e) != 0)
        return -1;
    if (type >= VALUE_TYPES || type == VALUE_ARRAY)
        return err_set(e, malformed, "an array of type %llu cannot be read", (unsigned long long)type);
    if (count > GGUF_HEADER_BYTES_MAX)
        return err_set(e, malformed, "an array of %llu values is longer than any header",
                       (unsigned long long)count);
    if (type != VALUE_STRING)
        return take(r, count * value_bytes[type], e) ? 0 : -1;
    struct text ignored;
    for (uint64_t i = 0; i < count; i++)
        if (take_text(r, &ignored, e) != 0)
            return -1;
    return 0;
}

static int skip_value(struct reader *r, uint64_t type, struct err *e)
{
    struct text ignored;
    if (type >= VALUE_TYPES)
        return err_set(e, malformed, "a value of type %llu does not exist in the format",
                       (unsigned long long)type);
    if (type == VALUE_STRING)
        return take_text(r, &ignored, e);
    return type == VALUE_ARRAY ? skip_array(r, e) : take(r, value_bytes[type], e) ? 0 : -1;
}

static int wrong_type(const char *key, const char *expected, uint64_t type, struct err *e)
{
    return err_set(e, malformed, "%s has a value of type %llu, expected %s", key, (unsigned long long)type,
                   expected);
}

static int read_text_value(struct reader *r, uint64_t type, const char *key, char out[GGUF_TEXT_MAX + 1],
                           struct err *e)
{
    struct text t;
    if (type != VALUE_STRING)
        return wrong_type(key, "a string", type, e);
    return take_text(r, &t, e) != 0 ? -1 : copy_text(t, key, out, e);
}

static int read_alpha(struct reader *r, uint64_t type, struct err *e)
{
    uint64_t bits;
    if (type != VALUE_F32)
        return wrong_type("adapter.lora.alpha", "F32", type, e);
    if (take_number(r, 4, &bits, e) != 0)
        return -1;
    uint32_t word = (uint32_t)bits;
    memcpy(&r->out->alpha, &word, sizeof word);
    return isfinite(r->out->alpha) ? 0 : err_set(e, "adapter_not_finite", "adapter.lora.alpha is not finite");
}

static int read_alignment(struct reader *r, uint64_t type, struct err *e)
{
    uint64_t value;
    if (type != VALUE_U32)
        return wrong_type("general.alignment", "U32", type, e);
    if (take_number(r, 4, &value, e) != 0)
        return -1;
    if (value < 8 || value > ALIGNMENT_MAX || (value & (value - 1)) != 0)
        return err_set(e, malformed, "general.alignment is %llu, expected a power of two from 8 to %d",
                       (unsigned long long)value, ALIGNMENT_MAX);
    r->alignment = (uint32_t)value;
    return 0;
}

enum key { KEY_TYPE, KEY_ARCHITECTURE, KEY_ADAPTER, KEY_ALPHA, KEY_ALIGNMENT, KEY_TASK, KEY_PROMPT, KEYS };
static const char *const keys[KEYS] = {"general.type",
                                       "general.architecture",
                                       "adapter.type",
                                       "adapter.lora.alpha",
                                       "general.alignment",
                                       "adapter.lora.task_name",
                                       "adapter.lora.prompt_prefix"};

static int read_known(struct reader *r, enum key key, uint64_t type, struct err *e)
{
    struct gguf *g = r->out;
    switch (key) {
    case KEY_TYPE:
        return read_text_value(r, type, keys[key], g->type, e);
    case KEY_ARCHITECTURE:
        return read_text_value(r, type, keys[key], g->architecture, e);
    case KEY_ADAPTER:
        return read_text_value(r, type, keys[key], g->adapter, e);
    case KEY_ALPHA:
        return read_alpha(r, type, e);
    case KEY_ALIGNMENT:
        return read_alignment(r, type, e);
    default: /* descriptions for people, which are skipped */
        return skip_value(r, type, e);
    }
}

static int read_pair(struct reader *r, struct err *e)
{
    struct text key;
    uint64_t type;
    if (take_text(r, &key, e) != 0 || take_number(r, 4, &type, e) != 0)
        return -1;
    if (key.length == 0 || key.length > KEY_BYTES_MAX)
        return err_set(e, malformed, "a key has %zu bytes, expected 1 to %d", key.length, KEY_BYTES_MAX);
    for (int i = 0; i < KEYS; i++) {
        if (!is(key, keys[i]))
            continue;
        if (r->seen & 1u << i)
            return err_set(e, malformed, "the key %s is there twice", keys[i]);
        r->seen |= 1u << i;
        return read_known(r, (enum key)i, type, e);
    }
    struct text prefix = {key.bytes, key.length < 8 ? key.length : 8};
    if (is(prefix, "adapter.") && !r->out->unknown[0])
        return copy_text(key, "the key", r->out->unknown, e) != 0 ? -1 : skip_value(r, type, e);
    return skip_value(r, type, e);
}

/* ---- tensors ---- */

static int read_type(const struct gguf_tensor *t, uint64_t type, enum dtype *out, struct err *e)
{
    static const char *const others[] = {
        [2] = "Q4_0",  [3] = "Q4_1",  [6] = "Q5_0",  [7] = "Q5_1",  [8] = "Q8_0",  [9] = "Q8_1",
        [10] = "Q2_K", [11] = "Q3_K", [12] = "Q4_K", [13] = "Q5_K", [14] = "Q6_K", [15] = "Q8_K",
        [24] = "I8",   [25] = "I16",  [26] = "I32",  [27] = "I64",  [28] = "F64"};
    if (type == 0 || type == 1 || type == 30) {
        *out = type == 0 ? DTYPE_F32 : type == 1 ? DTYPE_F16 : DTYPE_BF16;
        return 0;
    }
    const char *name = type < sizeof others / sizeof *others ? others[type] : NULL;
    err_set(e, "adapter_unsupported_feature", "tensor %s has type %s (%llu); F32, F16 and BF16 are read",
            t->name, name ? name : "unknown", (unsigned long long)type);
    return err_hint(e, "convert the adapter with --outtype f32, f16 or bf16");
}

/* ggml leaves out dimensions of 1 at the end. */
static int read_dimensions(struct reader *r, struct gguf_tensor *t, struct err *e)
{
    uint64_t dimensions, n[DIMENSIONS] = {1, 1, 1, 1};
    if (take_number(r, 4, &dimensions, e) != 0)
        return -1;
    if (dimensions < 1 || dimensions > DIMENSIONS)
        return err_set(e, malformed, "tensor %s has %llu dimensions, expected 1 to %d", t->name,
                       (unsigned long long)dimensions, DIMENSIONS);
    for (uint64_t i = 0; i < dimensions; i++)
        if (take_number(r, 8, &n[i], e) != 0)
            return -1;
    if (n[2] != 1 || n[3] != 1 || n[0] < 1 || n[1] < 1 || n[0] > DIMENSION_MAX || n[1] > DIMENSION_MAX)
        return err_set(e, malformed,
                       "tensor %s has the dimensions %llu, %llu, %llu, %llu, which are no matrix", t->name,
                       (unsigned long long)n[0], (unsigned long long)n[1], (unsigned long long)n[2],
                       (unsigned long long)n[3]);
    t->columns = (int64_t)n[0];
    t->rows = (int64_t)n[1];
    return 0;
}

static int read_tensor(struct reader *r, struct gguf_tensor *t, struct err *e)
{
    struct text name;
    uint64_t type;
    if (take_text(r, &name, e) != 0 || copy_text(name, "the tensor", t->name, e) != 0 ||
        read_dimensions(r, t, e) != 0 || take_number(r, 4, &type, e) != 0 ||
        take_number(r, 8, &t->offset, e) != 0 || read_type(t, type, &t->dtype, e) != 0)
        return -1;
    uint64_t elements;
    if (__builtin_mul_overflow((uint64_t)t->columns, (uint64_t)t->rows, &elements) ||
        __builtin_mul_overflow(elements, (uint64_t)dtype_size(t->dtype), &t->bytes) ||
        t->bytes > r->file_bytes)
        return err_set(e, malformed, "tensor %s of %lld rows of %lld does not fit in a file of %llu bytes",
                       t->name, (long long)t->rows, (long long)t->columns, (unsigned long long)r->file_bytes);
    return 0;
}

static uint64_t aligned(const struct reader *r, uint64_t at)
{
    return (at + r->alignment - 1) / r->alignment * r->alignment;
}

/* Offsets become places in the file. Sums cannot overflow: each tensor is no larger than the file. */
static int place_tensors(struct reader *r, struct err *e)
{
    struct gguf *g = r->out;
    uint64_t start = aligned(r, r->at), next = 0, end = start;
    for (size_t i = 0; i < g->count; i++) {
        struct gguf_tensor *t = &g->tensors[i];
        if (t->offset != next)
            return err_set(e, malformed, "tensor %s is at byte %llu of the data, expected %llu", t->name,
                           (unsigned long long)t->offset, (unsigned long long)next);
        t->offset += start;
        end = t->offset + t->bytes;
        if (end > r->file_bytes)
            return err_set(e, malformed, "tensor %s ends at byte %llu, the file at %llu", t->name,
                           (unsigned long long)end, (unsigned long long)r->file_bytes);
        next = aligned(r, next + t->bytes);
    }
    if (r->file_bytes > start + next)
        return err_set(e, malformed, "%llu bytes follow the last tensor",
                       (unsigned long long)(r->file_bytes - start - next));
    return 0;
}

/* ---- the file ---- */

static int read_counts(struct reader *r, uint64_t *tensors, uint64_t *pairs, struct err *e)
{
    uint64_t version;
    if (!take(r, MARK_BYTES, e) || take_number(r, 4, &version, e) != 0)
        return -1;
    if (version != 2 && version != 3)
        return err_set(e, malformed, "the file has version %llu of GGUF, expected 2 or 3 (little-endian)",
                       (unsigned long long)version);
    if (take_number(r, 8, tensors, e) != 0 || take_number(r, 8, pairs, e) != 0)
        return -1;
    if (*tensors > GGUF_TENSORS_MAX || *pairs > GGUF_KEYS_MAX)
        return err_set(
            e, malformed, "the file has %llu tensors and %llu keys, at most %d and %d are accepted",
            (unsigned long long)*tensors, (unsigned long long)*pairs, GGUF_TENSORS_MAX, GGUF_KEYS_MAX);
    return 0;
}

static int read_header(struct reader *r, struct err *e)
{
    uint64_t tensors = 0, pairs = 0;
    if (read_counts(r, &tensors, &pairs, e) != 0)
        return -1;
    for (uint64_t i = 0; i < pairs; i++)
        if (read_pair(r, e) != 0)
            return -1;
    r->out->tensors = calloc((size_t)tensors + 1, sizeof *r->out->tensors);
    if (!r->out->tensors)
        return err_memory(e);
    r->out->count = (size_t)tensors;
    for (uint64_t i = 0; i < tensors; i++)
        if (read_tensor(r, &r->out->tensors[i], e) != 0)
            return -1;
    return place_tensors(r, e);
}

bool gguf_is(int fd)
{
    struct err ignored;
    char mark[MARK_BYTES];
    return file_pread(fd, mark, sizeof mark, 0, &ignored) == 0 && memcmp(mark, "GGUF", sizeof mark) == 0;
}

int gguf_open(struct gguf *g, int fd, struct err *e)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return err_errno(e, "cannot look at the GGUF file");
    uint64_t file_bytes = status.st_size > 0 ? (uint64_t)status.st_size : 0;
    size_t size = file_bytes < GGUF_HEADER_BYTES_MAX ? (size_t)file_bytes : GGUF_HEADER_BYTES_MAX;
    unsigned char *data = malloc(size + 1);
    if (!data)
        return err_memory(e);
    *g = (struct gguf){0};
    struct reader r = {
        .data = data, .size = size, .file_bytes = file_bytes, .alignment = ALIGNMENT_DEFAULT, .out = g};
    int result = file_pread(fd, data, size, 0, e) == 0 ? read_header(&r, e) : -1;
    free(data);
    if (result != 0)
        gguf_fini(g);
    return result;
}

void gguf_fini(struct gguf *g)
{
    free(g->tensors);
    *g = (struct gguf){0};
}

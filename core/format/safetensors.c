#include "core/format/safetensors.h"

#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/format/filetype.h"
#include "core/system/file.h"

enum { LENGTH_BYTES = 8, NAME_BYTES_MAX = 256, READ_BYTES = 16384 };
/* The reference implementation's own limit on the header. */
static const size_t header_bytes_max = 100000000;
static const char malformed[] = "safetensors_malformed";

struct safetensors {
    struct tensor *tensors; /* owned, sorted by name */
    size_t count;
    char *names; /* owned: what tensors[].name point into */
};

static uint64_t little_endian(const unsigned char *bytes)
{
    uint64_t value = 0;
    for (int i = LENGTH_BYTES - 1; i >= 0; i--)
        value = value << 8 | bytes[i];
    return value;
}

/* Read the length prefix and see whether a header of that length can be in this file. */
static int read_header_length(int fd, uint64_t file_bytes, size_t limit, size_t *header_bytes, struct err *e)
{
    unsigned char start[FILETYPE_BYTES] = {0};
    size_t have = file_bytes < sizeof start ? (size_t)file_bytes : sizeof start;
    if (file_pread(fd, start, have, 0, e) != 0)
        return -1;
    uint64_t length = little_endian(start), room = file_bytes < LENGTH_BYTES ? 0 : file_bytes - LENGTH_BYTES;
    /* A header of 640 bytes has a length that looks like a pickle's first two bytes; a pickle has no '{'
     * there. */
    bool possible = length <= room && start[LENGTH_BYTES] == '{';
    if (!possible &&
        filetype_refuse(start, have, false, "the weights are", "a safetensors file", malformed, e) != 0)
        return -1;
    if (have < LENGTH_BYTES)
        return err_set(e, malformed, "the file has %zu bytes; the header's length alone takes %d", have,
                       LENGTH_BYTES);
    if (length > room)
        return err_set(e, malformed, "the header should have %llu bytes, but only %llu follow",
                       (unsigned long long)length, (unsigned long long)room);
    if (limit > header_bytes_max)
        limit = header_bytes_max;
    if (length > limit)
        return err_set(e, malformed, "the header has %llu bytes; at most %zu are accepted",
                       (unsigned long long)length, limit);
    *header_bytes = (size_t)length;
    return 0;
}

/* No number in a header is negative; this one the JSON parser would take for 0. */
static bool has_negative_zero(const char *text, size_t length)
{
    bool in_string = false;
    for (size_t i = 0; i < length; i++) {
        if (in_string && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            in_string = !in_string;
        else if (!in_string && text[i] == '-' && i + 1 < length && text[i + 1] == '0')
            return true;
    }
    return false;
}

static int parse_header(const char *text, size_t length, json_t **out, struct err *e)
{
    if (length == 0 || text[0] != '{')
        return err_set(e, malformed, "the header does not start with '{'");
    if (memchr(text, '\0', length)) /* the parser would skip one behind a number */
        return err_set(e, malformed, "the header contains a zero byte");
    json_error_t parse;
    json_t *header = json_loadb(text, length, JSON_REJECT_DUPLICATES, &parse);
    if (!header)
        return err_set(e, malformed, "the header is not valid JSON: %s (byte %d)", parse.text,
                       parse.position);
    if (has_negative_zero(text, length)) {
        json_decref(header);
        return err_set(e, malformed, "the header contains the number -0");
    }
    *out = header;
    return 0;
}

static int check_metadata(json_t *metadata, struct err *e)
{
    if (!json_is_object(metadata))
        return err_set(e, malformed, "__metadata__ is not an object of strings");
    const char *key;
    json_t *value;
    json_object_foreach(metadata, key, value) if (!json_is_string(value)) return err_set(
        e, malformed, "__metadata__ has a value that is not a string");
    return 0;
}

/* A known dtype of the format that is not one of ours is told apart from one that does not exist. */
static int parse_dtype(const char *name, json_t *value, enum dtype *out, struct err *e)
{
    static const char *const others[] = {"BOOL",    "F4",      "F6_E2M3", "F6_E3M2", "U8",  "I8",
                                         "F8_E5M2", "F8_E4M3", "F8_E8M0", "I16",     "U16", "I32",
                                         "U32",     "F64",     "C64",     "I64",     "U64"};
    const char *dtype = json_string_value(value);
    if (!dtype)
        return err_set(e, malformed, "tensor %s: dtype is missing or not a string", name);
    for (enum dtype t = DTYPE_F32; t <= DTYPE_BF16; t++) {
        if (strcmp(dtype, dtype_name(t)) == 0) {
            *out = t;
            return 0;
        }
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(dtype, others[i]) == 0)
            return err_set(e, malformed, "tensor %s: dtype %s; only F32, F16 and BF16 are accepted", name,
                           dtype);
    return err_set(e, malformed, "tensor %s: dtype %s does not exist in the format", name,
                   json_string_length(value) > 32 ? "of more than 32 characters" : dtype);
}

/* Fills dimensions, shape and bytes. */
static int parse_shape(struct tensor *t, json_t *shape, struct err *e)
{
    if (!json_is_array(shape))
        return err_set(e, malformed, "tensor %s: shape is missing or not a list", t->name);
    if (json_array_size(shape) > TENSOR_DIMENSIONS_MAX)
        return err_set(e, malformed, "tensor %s: %zu dimensions; at most %d are accepted", t->name,
                       json_array_size(shape), TENSOR_DIMENSIONS_MAX);
    t->dimensions = (int)json_array_size(shape);
    uint64_t elements = 1;
    for (int i = 0; i < t->dimensions; i++) {
        json_t *size = json_array_get(shape, (size_t)i);
        if (!json_is_integer(size) || json_integer_value(size) < 0)
            return err_set(e, malformed, "tensor %s: dimension %d is not a whole number of 0 or more",
                           t->name, i);
        t->shape[i] = json_integer_value(size);
        if (__builtin_mul_overflow(elements, (uint64_t)t->shape[i], &elements))
            return err_set(e, malformed, "tensor %s: the product of its shape overflows", t->name);
    }
    if (__builtin_mul_overflow(elements, dtype_size(t->dtype), &t->bytes) || t->bytes > INT64_MAX)
        return err_set(e, malformed, "tensor %s: its size in bytes overflows", t->name);
    return 0;
}

/* Fills offset, still counted from the start of the data. */
static int parse_offsets(struct tensor *t, json_t *offsets, struct err *e)
{
    json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end) ||
        json_integer_value(begin) < 0 || json_integer_value(end) < 0)
        return err_set(e, malformed,
                       "tensor %s: data_offsets is not a list of two whole numbers of 0 or more", t->name);
    long long first = json_integer_value(begin), last = json_integer_value(end);
    if (last < first)
        return err_set(e, malformed, "tensor %s: data_offsets end at %lld, before their start %lld", t->name,
                       last, first);
    if ((uint64_t)(last - first) != t->bytes) {
        char shape[128];
        tensor_shape_text(t, shape, sizeof shape);
        return err_set(e, malformed, "tensor %s: %s of shape %s takes %llu bytes, but data_offsets span %lld",
                       t->name, dtype_name(t->dtype), shape, (unsigned long long)t->bytes, last - first);
    }
    t->offset = (uint64_t)first;
    return 0;
}

static int parse_tensor(struct tensor *t, json_t *entry, struct err *e)
{
    if (!json_is_object(entry))
        return err_set(e, malformed, "tensor %s: its entry is not an object", t->name);
    if (parse_dtype(t->name, json_object_get(entry, "dtype"), &t->dtype, e) != 0 ||
        parse_shape(t, json_object_get(entry, "shape"), e) != 0 ||
        parse_offsets(t, json_object_get(entry, "data_offsets"), e) != 0)
        return -1;
    if (json_object_size(entry) != 3)
        return err_set(e, malformed, "tensor %s: fields other than dtype, shape and data_offsets", t->name);
    return 0;
}

/* Copy the name to `*names` and move that on. All names fit: each stands in the header with two quotes. */
static int take_name(struct tensor *t, const char *key, char **names, struct err *e)
{
    size_t length = strlen(key);
    if (length == 0 || length > NAME_BYTES_MAX)
        return err_set(e, malformed, "a tensor's name has %zu bytes; 1 to %d are accepted", length,
                       NAME_BYTES_MAX);
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)key[i] < 0x20 || key[i] == 0x7F)
            return err_set(e, malformed, "a tensor's name contains a control character");
    t->name = memcpy(*names, key, length + 1);
    *names += length + 1;
    return 0;
}

static int parse_tensors(struct safetensors *s, json_t *header, struct err *e)
{
    char *names = s->names;
    const char *key;
    json_t *entry;
    json_object_foreach(header, key, entry)
    {
        if (strcmp(key, "__metadata__") == 0) {
            if (check_metadata(entry, e) != 0)
                return -1;
            continue;
        }
        struct tensor *t = &s->tensors[s->count];
        if (take_name(t, key, &names, e) != 0 || parse_tensor(t, entry, e) != 0)
            return -1;
        s->count++;
    }
    return 0;
}

static int compare_places(const void *left, const void *right)
{
    const struct tensor *a = left, *b = right;
    if (a->offset != b->offset)
        return a->offset < b->offset ? -1 : 1;
    return (a->bytes > b->bytes) - (a->bytes < b->bytes);
}

static int compare_names(const void *left, const void *right)
{
    return strcmp(((const struct tensor *)left)->name, ((const struct tensor *)right)->name);
}

/* The data of all tensors must cover [0, data_bytes) exactly. Turns offsets into places in the file. */
static int place_tensors(struct safetensors *s, uint64_t data_start, uint64_t data_bytes, struct err *e)
{
    qsort(s->tensors, s->count, sizeof *s->tensors, compare_places);
    uint64_t end = 0;
    for (size_t i = 0; i < s->count; i++) {
        struct tensor *t = &s->tensors[i];
        if (t->offset != end)
            return err_set(e, malformed,
                           "tensor %s starts at byte %llu of the data, but the one before it ends at %llu",
                           t->name, (unsigned long long)t->offset, (unsigned long long)end);
        end += t->bytes; /* each is at most INT64_MAX, and so is every offset it was compared with */
        t->offset += data_start;
    }
    if (end != data_bytes)
        return err_set(e, malformed, "the tensors take %llu bytes, but the file has %llu behind its header",
                       (unsigned long long)end, (unsigned long long)data_bytes);
    qsort(s->tensors, s->count, sizeof *s->tensors, compare_names);
    return 0;
}

static int build(struct safetensors *s, json_t *header, size_t header_bytes, uint64_t file_bytes,
                 struct err *e)
{
    s->tensors = calloc(json_object_size(header) + 1, sizeof *s->tensors);
    s->names = malloc(header_bytes);
    if (!s->tensors || !s->names)
        return err_memory(e);
    if (parse_tensors(s, header, e) != 0)
        return -1;
    uint64_t data_start = LENGTH_BYTES + header_bytes;
    return place_tensors(s, data_start, file_bytes - data_start, e);
}

static int read_header(int fd, size_t header_bytes, json_t **header, struct err *e)
{
    char *text = malloc(header_bytes + 1);
    if (!text)
        return err_memory(e);
    int result = file_pread(fd, text, header_bytes, LENGTH_BYTES, e);
    if (result == 0)
        result = parse_header(text, header_bytes, header, e);
    free(text);
    return result;
}

int safetensors_open(struct safetensors **out, int fd, size_t header_limit, struct err *e)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return err_errno(e, "cannot look at the weights file");
    uint64_t file_bytes = (uint64_t)status.st_size;
    size_t header_bytes = 0;
    json_t *header = NULL;
    if (read_header_length(fd, file_bytes, header_limit, &header_bytes, e) != 0 ||
        read_header(fd, header_bytes, &header, e) != 0)
        return -1;
    struct safetensors *s = calloc(1, sizeof *s);
    int result = s ? build(s, header, header_bytes, file_bytes, e) : err_memory(e);
    json_decref(header);
    if (result != 0) {
        safetensors_close(s);
        return -1;
    }
    *out = s;
    return 0;
}

void safetensors_close(struct safetensors *s)
{
    if (!s)
        return;
    free(s->tensors);
    free(s->names);
    free(s);
}

size_t safetensors_count(const struct safetensors *s)
{
    return s->count;
}

const struct tensor *safetensors_at(const struct safetensors *s, size_t index)
{
    return &s->tensors[index];
}

const struct tensor *safetensors_find(const struct safetensors *s, const char *name)
{
    struct tensor key = {.name = name};
    return bsearch(&key, s->tensors, s->count, sizeof key, compare_names);
}

static int check_finite(const struct tensor *t, const float *values, size_t count, uint64_t first,
                        struct err *e)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(values[i]))
            return err_set(e, "adapter_not_finite", "tensor %s: element %llu is %s", t->name,
                           (unsigned long long)(first + i), isnan(values[i]) ? "NaN" : "infinite");
    return 0;
}

int safetensors_read(int fd, const struct tensor *t, float *out, int finite, struct err *e)
{
    char chunk[READ_BYTES];
    size_t size = dtype_size(t->dtype);
    for (uint64_t done = 0; done < t->bytes;) {
        size_t length = t->bytes - done < READ_BYTES ? (size_t)(t->bytes - done) : READ_BYTES;
        uint64_t first = done / size;
        if (file_pread(fd, chunk, length, t->offset + done, e) != 0)
            return -1;
        dtype_widen(t->dtype, chunk, out + first, length / size);
        if (finite && check_finite(t, out + first, length / size, first, e) != 0)
            return -1;
        done += length;
    }
    return 0;
}

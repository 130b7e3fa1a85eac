/* What the container accepts and refuses, as tables of header -> code. */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/format/safetensors.h"

enum { LIMIT = 1 << 20 };

/* A file in memory: prefix with `length`, header, `data_bytes` bytes 0, 1, 2... */
static int make_file(uint64_t length, const char *header, size_t header_bytes, size_t data_bytes)
{
    int fd = memfd_create("safetensors", MFD_CLOEXEC);
    assert_true(fd >= 0);
    unsigned char prefix[8];
    for (int i = 0; i < 8; i++)
        prefix[i] = (unsigned char)(length >> (8 * i));
    assert_int_equal(write(fd, prefix, 8), 8);
    assert_int_equal(write(fd, header, header_bytes), header_bytes);
    for (size_t i = 0; i < data_bytes; i++)
        assert_int_equal(write(fd, &(unsigned char){(unsigned char)i}, 1), 1);
    return fd;
}

static int make_text(const char *header, size_t data_bytes)
{
    return make_file(strlen(header), header, strlen(header), data_bytes);
}

static void assert_refused(int fd, const char *code, const char *why)
{
    struct safetensors *s = NULL;
    struct err e = {0};
    int result = safetensors_open(&s, fd, LIMIT, &e);
    if (result == 0)
        fail_msg("accepted: %s", why);
    if (strcmp(e.code, code) != 0)
        fail_msg("%s: expected %s, found %s (%s)", why, code, e.code, e.message);
    assert_null(s);
    assert_string_not_equal(e.message, "");
    json_t *message = json_string(e.message); /* NULL unless it is UTF-8 */
    assert_non_null(message);
    json_decref(message);
    close(fd);
}

#define T(offsets) "{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":" offsets "}"

static const struct {
    const char *header;
    size_t data;
} accepted[] = {
    {"{}", 0},
    {"{\"__metadata__\":{}}", 0},
    {"{\"__metadata__\":{\"format\":\"pt\"},\"a\":" T("[0,4]") "}", 4},
    {"{\"a\":" T("[0,4]") "}   ", 4},
    {"{\"b\":" T("[4,8]") ",\"a\":" T("[0,4]") "}", 8}, /* the order of the header is free */
    {"{\"a\":{\"data_offsets\":[0,4],\"shape\":[],\"dtype\":\"F32\"}}", 4},
    {"{\"a\":{\"dtype\":\"F16\",\"shape\":[2,0],\"data_offsets\":[0,0]},\"b\":" T("[0,4]") "}", 4},
    {"{\"a\":{\"dtype\":\"BF16\",\"shape\":[1,1,1,1,1,1,1,3],\"data_offsets\":[0,6]}}", 6},
    {"{\"\\u00e9\\\"-0\":" T("[0,4]") "}", 4},
};

static void test_accepted(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++) {
        int fd = make_text(accepted[i].header, accepted[i].data);
        struct safetensors *s;
        struct err e = {0};
        if (safetensors_open(&s, fd, LIMIT, &e) != 0)
            fail_msg("%s: %s %s", accepted[i].header, e.code, e.message);
        safetensors_close(s);
        close(fd);
    }
}

#define E(dtype, shape, offsets) \
    "{\"a\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static const struct {
    const char *header;
    size_t data;
} refused[] = {
    {"", 0},
    {"[]", 0},
    {"null", 0},
    {" {}", 0},
    {"{", 0},
    {"{}x", 0},
    {"{}", 1},
    {"{\"\":" T("[0,4]") "}", 4},
    {"{\"a\\n\":" T("[0,4]") "}", 4},
    {"{\"a\\u0000b\":" T("[0,4]") "}", 4},
    {"{\"a\xff\":" T("[0,4]") "}", 4},
    {"{\"a\\\xef\xbb\xbf\":" T("[0,4]") "}", 4}, /* an escape that is none, of a character of several bytes */
    {"{\"\\ud800\":" T("[0,4]") "}", 4},
    {"{\"a\":" T("[0,4]") ",\"a\":" T("[4,8]") "}", 8},
    {"{\"a\":" T("[0,4]") ",\"\\u0061\":" T("[4,8]") "}", 8}, /* the same name, written in two ways */
    {"{\"a\":" T("[0,4]") ",\"b\":" T("[0,4]") "}", 4},
    {"{\"a\":" T("[0,4]") ",\"b\":" T("[3,7]") "}", 7},
    {"{\"a\":" T("[0,4]") ",\"b\":" T("[5,9]") "}", 9},
    {"{\"a\":" T("[4,8]") "}", 8},
    {"{\"a\":" T("[0,4]") "}", 3},
    {"{\"a\":" T("[0,4]") "}", 5},
    {"{\"a\":[\"F32\",[1],[0,4]]}", 4},
    {"{\"a\":null}", 0},
    {"{\"__metadata__\":{\"a\":1}}", 0},
    {"{\"__metadata__\":[]}", 0},
    {"{\"__metadata__\":\"a\"}", 0},
    {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4},
    {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":0}}", 4},
    {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4},
    {E("\"I32\"", "[1]", "[0,4]"), 4},
    {E("\"BOOL\"", "[4]", "[0,4]"), 4},
    {E("\"F8_E4M3\"", "[4]", "[0,4]"), 4},
    {E("\"f32\"", "[1]", "[0,4]"), 4},
    {E("\"a dtype of more than thirty-two bytes\"", "[1]", "[0,4]"), 4},
    {E("7", "[1]", "[0,4]"), 4},
    {E("\"F32\"", "1", "[0,4]"), 4},
    {E("\"F32\"", "[1.0]", "[0,4]"), 4},
    {E("\"F32\"", "[1e0]", "[0,4]"), 4},
    {E("\"F32\"", "[true]", "[0,4]"), 4},
    {E("\"F32\"", "[\"1\"]", "[0,4]"), 4},
    {E("\"F32\"", "[-1,-1]", "[0,4]"), 4},
    {E("\"F32\"", "[2]", "[0,4]"), 4},
    {E("\"F32\"", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4},
    {E("\"F32\"", "[4294967296,4294967296,1]", "[0,0]"), 0}, /* 2^64 elements */
    {E("\"F32\"", "[4611686018427387905]", "[0,4]"), 4},     /* 2^64 + 4 bytes */
    {E("\"F32\"", "[18446744073709551616]", "[0,4]"), 4},    /* not an integer of 64 bits */
    {E("\"F32\"", "[9223372036854775807,4,0]", "[0,0]"), 0}, /* overflows before the 0 */
    {E("\"F32\"", "[1]", "[0]"), 4},
    {E("\"F32\"", "[1]", "[0,4,4]"), 4},
    {E("\"F32\"", "[1]", "[0,4.0]"), 4},
    {E("\"F32\"", "[1]", "[-0,4]"), 4},
    {E("\"F32\"", "[1]", "[4,0]"), 4},
    {E("\"F32\"", "[1]", "[-4,0]"), 4},
    {E("\"F32\"", "[1]", "null"), 4},
    {E("\"F32\"", "[1]", "[0,18446744073709551615]"), 4},
    {E("\"F32\"", "[1]", "[9223372036854775804,9223372036854775807]"), 4},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        assert_refused(make_text(refused[i].header, refused[i].data), "safetensors_malformed",
                       refused[i].header);
}

/* A parser that skips it would read a number and go on. */
static void test_zero_byte(void **state)
{
    (void)state;
    const char header[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[1\0],\"data_offsets\":[0,4]}}";
    assert_refused(make_file(sizeof header - 1, header, sizeof header - 1, 4), "safetensors_malformed",
                   "zero byte");
}

static void test_long_name(void **state)
{
    (void)state;
    char header[512];
    for (int length = 256; length <= 257; length++) {
        snprintf(header, sizeof header, "{\"%0*d\":" T("[0,4]") "}", length, 0);
        int fd = make_text(header, 4);
        struct safetensors *s;
        struct err e = {0};
        assert_int_equal(safetensors_open(&s, fd, LIMIT, &e), length == 256 ? 0 : -1);
        if (length == 256)
            safetensors_close(s);
        close(fd);
    }
}

static void test_length_prefix(void **state)
{
    (void)state;
    const char header[] = "{\"a\":" T("[0,4]") "}";
    size_t bytes = sizeof header - 1;
    const uint64_t wrong[] = {0,          1,         bytes - 1,  bytes + 1,     bytes + 5,
                              UINT32_MAX, INT64_MAX, UINT64_MAX, UINT64_MAX - 7};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_refused(make_file(wrong[i], header, bytes, 4), "safetensors_malformed", "wrong length");
    for (int size = 0; size < 8; size++) {
        int fd = make_file(bytes, "", 0, 0);
        assert_int_equal(ftruncate(fd, size), 0);
        assert_refused(fd, "safetensors_malformed", "shorter than the length prefix");
    }
}

static char *repeat(const char *start, const char *part, size_t count, const char *end)
{
    char *text = malloc(strlen(start) + count * strlen(part) + strlen(end) + 1), *next = text;
    assert_non_null(text);
    next = stpcpy(next, start);
    for (size_t i = 0; i < count; i++)
        next = stpcpy(next, part);
    strcpy(next, end);
    return text;
}

static void test_large_headers(void **state)
{
    (void)state;
    char *text = repeat("{}", " ", LIMIT - 1, "");
    assert_refused(make_text(text, 0), "safetensors_malformed", "one byte over the limit");
    free(text);
    text = repeat("{}", " ", LIMIT - 2, "");
    int fd = make_text(text, 0);
    struct safetensors *s;
    struct err e = {0};
    assert_int_equal(safetensors_open(&s, fd, LIMIT, &e), 0);
    assert_int_equal(safetensors_count(s), 0);
    safetensors_close(s);
    close(fd);
    free(text);
    text = repeat("{\"a\":", "[", 100000, "}");
    assert_refused(make_text(text, 0), "safetensors_malformed", "deep");
    free(text);
}

static void test_pickle(void **state)
{
    (void)state;
    static const char *const starts[] = {"PK\3\4zip", "\x80\2}q\1K\1s.", "\x80\4\x95\1", "\x80\5x", "\x80\3"};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        int fd = memfd_create("pickle", MFD_CLOEXEC);
        assert_int_equal(write(fd, starts[i], strlen(starts[i])), strlen(starts[i]));
        assert_refused(fd, "pickle_refused", "pickle");
    }
    /* A header of 640 bytes: its length starts with 0x80 0x02. */
    char *text = repeat("{}", " ", 638, "");
    int fd = make_text(text, 0);
    struct safetensors *s;
    struct err e = {0};
    assert_int_equal(safetensors_open(&s, fd, LIMIT, &e), 0);
    safetensors_close(s);
    close(fd);
    free(text);
}

static void test_lookup(void **state)
{
    (void)state;
    int fd = make_text("{\"b\":{\"dtype\":\"F16\",\"shape\":[2,1],\"data_offsets\":[0,4]},\"a\":" T(
                           "[4,8]") ",\"aa\":" T("[8,12]") "}",
                       12);
    struct safetensors *s;
    struct err e = {0};
    assert_int_equal(safetensors_open(&s, fd, LIMIT, &e), 0);
    assert_int_equal(safetensors_count(s), 3);
    assert_string_equal(safetensors_at(s, 0)->name, "a");
    assert_string_equal(safetensors_at(s, 1)->name, "aa");
    assert_string_equal(safetensors_at(s, 2)->name, "b");
    assert_null(safetensors_find(s, "c"));
    const struct tensor *t = safetensors_find(s, "b");
    assert_non_null(t);
    assert_int_equal(t->dtype, DTYPE_F16);
    assert_int_equal(t->bytes, 4);
    assert_int_equal(tensor_elements(t), 2);
    unsigned char first;
    assert_int_equal(pread(fd, &first, 1, (off_t)t->offset), 1);
    assert_int_equal(first, 0); /* the first byte of the data */
    char shape[32];
    tensor_shape_text(t, shape, sizeof shape);
    assert_string_equal(shape, "[2, 1]");
    safetensors_close(s);
    close(fd);
}

static int make_values(const char *dtype, const void *values, size_t bytes, struct safetensors **s)
{
    char header[128];
    size_t size = strcmp(dtype, "F32") == 0 ? 4 : 2;
    snprintf(header, sizeof header, "{\"a\":{\"dtype\":\"%s\",\"shape\":[%zu],\"data_offsets\":[0,%zu]}}",
             dtype, bytes / size, bytes);
    int fd = make_text(header, 0);
    assert_int_equal(write(fd, values, bytes), bytes);
    struct err e = {0};
    assert_int_equal(safetensors_open(s, fd, LIMIT, &e), 0);
    return fd;
}

static void test_read_widens(void **state)
{
    (void)state;
    const uint16_t f16[] = {0x3C00, 0xC000, 0x0001, 0x8001, 0x7BFF, 0x0000, 0x0400};
    const float wide[] = {1, -2, 0x1p-24f, -0x1p-24f, 65504, 0, 0x1p-14f};
    const uint16_t bf16[] = {0x3F80, 0xC000, 0x0001, 0x7F7F};
    const float wide_bf16[] = {1, -2, 0x1p-133f, 0x1.FEp127f};
    float out[8];
    struct safetensors *s;
    struct err e = {0};
    int fd = make_values("F16", f16, sizeof f16, &s);
    assert_int_equal(safetensors_read(fd, safetensors_at(s, 0), out, 1, &e), 0);
    assert_memory_equal(out, wide, sizeof wide);
    safetensors_close(s);
    close(fd);
    fd = make_values("BF16", bf16, sizeof bf16, &s);
    assert_int_equal(safetensors_read(fd, safetensors_at(s, 0), out, 1, &e), 0);
    assert_memory_equal(out, wide_bf16, sizeof wide_bf16);
    safetensors_close(s);
    close(fd);
}

static void test_read_large(void **state)
{
    (void)state;
    enum { COUNT = 70001 }; /* several chunks, and a rest */
    float *values = malloc(COUNT * sizeof *values), *out = malloc(COUNT * sizeof *out);
    for (int i = 0; i < COUNT; i++)
        values[i] = (float)i * 0.5f;
    struct safetensors *s;
    struct err e = {0};
    int fd = make_values("F32", values, COUNT * sizeof *values, &s);
    assert_int_equal(safetensors_read(fd, safetensors_at(s, 0), out, 1, &e), 0);
    assert_memory_equal(out, values, COUNT * sizeof *values);
    safetensors_close(s);
    close(fd);
    free(values);
    free(out);
}

static void test_read_not_finite(void **state)
{
    (void)state;
    const struct {
        const char *dtype;
        uint32_t bits;
    } cases[] = {
        {"F32", 0x7F800000}, {"F32", 0xFFC00000}, {"F16", 0x7C00}, {"F16", 0xFE00}, {"BF16", 0xFF80}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct safetensors *s;
        struct err e = {0};
        float out;
        int fd = make_values(cases[i].dtype, &cases[i].bits, strcmp(cases[i].dtype, "F32") == 0 ? 4 : 2, &s);
        assert_int_equal(safetensors_read(fd, safetensors_at(s, 0), &out, 0, &e), 0);
        assert_int_equal(safetensors_read(fd, safetensors_at(s, 0), &out, 1, &e), -1);
        assert_string_equal(e.code, "adapter_not_finite");
        safetensors_close(s);
        close(fd);
    }
}

static void test_read_shrunk(void **state)
{
    (void)state;
    float values[4] = {1, 2, 3, 4};
    struct safetensors *s;
    struct err e = {0};
    int fd = make_values("F32", values, sizeof values, &s);
    assert_int_equal(ftruncate(fd, (off_t)safetensors_at(s, 0)->offset + 8), 0);
    assert_int_equal(safetensors_read(fd, safetensors_at(s, 0), values, 1, &e), -1);
    assert_string_equal(e.code, "io_error");
    safetensors_close(s);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_zero_byte),       cmocka_unit_test(test_long_name),
        cmocka_unit_test(test_length_prefix),   cmocka_unit_test(test_large_headers),
        cmocka_unit_test(test_pickle),          cmocka_unit_test(test_lookup),
        cmocka_unit_test(test_read_widens),     cmocka_unit_test(test_read_large),
        cmocka_unit_test(test_read_not_finite), cmocka_unit_test(test_read_shrunk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The archive format: what is written is read again, in pieces of any size; what is damaged is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/buf.h"
#include "core/format/tar.h"

static const struct {
    const char *name;
    size_t size;
} FILES[] = {{"SHA256SUMS", 0}, {"one", 1}, {"blobs/sha256/ab/x", 511},
             {"y", 512},        {"z", 513}, {"long", 5000}};
enum { COUNT = sizeof FILES / sizeof *FILES };

static char byte_of(size_t file, size_t at)
{
    return (char)(file * 31 + at * 7);
}

static struct buf archive(void)
{
    struct buf b = {0};
    static const char zeros[TAR_END_BYTES];
    for (size_t i = 0; i < COUNT; i++) {
        char header[TAR_BLOCK];
        tar_header(FILES[i].name, FILES[i].size, 1700000000, header);
        assert_int_equal(buf_append(&b, header, sizeof header), 0);
        for (size_t k = 0; k < FILES[i].size; k++) {
            char byte = byte_of(i, k);
            assert_int_equal(buf_append(&b, &byte, 1), 0);
        }
        assert_int_equal(buf_append(&b, zeros, tar_padding(FILES[i].size)), 0);
        assert_int_equal(b.length % TAR_BLOCK, 0);
    }
    assert_int_equal(buf_append(&b, zeros, TAR_END_BYTES), 0);
    return b;
}

struct seen {
    size_t files, bytes;
    int open, wrong;
};

static int on_begin(void *arg, const char *name, uint64_t size, struct err *e)
{
    struct seen *s = arg;
    (void)e;
    s->wrong |= s->open || s->files >= COUNT || strcmp(name, FILES[s->files].name) != 0 ||
                size != FILES[s->files].size;
    s->open = 1;
    s->bytes = 0;
    return 0;
}

static int on_data(void *arg, const void *bytes, size_t length, struct err *e)
{
    struct seen *s = arg;
    (void)e;
    for (size_t i = 0; i < length; i++)
        s->wrong |= ((const char *)bytes)[i] != byte_of(s->files, s->bytes + i);
    s->bytes += length;
    s->wrong |= !s->open || length == 0;
    return 0;
}

static int on_end(void *arg, struct err *e)
{
    struct seen *s = arg;
    (void)e;
    s->wrong |= !s->open || s->bytes != FILES[s->files].size;
    s->open = 0;
    s->files++;
    return 0;
}

static int read_all(const struct buf *b, size_t piece, struct seen *s, struct err *e)
{
    struct tar_reader t = {.handler = {on_begin, on_data, on_end, s}};
    for (size_t at = 0; at < b->length; at += piece) {
        size_t length = b->length - at < piece ? b->length - at : piece;
        if (tar_feed(&t, b->data + at, length, e) != 0)
            return -1;
    }
    return tar_finish(&t, e);
}

static void pieces_of_any_size(void **state)
{
    (void)state;
    struct buf b = archive();
    for (size_t piece = 1; piece < 3000; piece = piece * 3 / 2 + 1) {
        struct seen s = {0};
        struct err e;
        assert_int_equal(read_all(&b, piece, &s, &e), 0);
        assert_int_equal(s.files, COUNT);
        assert_false(s.wrong);
    }
    buf_fini(&b);
}

static void largest_size(void **state)
{
    (void)state;
    char header[TAR_BLOCK];
    tar_header("x", TAR_FILE_BYTES_MAX, 0, header);
    assert_memory_equal(header + 124, "77777777777", 12);
    assert_int_equal(tar_padding(0), 0);
    assert_int_equal(tar_padding(512), 0);
    assert_int_equal(tar_padding(1), 511);
}

static void damaged_headers(void **state)
{
    (void)state;
    struct buf b = archive();
    /* Every byte of the first header matters: the checksum covers them all. */
    for (size_t at = 0; at < TAR_BLOCK; at++) {
        struct seen s = {0};
        struct err e = {.code = ""};
        b.data[at] ^= 1;
        int result = read_all(&b, 512, &s, &e);
        b.data[at] ^= 1;
        if (at == 155) /* the space behind the checksum's NUL is nobody's */
            continue;
        assert_int_equal(result, -1);
        assert_string_equal(e.code, "archive_malformed");
        assert_int_equal(s.files, 0);
    }
    buf_fini(&b);
}

static void an_end_that_is_missing(void **state)
{
    (void)state;
    struct buf b = archive();
    for (size_t cut = 0; cut < b.length - TAR_END_BYTES + TAR_BLOCK; cut += 97) {
        struct buf shorter = {.data = b.data, .length = cut};
        struct seen s = {0};
        struct err e = {.code = ""};
        assert_int_equal(read_all(&shorter, 300, &s, &e), -1);
        assert_string_equal(e.code, "archive_malformed");
    }
    buf_fini(&b);
}

/* A link, a directory or a device with a right checksum. */
static void other_kinds_of_entries(void **state)
{
    (void)state;
    for (const char *type = "1234567xgLK"; *type; type++) {
        char block[TAR_BLOCK];
        unsigned sum = 0;
        tar_header("x", 0, 0, block);
        block[156] = *type;
        memset(block + 148, ' ', 8);
        for (size_t i = 0; i < TAR_BLOCK; i++)
            sum += (unsigned char)block[i];
        snprintf(block + 148, 8, "%06o", sum & 0777777);
        struct seen s = {0};
        struct err e = {.code = ""};
        struct buf b = {.data = block, .length = sizeof block};
        assert_int_equal(read_all(&b, 512, &s, &e), -1);
        assert_string_equal(e.code, "archive_malformed");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(pieces_of_any_size), cmocka_unit_test(largest_size),
                                       cmocka_unit_test(damaged_headers),
                                       cmocka_unit_test(an_end_that_is_missing),
                                       cmocka_unit_test(other_kinds_of_entries)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

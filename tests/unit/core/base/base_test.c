/* core/base: errors, buffers, files, hashes, time. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/buf.h"
#include "core/system/clock.h"
#include "core/base/err.h"
#include "core/system/file.h"
#include "core/base/sha256.h"
#include "tests/unit/support/scratch.h"

/* ---- err ---- */

static void err_fills_and_clears(void **state)
{
    (void)state;
    struct err e;
    memset(&e, 'x', sizeof e);
    assert_int_equal(err_set(&e, "some_code", "expected %d, found %s", 3, "four"), -1);
    assert_string_equal(e.code, "some_code");
    assert_string_equal(e.message, "expected 3, found four");
    assert_string_equal(e.hint, "");
    assert_string_equal(e.param, "");
    assert_int_equal(err_hint(&e, "try %s", "three"), -1);
    assert_int_equal(err_param(&e, "count"), -1);
    assert_string_equal(e.hint, "try three");
    assert_string_equal(e.param, "count");
    assert_string_equal(e.message, "expected 3, found four");
    err_set(&e, "other", "again");
    assert_string_equal(e.hint, "");
    assert_string_equal(e.param, "");
}

/* What goes in behind `before` fill characters, and what is left of it; the message holds 511 bytes. */
static void err_cuts_between_characters(void **state)
{
    (void)state;
    static const struct {
        size_t before;
        const char *tail, *left;
    } cases[] = {
        {511, "abc", ""},
        {510, "abc", "a"},
        {509, "\xC3\xA9", "\xC3\xA9"}, /* fits exactly */
        {510, "\xC3\xA9", ""},         /* e acute cut in two */
        {509, "\xE2\x82\xAC", ""},     /* euro after two of three bytes */
        {508, "\xE2\x82\xAC", "\xE2\x82\xAC"},
        {508, "\xF0\x9F\x98\x80", ""}, /* an emoji after three of four */
        {507, "\xF0\x9F\x98\x80", "\xF0\x9F\x98\x80"},
        {508, "a\xF0\x9F\x98\x80", "a"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[600];
        struct err e;
        memset(text, '.', cases[i].before);
        strcpy(text + cases[i].before, cases[i].tail);
        err_set(&e, "c", "%s", text);
        assert_int_equal(strlen(e.message), cases[i].before + strlen(cases[i].left));
        assert_string_equal(e.message + cases[i].before, cases[i].left);
    }
}

static void err_holds_only_clean_utf8(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"plain", "plain"},
        {"gr\xC3\xBC\xC3\x9F", "gr\xC3\xBC\xC3\x9F"},
        {"a\nb\tc\x1B[31m\x7F", "a?b?c?[31m?"},
        {"a\xFF"
         "b",
         "a?b"},
        {"\x80", "?"},
        {"\xC0\xAFx", "??x"},                       /* overlong '/' */
        {"\xE0\x80\xAFx", "???x"},                  /* overlong, three bytes */
        {"\xF0\x80\x80\xAFx", "????x"},             /* overlong, four bytes */
        {"\xED\xA0\x80x", "???x"},                  /* a surrogate */
        {"\xED\x9F\xBFx", "\xED\x9F\xBFx"},         /* the last one before them */
        {"\xF4\x8F\xBF\xBFx", "\xF4\x8F\xBF\xBFx"}, /* U+10FFFF */
        {"\xF4\x90\x80\x80x", "????x"},             /* beyond */
        {"\xC3"
         "ab",
         "?ab"},              /* a lead byte alone, not at the end */
        {"ab\xE2\x82", "ab"}, /* cut at the end by the caller */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e;
        err_set(&e, "c", "%s", cases[i].in);
        assert_string_equal(e.message, cases[i].out);
        err_hint(&e, "%s", cases[i].in);
        assert_string_equal(e.hint, cases[i].out);
        err_param(&e, cases[i].in);
        assert_string_equal(e.param, cases[i].out);
    }
    struct err e; /* a precision in the format cuts, too, in the middle of the message */
    err_set(&e, "c", "%.2s is no name", "a\xC3\xA9");
    assert_string_equal(e.message, "a? is no name");
}

static void err_errno_has_a_code(void **state)
{
    (void)state;
    static const struct {
        int number;
        const char *code;
    } cases[] = {{ENOSPC, "storage_full"}, {EDQUOT, "storage_full"}, {ENOMEM, "out_of_memory"},
                 {EIO, "io_error"},        {ENOENT, "io_error"},     {EACCES, "io_error"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e;
        char expected[200];
        errno = cases[i].number;
        assert_int_equal(err_errno(&e, "cannot open %s", "thing"), -1);
        snprintf(expected, sizeof expected, "cannot open thing: %s", strerror(cases[i].number));
        assert_string_equal(e.code, cases[i].code);
        assert_string_equal(e.message, expected);
    }
    struct err e; /* the reason is there even behind a text that does not fit */
    char path[2000];
    memset(path, 'p', sizeof path);
    path[sizeof path - 1] = '\0';
    errno = ENOENT;
    err_errno(&e, "cannot open %s", path);
    assert_non_null(strstr(e.message, strerror(ENOENT)));
    assert_int_equal(err_memory(&e), -1);
    assert_string_equal(e.code, "out_of_memory");
}

/* ---- buf ---- */

static void buf_grows(void **state)
{
    (void)state;
    struct buf b = {0};
    for (size_t i = 0; i < 100000; i++) {
        char byte = (char)('a' + i % 26);
        assert_int_equal(buf_append(&b, &byte, 1), 0);
        assert_int_equal(b.data[b.length], '\0');
    }
    assert_int_equal(b.length, 100000);
    for (size_t i = 0; i < b.length; i++)
        assert_int_equal(b.data[i], 'a' + i % 26);
    size_t capacity = b.capacity;
    buf_clear(&b);
    assert_int_equal(b.length, 0);
    assert_string_equal(b.data, "");
    assert_int_equal(b.capacity, capacity);
    buf_fini(&b);
    assert_null(b.data);
    buf_fini(&b);
}

static void buf_appends(void **state)
{
    (void)state;
    struct buf b = {0};
    assert_int_equal(buf_append(&b, NULL, 0), 0);
    assert_string_equal(b.data, "");
    assert_int_equal(buf_append_string(&b, "ab"), 0);
    assert_int_equal(buf_append(&b, "\0c", 2), 0);
    assert_int_equal(buf_printf(&b, "%d-%s", -7, "x"), 0);
    assert_int_equal(b.length, 8);
    assert_memory_equal(b.data, "ab\0c-7-x", 9);
    assert_int_equal(buf_reserve(&b, SIZE_MAX), -1);
    assert_int_equal(buf_reserve(&b, SIZE_MAX / 2), -1);
    assert_memory_equal(b.data, "ab\0c-7-x", 9);
    buf_clear(&b);
    char *large = malloc(70001);
    memset(large, 'y', 70000);
    large[70000] = '\0';
    assert_int_equal(buf_printf(&b, "<%s>", large), 0);
    assert_int_equal(b.length, 70002);
    assert_int_equal(b.data[70001], '>');
    free(large);
    buf_fini(&b);
}

static void buf_consumes(void **state)
{
    (void)state;
    static const struct {
        size_t count;
        const char *left;
    } cases[] = {{0, "abcdef"}, {1, "bcdef"}, {3, "ef"}, {2, ""}, {0, ""}};
    struct buf b = {0};
    buf_consume(&b, 0);
    assert_null(b.data);
    buf_append_string(&b, "abcdef");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf_consume(&b, cases[i].count);
        assert_int_equal(b.length, strlen(cases[i].left));
        assert_string_equal(b.data, cases[i].left);
    }
    buf_fini(&b);
}

/* ---- file ---- */

struct place {
    char *directory;
    char path[4][600];
};

static void place_open(struct place *p)
{
    static const char *const names[] = {"a", "b", "a.tmp", "missing/a"};
    p->directory = scratch_new();
    for (int i = 0; i < 4; i++)
        snprintf(p->path[i], sizeof p->path[i], "%s/%s", p->directory, names[i]);
}

static void file_read_keeps_to_the_limit(void **state)
{
    (void)state;
    struct place p;
    place_open(&p);
    size_t size = 200000;
    char *data = malloc(size);
    for (size_t i = 0; i < size; i++)
        data[i] = (char)(i * 31);
    scratch_write(p.directory, "a", data, size);
    static const struct {
        long limit_more; /* than the file has */
        int result;
    } cases[] = {{-1, -1}, {0, 0}, {1, 0}, {-199999, -1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf b = {0};
        struct err e = {.code = "untouched"};
        buf_append_string(&b, "before");
        assert_int_equal(file_read(p.path[0], (size_t)((long)size + cases[i].limit_more), &b, &e),
                         cases[i].result);
        assert_string_equal(e.code, cases[i].result ? "file_too_large" : "untouched");
        assert_int_equal(b.length, cases[i].result ? 6 : 6 + size);
        assert_memory_equal(b.data, "before", 6);
        assert_int_equal(b.data[b.length], '\0');
        if (cases[i].result == 0)
            assert_memory_equal(b.data + 6, data, size);
        buf_fini(&b);
    }
    free(data);
    scratch_remove(p.directory);
}

static void file_read_names_what_is_missing(void **state)
{
    (void)state;
    struct place p;
    struct err e;
    struct buf b = {0};
    place_open(&p);
    assert_int_equal(file_read(p.path[0], 10, &b, &e), -1);
    assert_string_equal(e.code, "io_error");
    assert_non_null(strstr(e.message, p.path[0]));
    assert_int_equal(file_read(p.directory, 10, &b, &e), -1); /* a directory */
    assert_string_equal(e.code, "io_error");
    scratch_write(p.directory, "a", "", 0);
    assert_int_equal(file_read(p.path[0], 0, &b, &e), 0); /* empty: text all the same */
    assert_string_equal(b.data, "");
    assert_true(file_exists(p.path[0]));
    assert_false(file_exists(p.path[1]));
    buf_fini(&b);
    scratch_remove(p.directory);
}

static void file_pread_wants_all(void **state)
{
    (void)state;
    struct place p;
    place_open(&p);
    scratch_write(p.directory, "a", "0123456789", 10);
    int fd = open(p.path[0], O_RDONLY);
    static const struct {
        size_t length;
        uint64_t offset;
        int result;
    } cases[] = {{10, 0, 0}, {3, 7, 0},   {0, 10, 0},          {0, 99, 0},
                 {4, 7, -1}, {1, 10, -1}, {1, UINT64_MAX, -1}, {11, 0, -1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[16] = {0};
        struct err e = {.code = "untouched"};
        assert_int_equal(file_pread(fd, out, cases[i].length, cases[i].offset, &e), cases[i].result);
        assert_string_equal(e.code, cases[i].result ? "io_error" : "untouched");
        if (cases[i].result == 0)
            assert_memory_equal(out, &"0123456789"[cases[i].length ? cases[i].offset : 0], cases[i].length);
    }
    close(fd);
    scratch_remove(p.directory);
}

static void assert_content(const char *path, const char *expected)
{
    struct buf b = {0};
    struct err e;
    assert_int_equal(file_read(path, 1000, &b, &e), 0);
    assert_string_equal(b.data, expected);
    buf_fini(&b);
}

static void file_replace_is_whole(void **state)
{
    (void)state;
    struct place p;
    struct err e;
    struct stat status;
    place_open(&p);
    assert_int_equal(file_replace(p.path[0], "first and longer", 16, 0600, &e), 0);
    assert_content(p.path[0], "first and longer");
    assert_int_equal(stat(p.path[0], &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    int old = open(p.path[0], O_RDONLY); /* who has it open keeps the old one whole */
    assert_int_equal(file_replace(p.path[0], "second", 6, 0600, &e), 0);
    assert_content(p.path[0], "second");
    char kept[16];
    assert_int_equal(file_pread(old, kept, 16, 0, &e), 0);
    assert_memory_equal(kept, "first and longer", 16);
    close(old);
    assert_int_equal(scratch_count(p.directory, ""), 1); /* no temporary file is left */
    /* a temporary file that a crash left does no harm */
    scratch_write(p.directory, "a.tmp", "rubbish that is longer", 22);
    assert_int_equal(file_replace(p.path[0], "third", 5, 0600, &e), 0);
    assert_content(p.path[0], "third");
    assert_int_equal(scratch_count(p.directory, ""), 1);
    scratch_remove(p.directory);
}

static void file_replace_fails_clean(void **state)
{
    (void)state;
    struct place p;
    struct err e;
    place_open(&p);
    assert_int_equal(file_replace(p.path[3], "x", 1, 0600, &e), -1); /* no such directory */
    assert_string_equal(e.code, "io_error");
    assert_int_equal(file_replace(p.directory, "x", 1, 0600, &e), -1); /* a directory is in the way */
    assert_string_equal(e.code, "io_error");
    assert_int_equal(scratch_count(p.directory, ""), 0);
    char temporary[700];
    snprintf(temporary, sizeof temporary, "%s.tmp", p.directory);
    assert_false(file_exists(temporary));
    scratch_write(p.directory, "a", "old", 3); /* a full disk: the old content stays */
    assert_int_equal(symlink("/dev/full", p.path[2]), 0);
    assert_int_equal(file_replace(p.path[0], "new", 3, 0600, &e), -1);
    assert_string_equal(e.code, "storage_full");
    assert_content(p.path[0], "old");
    scratch_remove(p.directory);
}

static void file_write_all_tells_a_full_disk(void **state)
{
    (void)state;
    struct err e = {.code = "untouched"};
    int fd = open("/dev/full", O_WRONLY);
    assert_int_equal(file_write_all(fd, "x", 1, &e), -1);
    assert_string_equal(e.code, "storage_full");
    close(fd);
    fd = open("/dev/null", O_WRONLY);
    e.code = "untouched";
    assert_int_equal(file_write_all(fd, "x", 1, &e), 0);
    assert_int_equal(file_write_all(fd, NULL, 0, &e), 0);
    assert_string_equal(e.code, "untouched");
    close(fd);
    assert_int_equal(file_write_all(-1, "x", 1, &e), -1);
    assert_string_equal(e.code, "io_error");
}

static void file_makes_directories(void **state)
{
    (void)state;
    static const struct {
        const char *path; /* below the scratch folder, where "f" is a file and "d" a directory */
        int result;
    } cases[] = {{"x", 0},  {"x", 0},  {"y/z/w", 0}, {"d/e", 0}, {"v//u/", 0}, {"d", 0},
                 {"d/", 0}, {"f", -1}, {"f/x", -1},  {"", 0},    {"d/f", -1}};
    struct place p;
    struct stat status;
    char path[800];
    place_open(&p);
    snprintf(path, sizeof path, "%s/d", p.directory);
    assert_int_equal(mkdir(path, 0755), 0);
    scratch_write(p.directory, "f", "", 0);
    scratch_write(p.directory, "d/f", "", 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = {.code = "untouched"};
        snprintf(path, sizeof path, "%s/%s", p.directory, cases[i].path);
        int result = file_make_directories(path, &e);
        if (result != cases[i].result)
            fail_msg("\"%s\": %d, expected %d", cases[i].path, result, cases[i].result);
        assert_string_equal(e.code, result ? "io_error" : "untouched");
        if (result == 0)
            assert_true(stat(path, &status) == 0 && S_ISDIR(status.st_mode));
    }
    snprintf(path, sizeof path, "%s/y/z", p.directory);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    struct err e;
    assert_int_equal(file_make_directories("", &e), -1);
    assert_int_equal(file_make_directories("/", &e), 0);
    assert_int_equal(file_fsync_directory(p.directory, &e), 0);
    assert_int_equal(file_fsync_directory(p.path[3], &e), -1);
    scratch_remove(p.directory);
}

static void file_join_joins(void **state)
{
    (void)state;
    char *path = file_join("/a/b", "c");
    assert_string_equal(path, "/a/b/c");
    free(path);
}

/* ---- sha256 and hex ---- */

/* FIPS 180-4 and the NIST examples: `text` repeated `times` times. */
static void sha256_vectors(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int times;
        const char *digest;
    } cases[] = {
        {"", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmn"
         "opqrstnopqrstu",
         1, "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
        {"a", 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sha256 s;
        uint8_t digest[SHA256_BYTES];
        char hex[SHA256_HEX + 1];
        sha256_init(&s);
        for (int k = 0; k < cases[i].times; k++)
            sha256_update(&s, cases[i].text, strlen(cases[i].text));
        sha256_final(&s, digest);
        hex_encode(digest, SHA256_BYTES, hex);
        assert_string_equal(hex, cases[i].digest);
        if (cases[i].times > 1)
            continue;
        sha256_of(cases[i].text, strlen(cases[i].text), digest);
        hex_encode(digest, SHA256_BYTES, hex);
        assert_string_equal(hex, cases[i].digest);
    }
}

static void hex_decodes_its_own_only(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        int result;
    } cases[] = {{"00ff1a", 0}, {"00FF1a", -1}, {"00ff1", -1},  {"00ff1a2", -1}, {"00ff1g", -1},
                 {"", -1},      {"00ff1 ", -1}, {"0x00ff", -1}, {"00f/1a", -1},  {"00:f1a", -1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t out[3] = {7, 7, 7};
        assert_int_equal(hex_decode(cases[i].hex, out, 3), cases[i].result);
        assert_memory_equal(out, cases[i].result ? "\7\7\7" : "\x00\xff\x1a", 3);
    }
    uint8_t all[256], back[256];
    char hex[513];
    for (int i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    hex_encode(all, 256, hex);
    assert_int_equal(strlen(hex), 512);
    assert_int_equal(hex_decode(hex, back, 256), 0);
    assert_memory_equal(all, back, 256);
    assert_int_equal(hex_decode("", back, 0), 0);
}

static void bytes_differ_anywhere(void **state)
{
    (void)state;
    uint8_t a[40] = {0}, b[40] = {0};
    assert_int_equal(bytes_differ(a, b, 40), 0);
    assert_int_equal(bytes_differ(a, b, 0), 0);
    for (size_t i = 0; i < 40; i++)
        for (int bit = 0; bit < 8; bit++) {
            b[i] ^= (uint8_t)(1 << bit);
            assert_int_equal(bytes_differ(a, b, 40), 1);
            assert_int_equal(bytes_differ(a, b, i), 0);
            b[i] = 0;
        }
}

static void random_bytes_fill_all(void **state)
{
    (void)state;
    uint8_t out[1002], seen[1000] = {0};
    for (int round = 0; round < 8; round++) {
        out[0] = out[1001] = 0xA5;
        memset(out + 1, 0, 1000);
        random_bytes(out + 1, 1000);
        assert_int_equal(out[0], 0xA5);
        assert_int_equal(out[1001], 0xA5);
        for (int i = 0; i < 1000; i++)
            seen[i] |= out[i + 1];
    }
    int empty = 0; /* a byte stays 0 eight times with probability 2^-64 */
    for (int i = 0; i < 1000; i++)
        empty += seen[i] == 0;
    assert_int_equal(empty, 0);
}

/* ---- clock ---- */

static void clock_formats(void **state)
{
    (void)state;
    static const struct {
        int64_t unix_ms;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {1, "1970-01-01T00:00:00.001Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {-1000, "1969-12-31T23:59:59.000Z"},
        {999, "1970-01-01T00:00:00.999Z"},
        {951782399999, "2000-02-28T23:59:59.999Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {1769860800123, "2026-01-31T12:00:00.123Z"},
        {4102444799050, "2099-12-31T23:59:59.050Z"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[25];
        clock_format(cases[i].unix_ms, out, sizeof out);
        assert_string_equal(out, cases[i].text);
    }
    char out[64]; /* absurd times stay inside the buffer */
    clock_format(INT64_MAX, out, 25);
    assert_true(strlen(out) <= 24);
    clock_format(INT64_MIN, out, 25);
    assert_true(strlen(out) <= 24);
}

static void clocks_go_forward(void **state)
{
    (void)state;
    uint64_t first = clock_us();
    double ms = clock_ms();
    usleep(2000);
    assert_true(clock_us() >= first + 2000);
    assert_true(clock_ms() >= ms + 2);
    assert_true(clock_unix_ms() > 1767225600000); /* 2026 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(err_fills_and_clears),
        cmocka_unit_test(err_cuts_between_characters),
        cmocka_unit_test(err_holds_only_clean_utf8),
        cmocka_unit_test(err_errno_has_a_code),
        cmocka_unit_test(buf_grows),
        cmocka_unit_test(buf_appends),
        cmocka_unit_test(buf_consumes),
        cmocka_unit_test(file_read_keeps_to_the_limit),
        cmocka_unit_test(file_read_names_what_is_missing),
        cmocka_unit_test(file_pread_wants_all),
        cmocka_unit_test(file_replace_is_whole),
        cmocka_unit_test(file_replace_fails_clean),
        cmocka_unit_test(file_write_all_tells_a_full_disk),
        cmocka_unit_test(file_makes_directories),
        cmocka_unit_test(file_join_joins),
        cmocka_unit_test(sha256_vectors),
        cmocka_unit_test(hex_decodes_its_own_only),
        cmocka_unit_test(bytes_differ_anywhere),
        cmocka_unit_test(random_bytes_fill_all),
        cmocka_unit_test(clock_formats),
        cmocka_unit_test(clocks_go_forward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

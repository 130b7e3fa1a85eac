/* What comes over a connection, byte by byte and at once: which request is not well formed, and which are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/wire/strict.h"

#define HEAD "GET / HTTP/1.1\r\nHost: a\r\n"
#define POST "POST / HTTP/1.1\r\nHost: a\r\n"
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"
#define TEXT(text) (text), sizeof(text) - 1

static const struct {
    const char *bytes;
    size_t length;
    uint32_t requests; /* that are well formed */
    bool problem;      /* behind them */
} cases[] = {
    /* What is right. */
    {TEXT(HEAD "\r\n"), 1, false},
    {TEXT("\r\n\r\n" HEAD "\r\n"), 1, false},
    {TEXT(HEAD "X:\r\nY: \t a b\tc \r\nZ: \xe4\xff\r\n\r\n" HEAD "\r\n"), 2, false},
    {TEXT(POST "Content-Length: 5\r\n\r\n\0\n\r\n\0" HEAD "\r\n"), 2, false},
    {TEXT(POST "content-length:5 \r\n\r\nGET /" HEAD "\r\n"), 2, false},
    {TEXT(POST "Content-Length: 0\r\n\r\n" HEAD "\r\n"), 2, false},
    {TEXT(CHUNKED "5\r\n\0\n\r\n\0\r\n0\r\n\r\n" HEAD "\r\n"), 2, false},
    {TEXT(CHUNKED "00000000A;x=\"y\"\r\n0123456789\r\n1 ;z\r\n\n\r\n000\r\nTrailer: x\r\n\r\n" HEAD "\r\n"),
     2, false},
    {TEXT(CHUNKED "000000000000000000005\r\nhello\r\n0\r\n\r\n" HEAD "\r\n"), 2, false},
    {TEXT(CHUNKED "0\r\n\r\n\r\n" HEAD "\r\n"), 2, false},
    {TEXT("GET /\xc3\xa4?\"<> HTTP/1.0\r\n\r\n"), 1, false},
    /* Where the end of a body is in doubt, nothing is said: others refuse that. */
    {TEXT(POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n\0\0\0\0\0\0"), 1, false},
    {TEXT(POST "Content-Length: +5\r\n\r\n\0\0\0\0\0\0"), 1, false},
    {TEXT(POST "Content-Length: 1234567890123456789\r\n\r\n\0"), 1, false},
    {TEXT(POST "Content-Length:\r\n\r\n\0"), 1, false},
    {TEXT(POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n\0"), 1, false},
    {TEXT(POST "Transfer-Encoding: gzip, chunked\r\n\r\n\0"), 1, false},
    {TEXT(POST "Transfer-Encoding: chunked, chunked, chunked\r\n\r\n\0"), 1, false},
    {TEXT(CHUNKED "10000000000000005\r\nhello\n"), 1, false},
    /* NUL and other control characters. */
    {TEXT("GE\0T / HTTP/1.1\r\n"), 0, true},
    {TEXT("GET /\0 HTTP/1.1\r\n"), 0, true},
    {TEXT("GET /a\x7f HTTP/1.1\r\n"), 0, true},
    {TEXT("GET /a\tb HTTP/1.1\r\n"), 0, true},
    {TEXT("GET / HTTP\0/1.1\r\n"), 0, true},
    {TEXT(HEAD "X\0: a\r\n\r\n"), 0, true},
    {TEXT(HEAD "\0: a\r\n\r\n"), 0, true},
    {TEXT(HEAD "X: a\0b\r\n\r\n"), 0, true},
    {TEXT(HEAD "X: \0\r\n\r\n"), 0, true},
    {TEXT(HEAD "X: a\x0b\r\n\r\n"), 0, true},
    {TEXT(HEAD "X: a\x1b[31m\r\n\r\n"), 0, true},
    {TEXT(HEAD "\r\n" HEAD "X: a\0b\r\n\r\n"), 1, true},
    {TEXT(CHUNKED "5\r\nhello\r\n0\r\nX: a\0b\r\n\r\n"), 0, true},
    {TEXT(POST "Content-Length: 5\r\n\r\nhello" HEAD "X: \0\r\n\r\n"), 1, true},
    /* Line ends. */
    {TEXT("GET / HTTP/1.1\nHost: a\n\n"), 0, true},
    {TEXT("GET / HTTP/1.1\rHost: a\r\r"), 0, true},
    {TEXT(HEAD "X: a\nY: b\r\n\r\n"), 0, true},
    {TEXT(HEAD "X: a\rY: b\r\n\r\n"), 0, true},
    {TEXT(HEAD "X: a\r\r\n\r\n"), 0, true},
    {TEXT(HEAD "\n"), 0, true},
    {TEXT(HEAD "\rX"), 0, true},
    {TEXT("\n" HEAD "\r\n"), 0, true},
    {TEXT(HEAD "\r\n\n" HEAD "\r\n"), 1, true},
    {TEXT(CHUNKED "5\nhello\r\n0\r\n\r\n"), 0, true},
    {TEXT(CHUNKED "5;a\nhello\r\n0\r\n\r\n"), 0, true},
    {TEXT(CHUNKED "5\rhello\r\n0\r\n\r\n"), 0, true},
    {TEXT(CHUNKED "5\r\nhello\n0\r\n\r\n"), 0, true},
    {TEXT(CHUNKED "5\r\nhello\r0\r\n\r\n"), 0, true},
    {TEXT(CHUNKED "5\r\nhello\r\n0\n\r\n"), 0, true},
    {TEXT(CHUNKED "5\r\nhello\r\n0\r\n\n"), 0, true},
    {TEXT(CHUNKED "5\r\nhello\r\n0\r\nX: y\n\r\n"), 0, true},
    /* Folded lines. */
    {TEXT(HEAD "X: a\r\n b\r\n\r\n"), 0, true},
    {TEXT(HEAD "X: a\r\n\tContent-Length: 5\r\n\r\n"), 0, true},
    {TEXT(HEAD "X: a\r\n \r\n\r\n"), 0, true},
    {TEXT("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), 0, true},
    {TEXT(CHUNKED "0\r\nX: y\r\n z\r\n\r\n"), 0, true},
    /* Names. */
    {TEXT(HEAD "Content-Length : 5\r\n\r\n"), 0, true},
    {TEXT(HEAD "nonsense\r\n\r\n"), 0, true},
    {TEXT(HEAD ": a\r\n\r\n"), 0, true},
    {TEXT(HEAD "X(y): a\r\n\r\n"), 0, true},
    {TEXT(HEAD "X\xe4: a\r\n\r\n"), 0, true},
    {TEXT(" GET / HTTP/1.1\r\n"), 0, true},
    {TEXT("\x16\x03\x01"), 0, true},
    /* Sizes. */
    {TEXT(CHUNKED "zz\r\n"), 0, true},
    {TEXT(CHUNKED "\r\n"), 0, true},
    {TEXT(CHUNKED "-1\r\n"), 0, true},
    {TEXT(CHUNKED "0x5\r\nhello\r\n"), 0, true},
    {TEXT(CHUNKED " 5\r\nhello\r\n"), 0, true},
    {TEXT(CHUNKED "5 \r\nhello\r\n"), 0, true},
    {TEXT(CHUNKED "4\r\nhello\r\n0\r\n\r\n"), 0, true},
    {TEXT(CHUNKED "6\r\nhello\r\n0\r\n\r\n"), 0, true},
};

/* From memory that ends where the bytes do. */
static void feed(struct strict *s, const char *bytes, size_t length)
{
    char *copy = malloc(length);
    assert_non_null(copy);
    memcpy(copy, bytes, length);
    assert_true(strict_read(s, copy, length) <= length);
    free(copy);
}

static void check(const struct strict *s, size_t i)
{
    uint32_t good = cases[i].requests;
    if (!s->problem == cases[i].problem)
        fail_msg("case %zu: %s", i, s->problem ? s->problem : "nothing");
    for (uint32_t request = 1; request <= good; request++)
        assert_null(strict_problem(s, request));
    if (s->problem)
        assert_ptr_equal(strict_problem(s, good + 1), s->problem);
    else
        assert_int_equal(s->requests, good);
}

static void what_came_at_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct strict s = {0};
        feed(&s, cases[i].bytes, cases[i].length);
        check(&s, i);
    }
}

static void what_came_in_pieces(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t cut = 1; cut < cases[i].length; cut++) {
            struct strict s = {0};
            feed(&s, cases[i].bytes, cut);
            feed(&s, cases[i].bytes + cut, cases[i].length - cut);
            check(&s, i);
        }
}

static void a_request_that_was_not_seen_has_a_problem(void **state)
{
    (void)state;
    struct strict s = {0};
    assert_non_null(strict_problem(&s, 1));
    feed(&s, TEXT(HEAD));
    assert_null(strict_problem(&s, 1));
    assert_non_null(strict_problem(&s, 2));
}

/* In pieces of each size, put together again. */
static void what_the_library_gets_to_see(void **state)
{
    static const struct {
        const char *bytes;
        size_t length;
        const char *seen;
        size_t seen_length;
    } views[] = {
        {TEXT(CHUNKED "A;x=\"y\"\r\n;123456;89\r\n1 ;z\r\n;\r\n0;\r\nT: ;x\r\n\r\n" HEAD "\r\n"),
         TEXT(CHUNKED "A\r\n;123456;89\r\n1\r\n;\r\n0\r\nT: ;x\r\n\r\n" HEAD "\r\n")},
        {TEXT(POST "Content-Length: 3\r\n\r\n\0;\0" HEAD "\r\n"),
         TEXT(POST "Content-Length: 3\r\n\r\n\0;\0" HEAD "\r\n")},
        {TEXT("GET /a\0b\0 HTTP/1.1\r\nX: \0\r\n\r\n"), TEXT("GET /a?b? HTTP/1.1\r\nX: ?\r\n\r\n")},
    };
    (void)state;
    char seen[200];
    for (size_t i = 0; i < sizeof views / sizeof *views; i++)
        for (size_t size = 1; size <= views[i].length; size++) {
            struct strict s = {0};
            size_t used = 0;
            for (size_t at = 0; at < views[i].length; at += size) {
                size_t count = views[i].length - at < size ? views[i].length - at : size;
                memcpy(seen + used, views[i].bytes + at, count);
                used += strict_read(&s, seen + used, count);
            }
            assert_int_equal(used, views[i].seen_length);
            assert_memory_equal(seen, views[i].seen, used);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_came_at_once),
        cmocka_unit_test(what_came_in_pieces),
        cmocka_unit_test(what_the_library_gets_to_see),
        cmocka_unit_test(a_request_that_was_not_seen_has_a_problem),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

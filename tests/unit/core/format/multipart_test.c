/* Forms: the same parts come out however the bytes are sliced; what is malformed is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/format/multipart.h"

/* The parts as text: "name(filename)=data;" one after the other. */
struct seen {
    char text[8192];
};

static void put(struct seen *s, const void *bytes, size_t length)
{
    size_t used = strlen(s->text);
    assert_true(used + length < sizeof s->text);
    memcpy(s->text + used, bytes, length);
    s->text[used + length] = '\0';
}

static int begin(void *arg, const char *name, const char *filename, struct err *e)
{
    if (strcmp(name, "refused") == 0)
        return err_set(e, "unknown_part", "no");
    put(arg, name, strlen(name));
    put(arg, "(", 1);
    put(arg, filename, strlen(filename));
    put(arg, ")=", 2);
    return 0;
}

static int data(void *arg, const void *bytes, size_t length, struct err *e)
{
    (void)e;
    assert_true(length > 0);
    put(arg, bytes, length);
    return 0;
}

static int end(void *arg, struct err *e)
{
    (void)e;
    put(arg, ";", 1);
    return 0;
}

/* In slices of `slice` bytes; the code of the error, or NULL. */
static const char *run(const char *type, const char *body, size_t length, size_t slice, struct seen *s)
{
    struct multipart m;
    struct err e;
    struct multipart_handler h = {begin, data, end, s};
    s->text[0] = '\0';
    int result = multipart_init(&m, type, &h, &e);
    for (size_t at = 0; result == 0 && at < length; at += slice)
        result = multipart_feed(&m, body + at, length - at < slice ? length - at : slice, &e);
    if (result == 0)
        result = multipart_finish(&m, &e);
    multipart_fini(&m);
    return result == 0 ? NULL : e.code;
}

#define TYPE "multipart/form-data; boundary=XX"
#define PART(name) "Content-Disposition: form-data; name=\"" name "\"\r\n\r\n"

static void however_it_is_sliced(void **state)
{
    (void)state;
    static const char body[] = "preamble\r\n--XX\r\n" PART(
        "a") "one\r\n--XX \t\r\n"
             "content-type: text/plain\r\n"
             "Content-Disposition: form-data; filename=\"q\\\"f;.bin\"; name=b\r\n\r\n"
             "two\r\n--X\r\n-XX\r\n\r\n--XX\r\n" PART("empty") "\r\n--XX\r\n" PART(
                 "crlf") "\r\n\r\n--XX--\r\nepilogue --XX";
    static const char expected[] = "a()=one;b(q\"f;.bin)=two\r\n--X\r\n-XX\r\n;empty()=;crlf()=\r\n;";
    struct seen s;
    for (size_t slice = 1; slice <= sizeof body; slice++) {
        assert_null(run(TYPE, body, sizeof body - 1, slice, &s));
        assert_string_equal(s.text, expected);
    }
}

static void boundaries(void **state)
{
    (void)state;
    struct seen s;
    static const char body[] = "--a b\r\n" PART("a") "1\r\n--a b--";
    assert_null(run("multipart/form-data; charset=utf-8; BOUNDARY=\"a b\"", body, sizeof body - 1, 100, &s));
    assert_string_equal(s.text, "a()=1;");
    static const char *const bad[] = {
        "multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=\"x",
        "multipart/form-data; xboundary=a",
        "multipart/form-data; "
        "boundary=12345678901234567890123456789012345678901234567890123456789012345678901"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_string_equal(run(bad[i], "", 0, 1, &s), "multipart_malformed");
}

static void malformed_forms(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "--XX",
        "--XX\r\n",
        "--XX\r\n" PART("a"),
        "--XX\r\n" PART("a") "1",
        "--XX\r\n" PART("a") "1\r\n--XX",
        "--XX\r\n" PART("a") "1\r\n--XX-",
        "--XX\r\n" PART("a") "1\r\n--XXY\r\n",
        "--XX\r\n\r\n1\r\n--XX--",
        "--XX\r\nContent-Disposition: form-data\r\n\r\n1\r\n--XX--",
        "--XX\r\nContent-Disposition: attachment; name=\"a\"\r\n\r\n1\r\n--XX--",
        "--XX\r\nContent-Disposition: form-data; name=\"a\r\n\r\n1\r\n--XX--",
        "--XX\r\nContent-Disposition: form-data; name=\"a\"\r\nContent-Disposition: form-data; "
        "name=\"b\"\r\n\r\n1\r\n"
        "--XX--",
        "--XX\r\nContent-Transfer-Encoding: base64\r\n" PART("a") "1\r\n--XX--",
        "--XX\r\nno colon\r\n" PART("a") "1\r\n--XX--",
        "--XX\r\nX: a\r\n folded\r\n" PART("a") "1\r\n--XX--",
    };
    struct seen s;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        for (size_t slice = 1; slice < 200; slice += 9) {
            const char *code = run(TYPE, bad[i], strlen(bad[i]), slice, &s);
            if (!code || strcmp(code, "multipart_malformed") != 0)
                fail_msg("%s: %s", bad[i], code ? code : "accepted");
        }
    static const char refused[] = "--XX\r\n" PART("refused") "1\r\n--XX--";
    assert_string_equal(run(TYPE, refused, sizeof refused - 1, 7, &s), "unknown_part");
}

static void headers_are_bounded(void **state)
{
    (void)state;
    struct seen s;
    char body[3 * MULTIPART_HEADERS_MAX];
    /* One line that never ends, and many short ones. */
    memset(body, 'a', sizeof body);
    memcpy(body, "--XX\r\nX: ", 9);
    assert_string_equal(run(TYPE, body, sizeof body, 100, &s), "multipart_malformed");
    for (size_t i = 6; i + 6 <= sizeof body; i += 6)
        memcpy(body + i, "X: y\r\n", 6);
    assert_string_equal(run(TYPE, body, sizeof body - sizeof body % 6, 100, &s), "multipart_malformed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(however_it_is_sliced), cmocka_unit_test(boundaries),
                                       cmocka_unit_test(malformed_forms),
                                       cmocka_unit_test(headers_are_bounded)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

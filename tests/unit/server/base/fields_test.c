/* JSON bodies: what is refused, with which code and which field. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/fields.h"

static json_t *parse(const char *text)
{
    struct err e;
    json_t *o = fields_parse(text, strlen(text), &e);
    assert_non_null(o);
    return o;
}

static void documents(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      " ",
                                      "[]",
                                      "1",
                                      "null",
                                      "{",
                                      "{\"a\":1,\"a\":2}",
                                      "{\"a\":1}x",
                                      "{\"a\":NaN}",
                                      "{\"a\":1e999}",
                                      "{\"a\":99999999999999999999}",
                                      "{\"a\":\"\xff\"}",
                                      "{\"a\":\"\\ud800\"}",
                                      "{'a':1}",
                                      "{\"a\":01}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = {0};
        assert_null(fields_parse(bad[i], strlen(bad[i]), &e));
        assert_string_equal(e.code, "invalid_json");
    }
    /* A megabyte of brackets must not cost the stack. */
    size_t length = JSON_BODY_BYTES_MAX;
    char *deep = malloc(length);
    struct err e = {0};
    memset(deep, '[', length);
    assert_null(fields_parse(deep, length, &e));
    free(deep);
}

static void unknown_fields_are_named(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", NULL};
    struct err e = {0};
    json_t *o = parse("{\"a\":1,\"surprise\":2}");
    assert_int_equal(fields_known(o, names, &e), -1);
    assert_string_equal(e.code, "unknown_field");
    assert_string_equal(e.param, "surprise");
    json_decref(o);
    o = parse("{\"b\":1}");
    assert_int_equal(fields_known(o, names, &e), 0);
    json_decref(o);
}

static void types_and_ranges(void **state)
{
    (void)state;
    json_t *o = parse("{\"i\":5,\"r\":1.0,\"n\":0.5,\"t\":true,\"s\":\"x\\u0000y\",\"z\":null,\"big\":11}");
    struct err e = {0};
    int64_t i = -7;
    double n = -7;
    bool b = false;
    const char *s;
    size_t length;
    assert_int_equal(field_integer(o, "i", 0, 10, &i, &e), 1);
    assert_int_equal(i, 5);
    assert_int_equal(field_integer(o, "absent", 0, 10, &i, &e), 0);
    assert_int_equal(i, 5);
    static const char *const no_integer[] = {"r", "n", "t", "s", "z"};
    for (size_t k = 0; k < 5; k++) {
        assert_int_equal(field_integer(o, no_integer[k], 0, 10, &i, &e), -1);
        assert_string_equal(e.code, "invalid_type");
        assert_string_equal(e.param, no_integer[k]);
    }
    assert_int_equal(field_integer(o, "big", 0, 10, &i, &e), -1);
    assert_string_equal(e.code, "out_of_range");
    assert_non_null(strstr(e.message, "10"));
    assert_non_null(strstr(e.message, "11"));
    assert_int_equal(field_number(o, "n", 0, 1, &n, &e), 1);
    assert_true(n == 0.5);
    assert_int_equal(field_number(o, "i", 0, 10, &n, &e), 1); /* 5 is a number, too */
    assert_int_equal(field_number(o, "t", 0, 1, &n, &e), -1);
    assert_int_equal(field_number(o, "i", 0, 1, &n, &e), -1);
    assert_int_equal(field_bool(o, "t", &b, &e), 1);
    assert_true(b);
    assert_int_equal(field_bool(o, "i", &b, &e), -1);
    assert_int_equal(field_string(o, "s", 3, &s, &length, &e), 1);
    assert_int_equal(length, 3);
    assert_int_equal(field_string(o, "s", 2, &s, &length, &e), -1);
    assert_string_equal(e.code, "out_of_range");
    assert_int_equal(field_string(o, "z", 2, &s, &length, &e), -1);
    json_decref(o);
}

static void token_ids(void **state)
{
    (void)state;
    json_t *o = parse(
        "{\"good\":[0,9],\"high\":[0,10],\"low\":[-1],\"real\":[1.0],\"text\":\"1\",\"huge\":[4294967297]}");
    struct err e = {0};
    struct token_list list = {0};
    assert_int_equal(field_tokens(o, "good", 10, &list, &e), 1);
    assert_int_equal(list.count, 2);
    assert_int_equal(list.ids[1], 9);
    static const struct {
        const char *name, *code;
    } bad[] = {{"high", "token_out_of_range"},
               {"low", "token_out_of_range"},
               {"huge", "token_out_of_range"},
               {"real", "invalid_type"},
               {"text", "invalid_type"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(field_tokens(o, bad[i].name, 10, &list, &e), -1);
        assert_string_equal(e.code, bad[i].code);
        assert_string_equal(e.param, bad[i].name);
    }
    token_list_fini(&list);
    json_decref(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(documents),
                                       cmocka_unit_test(unknown_fields_are_named),
                                       cmocka_unit_test(types_and_ranges), cmocka_unit_test(token_ids)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The header traceparent, as the recommendation's examples and tests have it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/trace.h"

#define ID "0af7651916cd43dd8448eb211c80319c"
#define PARENT "b7ad6b7169203331"

static void the_trace_is_found(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "00-" ID "-" PARENT "-01", "00-" ID "-" PARENT "-00",      "00-" ID "-" PARENT "-ff",
        "01-" ID "-" PARENT "-01", "cc-" ID "-" PARENT "-01-what", "cc-" ID "-" PARENT "-01-",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct trace t = {0};
        trace_read(cases[i], &t);
        assert_string_equal(t.id, ID);
    }
}

static void what_is_malformed_is_none(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        "00",
        "00-" ID,
        "00-" ID "-" PARENT,
        "00-" ID "-" PARENT "-",
        "00-" ID "-" PARENT "-1",
        "00-" ID "-" PARENT "-01-",
        "00-" ID "-" PARENT "-01 ",
        "00-" ID "-" PARENT "-011",
        "00-" ID "-" PARENT "-0x",
        "ff-" ID "-" PARENT "-01",
        "cc-" ID "-" PARENT "-01.what",
        "0-" ID "-" PARENT "-001",
        "00_" ID "-" PARENT "-01",
        "00-" ID "_" PARENT "-01",
        "00-" ID "-" PARENT "_01",
        " 00-" ID "-" PARENT "-01",
        "00-0AF7651916CD43DD8448EB211C80319C-" PARENT "-01",
        "00-" ID "-B7AD6B7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319\"-" PARENT "-01",
        "00-00000000000000000000000000000000-" PARENT "-01",
        "00-" ID "-0000000000000000-01",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct trace t = {.id = "before"};
        trace_read(cases[i], &t);
        if (t.id[0])
            fail_msg("%s is a trace", cases[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_trace_is_found),
        cmocka_unit_test(what_is_malformed_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

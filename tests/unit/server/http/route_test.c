/* Which path leads where. Paths are raw: nothing that is escaped, doubled or decorated matches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/routes.h"

static const struct route table[] = {
    {.method = "POST", .pattern = "/things"},
    {.method = "GET", .pattern = "/things"},
    {.method = "GET", .pattern = "/things/{name}"},
    {.method = "DELETE", .pattern = "/things/{name}/parts/{part}"},
};

static enum route_result find(const char *method, const char *path, struct route_match *m)
{
    return route_find(table, sizeof table / sizeof *table, method, path, m);
}

static void paths_that_match(void **state)
{
    (void)state;
    struct route_match m;
    assert_int_equal(find("POST", "/things", &m), ROUTE_FOUND);
    assert_ptr_equal(m.route, &table[0]);
    assert_int_equal(find("HEAD", "/things", &m), ROUTE_FOUND);
    assert_ptr_equal(m.route, &table[1]);
    assert_int_equal(find("GET", "/things/a.b-c_d", &m), ROUTE_FOUND);
    assert_string_equal(m.parameter[0], "a.b-c_d");
    assert_int_equal(find("DELETE", "/things/x/parts/y", &m), ROUTE_FOUND);
    assert_string_equal(m.parameter[0], "x");
    assert_string_equal(m.parameter[1], "y");
}

static void paths_that_do_not(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "/",
                                      "things",
                                      "/thing",
                                      "/thingss",
                                      "/things/",
                                      "//things",
                                      "/things//x",
                                      "/things/A",
                                      "/things/.x",
                                      "/things/..",
                                      "/things/-x",
                                      "/things/%61",
                                      "/things/..%2f",
                                      "/things/a%00",
                                      "/things/a b",
                                      "/things/x/",
                                      "/things/x/parts",
                                      "/things/x/parts/y/z",
                                      "/things/x/party/y",
                                      "*",
                                      "/things/x?y"};
    struct route_match m;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (find("GET", bad[i], &m) != ROUTE_UNKNOWN || find("DELETE", bad[i], &m) != ROUTE_UNKNOWN)
            fail_msg("%s", bad[i]);
    char path[256] = "/things/";
    memset(path + 8, 'a', 65);
    assert_int_equal(find("GET", path, &m), ROUTE_UNKNOWN);
    path[8 + 64] = '\0';
    assert_int_equal(find("GET", path, &m), ROUTE_FOUND);
}

static void wrong_methods_say_which_are_right(void **state)
{
    (void)state;
    struct route_match m;
    assert_int_equal(find("PUT", "/things", &m), ROUTE_WRONG_METHOD);
    assert_string_equal(m.allow, "POST, GET, HEAD");
    assert_int_equal(find("HEAD", "/things/x/parts/y", &m), ROUTE_WRONG_METHOD);
    assert_string_equal(m.allow, "DELETE");
    assert_int_equal(find("get", "/things", &m), ROUTE_WRONG_METHOD);
}

static void every_route_of_the_daemon_is_complete(void **state)
{
    (void)state;
    size_t count;
    const struct route *all = routes_all(&count);
    struct route_match m;
    assert_true(count > 10);
    for (size_t i = 0; i < count; i++) {
        char path[128];
        size_t used = 0;
        assert_non_null(all[i].handler);
        /* A name in the place of each {parameter}. */
        for (const char *p = all[i].pattern; *p; p++) {
            path[used++] = *p == '{' ? 'x' : *p;
            if (*p == '{')
                p = strchr(p, '}');
        }
        path[used] = '\0';
        assert_int_equal(route_find(all, count, all[i].method, path, &m), ROUTE_FOUND);
        assert_ptr_equal(m.route, &all[i]);
        /* What changes something may block on the disk. */
        bool changes = strcmp(all[i].method, "GET") != 0 && all[i].role != ROLE_NONE &&
                       !(all[i].kind & ROUTE_RUNS_MODEL) && !strstr(path, "tokenize") &&
                       !strstr(path, "preview");
        assert_true(!changes || all[i].place == PLACE_DISK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(paths_that_match),
                                       cmocka_unit_test(paths_that_do_not),
                                       cmocka_unit_test(wrong_methods_say_which_are_right),
                                       cmocka_unit_test(every_route_of_the_daemon_is_complete)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

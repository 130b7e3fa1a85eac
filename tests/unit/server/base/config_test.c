/* Flags, environment, file, default: in that order; sizes and addresses; every mistake is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

#include "server/base/config.h"

enum { ARGUMENTS_MAX = 16 };

static int load(struct config *c, const char *line, char *const *environment, struct err *e)
{
    char name[] = "adapterd", copy[512], *argv[ARGUMENTS_MAX] = {name};
    int argc = 1;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *save, *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
        argv[argc++] = word;
    return config_load(c, argc, argv, environment, e);
}

static void defaults(void **state)
{
    (void)state;
    struct config c;
    struct err e;
    assert_int_equal(load(&c, "--model m --data d", NULL, &e), 0);
    assert_string_equal(c.model, "m");
    assert_string_equal(c.data, "d");
    assert_string_equal(c.host, "127.0.0.1");
    assert_string_equal(c.port, "8080");
    assert_int_equal(c.precision, PRECISION_DEFAULT);
    assert_int_equal(c.threads, 0);
    assert_int_equal(c.max_batch, CONFIG_MAX_BATCH_DEFAULT);
    assert_int_equal(c.kv_bytes, 0);
    assert_int_equal(c.context, 0);
    assert_null(c.model_name);
    assert_false(c.no_auth);
    assert_false(c.metrics_open);
    assert_false(c.log_json);
    config_fini(&c);
}

static void no_memory_is_no_training(void **state)
{
    (void)state;
    struct config c;
    struct err e;
    assert_int_equal(load(&c, "--model m --data d", NULL, &e), 0);
    assert_false(c.no_training);
    assert_true(c.training_share == 0.2);
    assert_int_equal(c.training_turn_s, 300);
    config_fini(&c);
    assert_int_equal(load(&c, "--model m --data d --training-memory 0 --training-share 0", NULL, &e), 0);
    assert_true(c.no_training);
    assert_true(c.training_share == 0);
    config_fini(&c);
    assert_int_equal(load(&c, "--model m --data d --training-memory 600M --training-share 50", NULL, &e), 0);
    assert_int_equal(c.training_bytes, 600 << 20);
    assert_true(c.training_share == 0.5);
    config_fini(&c);
}

static void the_order_of_sources(void **state)
{
    (void)state;
    struct config c;
    struct err e;
    char path[] = "/tmp/config_test_XXXXXX", line[256], variable[256];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    dprintf(fd, "# a comment\n\n threads = 3 \nmax-batch=5\nkv-memory = 3M\ndata = from-file\nno-auth = "
                "true\nmetrics-open = on\n");
    close(fd);
    snprintf(variable, sizeof variable, "ADAPTERD_CONFIG=%s", path);
    char threads[] = "ADAPTERD_THREADS=2", batch[] = "ADAPTERD_MAX_BATCH=4", address[] = "ADAPTERD_LISTEN=";
    char *environment[] = {variable, threads, batch, address, NULL};
    assert_int_equal(load(&c, "--model=m --threads 1", environment, &e), 0);
    assert_int_equal(c.threads, 1);        /* flag before environment */
    assert_int_equal(c.max_batch, 4);      /* environment before file */
    assert_int_equal(c.kv_bytes, 3 << 20); /* file before default */
    assert_string_equal(c.data, "from-file");
    assert_string_equal(c.port, "8080"); /* an empty variable is not set */
    assert_true(c.no_auth);
    assert_true(c.metrics_open);
    config_fini(&c);
    snprintf(line, sizeof line, "--model m --config %s --max-batch 9", path);
    assert_int_equal(load(&c, line, NULL, &e), 0);
    assert_int_equal(c.max_batch, 9);
    config_fini(&c);
    unlink(path);
}

static void what_may_be_given_again_is_a_list(void **state)
{
    (void)state;
    struct config c;
    struct err e;
    char variable[] = "ADAPTERD_CORS_ORIGIN=https://c";
    char *environment[] = {variable, NULL};
    assert_int_equal(
        load(&c, "--model m --data d --cors-origin http://a --cors-origin http://b:1", environment, &e), 0);
    assert_string_equal(c.cors_origins, "http://a,http://b:1"); /* and the environment's are not added */
    config_fini(&c);
    assert_int_equal(load(&c, "--model m --data d", environment, &e), 0);
    assert_string_equal(c.cors_origins, "https://c");
    config_fini(&c);
    assert_int_equal(load(&c, "--model m --data d --cors-origin *", NULL, &e), 0);
    assert_string_equal(c.cors_origins, "*");
    config_fini(&c);
}

static void mistakes_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *line, *says;
    } cases[] = {
        {"--data d", "--model"},
        {"--model m", "--data"},
        {"--model m --data d --frobnicate", "--frobnicate"},
        {"--model m --data d extra", "extra"},
        {"--model m --data d --threads", "--threads"},
        {"--model m --data d --threads many", "--threads"},
        {"--model m --data d --threads -1", "--threads"},
        {"--model m --data d --threads 1025", "0 to 1024"},
        {"--model m --data d --max-batch 0", "1 to 4096"},
        {"--model m --data d --max-batch 99999999999999999999", "--max-batch"},
        {"--model m --data d --kv-memory 12X", "--kv-memory"},
        {"--model m --data d --context 0", "1 to 2097152"},
        {"--model m --data d --context 4k", "--context"},
        {"--model m --data d --generation-config vllm", "on or off"},
        {"--model m --data d --model-name a\"b", "--model-name"},
        {"--model m --data d --model-name caf\xC3\xA9", "--model-name"},
        {"--model m --data d --model-name a@b", "--model-name"},
        {"--model m --data d --model-name "
         "123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
         "01",
         "at most 100"},
        {"--model m --data d --kv-memory 1K", "1M"},
        {"--model m --data d --adapter-memory 99999999G", "--adapter-memory"},
        {"--model m --data d --training-memory 1K", "1M"},
        {"--model m --data d --training-share 91", "0 to 90"},
        {"--model m --data d --training-turn 0", "1 to 86400"},
        {"--model m --data d --training-share 0.2", "--training-share"},
        {"--model m --data d --precision f8", "exact"},
        {"--model m --data d --speculation on", "auto or off"},
        {"--model m --data d --tokenizer 5", "file or class"},
        {"--model m --data d --log-format xml", "--log-format"},
        {"--model m --data d --listen 8080", "--listen"},
        {"--model m --data d --listen ::1:80", "--listen"},
        {"--model m --data d --listen a:70000", "--listen"},
        {"--model m --data d --no-auth=yes", "--no-auth"},
        {"--model m --model n --data d", "twice"},
        {"--model m --data d --cors-origin", "needs a value"},
        {"--model m --data d --cors-origin localhost:3000", "--cors-origin"},
        {"--model m --data d --cors-origin http://a/", "--cors-origin"},
        {"--model m --data d --cors-origin http://a/b", "--cors-origin"},
        {"--model m --data d --cors-origin HTTP://a", "--cors-origin"},
        {"--model m --data d --cors-origin http://", "--cors-origin"},
        {"--model m --data d --cors-origin ://a", "--cors-origin"},
        {"--model m --data d --cors-origin null", "--cors-origin"},
        {"--model m --data d --cors-origin *,http://a", "--cors-origin"},
        {"--model m --data d --cors-origin http://a --cors-origin *", "--cors-origin"},
        {"--model m --data d --cors-origin http://a,", "--cors-origin"},
        {"--model m --data d --no-auth --cors-origin *", "must be named"},
        {"--model m --data d --config /nonexistent/file", "/nonexistent/file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct config c;
        struct err e = {0};
        if (load(&c, cases[i].line, NULL, &e) != -1 || strcmp(e.code, "usage") != 0 ||
            !strstr(e.message, cases[i].says) || strchr(e.message, '\n'))
            fail_msg("%s: %s", cases[i].line, e.message);
    }
}

static void mistakes_in_the_file(void **state)
{
    (void)state;
    static const char *const contents[] = {
        "threads",     "threads = x\n",    "unknown = 1\n", "threads = 1\nthreads = 2\n",
        "threads =\n", "config = other\n", "help = true\n"};
    for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
        struct config c;
        struct err e = {0};
        char path[] = "/tmp/config_test_XXXXXX", line[256];
        int fd = mkstemp(path);
        dprintf(fd, "%s", contents[i]);
        close(fd);
        snprintf(line, sizeof line, "--model m --data d --config %s", path);
        assert_int_equal(load(&c, line, NULL, &e), -1);
        assert_string_equal(e.code, "usage");
        unlink(path);
    }
}

static void help_needs_nothing_else(void **state)
{
    (void)state;
    struct config c;
    struct err e;
    char nonsense[] = "ADAPTERD_THREADS=nonsense", *environment[] = {nonsense, NULL};
    assert_int_equal(load(&c, "--help", environment, &e), 0);
    assert_true(c.help);
    config_fini(&c);
    assert_int_equal(load(&c, "--version", environment, &e), 0);
    assert_true(c.version);
    config_fini(&c);
    assert_int_equal(load(&c, "--check --model m", NULL, &e), 0);
    assert_true(c.check);
    config_fini(&c);
}

static void sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"0", 0},     {"123", 123},    {"1k", 1024},
                {"2K", 2048}, {"3M", 3 << 20}, {"4g", UINT64_C(4) << 30}};
    static const char *const bad[] = {
        "", "K", "-1", " 1", "1KB", "1.5G", "0x10", "1T", "99999999999999999999", "9999999999999G"};
    uint64_t bytes;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(config_parse_size(good[i].text, &bytes), 0);
        assert_int_equal(bytes, good[i].bytes);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(config_parse_size(bad[i], &bytes), -1);
}

static void addresses(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host, *port;
    } good[] = {{"127.0.0.1:0", "127.0.0.1", "0"},
                {"[::1]:8080", "::1", "8080"},
                {"localhost:80", "localhost", "80"}};
    static const char *const bad[] = {"",        ":",      ":80",   "a",       "a:",  "a:x",
                                      "a:65536", "::1:80", "[]:80", "[::1:80", "a:-1"};
    char *host, *port;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(config_parse_address(good[i].text, &host, &port), 0);
        assert_string_equal(host, good[i].host);
        assert_string_equal(port, good[i].port);
        free(host);
        free(port);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(config_parse_address(bad[i], &host, &port), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(the_order_of_sources),
        cmocka_unit_test(no_memory_is_no_training),
        cmocka_unit_test(what_may_be_given_again_is_a_list),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(mistakes_in_the_file),
        cmocka_unit_test(help_needs_nothing_else),
        cmocka_unit_test(sizes),
        cmocka_unit_test(addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

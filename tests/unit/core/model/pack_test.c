/* Packed weights on disk: made once, found again, made anew when they are not to be trusted. */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/system/file.h"
#include "tests/golden/fixture.h"
#include "tests/unit/support/scratch.h"

static char *directory, cache[1100], path[2300];

/* Logits of one prompt: what the packed weights are for. */
static void logits_of(const struct model *m, float *out, size_t count)
{
    int32_t tokens[] = {5, 99, 7, 200};
    struct engine *g = fixture_engine(m, 1, 0, 2);
    struct runs *all = runs_new();
    struct run run = {0};
    run_submit(all, &run, g, NULL, tokens, 4, 0, true, NULL, 1);
    runs_free(all);
    memcpy(out, run.logits + 3 * run.vocab, count * sizeof *out);
    run_fini(&run);
    engine_free(g);
}

enum { VOCAB = 320 };

static void open_and_compare(const char *state, float expected[VOCAB], int first)
{
    struct model *m = NULL;
    struct err e;
    float found[VOCAB];
    const struct model_options o = {.precision = PRECISION_INT8, .threads = 2, .packed_cache = cache};
    if (model_open(&m, fixture_path("models/llama"), &o, &e) != 0)
        fail_msg("%s", e.message);
    if (strncmp(model_info(m)->packed_state, state, strlen(state)) != 0)
        fail_msg("the packed weights are \"%s\", expected \"%s\"", model_info(m)->packed_state, state);
    logits_of(m, first ? expected : found, VOCAB);
    if (!first)
        assert_memory_equal(found, expected, sizeof found);
    model_close(m);
}

static bool ends_in(const char *name, const char *end)
{
    size_t length = strlen(name), wanted = strlen(end);
    return length > wanted && strcmp(name + length - wanted, end) == 0;
}

/* The only file of packed weights in the cache directory; the digest of the stored ones stands beside it. */
static void find_file(void)
{
    DIR *d = opendir(cache);
    int files = 0;
    assert_non_null(d);
    for (struct dirent *entry; (entry = readdir(d));)
        if (entry->d_name[0] != '.' && !ends_in(entry->d_name, ".digest")) {
            files++;
            snprintf(path, sizeof path, "%s/%s", cache, entry->d_name);
        }
    closedir(d);
    assert_int_equal(files, 1);
}

static void flip_byte(off_t at)
{
    unsigned char byte;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void the_second_start_reads_them(void **state)
{
    (void)state;
    float logits[VOCAB];
    struct stat status;
    open_and_compare("packed and kept", logits, 1);
    open_and_compare("read from", logits, 0);
    find_file();
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
}

static void damage_is_seen(void **state)
{
    (void)state;
    float logits[VOCAB];
    struct stat status;
    open_and_compare("read from", logits, 1);
    find_file();
    assert_int_equal(stat(path, &status), 0);
    const off_t places[] = {0, 40, 4096, status.st_size / 2, status.st_size - 1};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        flip_byte(places[i]);
        open_and_compare("packed and kept", logits, 0);
        open_and_compare("read from", logits, 0);
    }
    assert_int_equal(truncate(path, status.st_size - 1), 0);
    open_and_compare("packed and kept", logits, 0);
    assert_int_equal(truncate(path, 0), 0);
    open_and_compare("packed and kept", logits, 0);
    open_and_compare("read from", logits, 0);
}

static void a_cache_that_cannot_be_written_is_no_obstacle(void **state)
{
    (void)state;
    float logits[VOCAB];
    open_and_compare("read from", logits, 1);
    snprintf(cache, sizeof cache, "/dev/null/packed");
    open_and_compare("in memory, the cache cannot be written", logits, 0);
    snprintf(cache, sizeof cache, "%s/packed", directory);
}

/* The digest of the stored weights is remembered; damage to the memory, or another file, is seen. */
static void the_digest_is_remembered(void **state)
{
    (void)state;
    float logits[VOCAB];
    struct stat status;
    DIR *d = opendir(cache);
    assert_non_null(d);
    path[0] = '\0';
    for (struct dirent *entry; (entry = readdir(d));)
        if (ends_in(entry->d_name, ".digest"))
            snprintf(path, sizeof path, "%s/%s", cache, entry->d_name);
    closedir(d);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    ino_t first = status.st_ino;
    open_and_compare("read from", logits, 1);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_ino, first); /* not written again */
    for (off_t at = 0; at < status.st_size; at += 7) {
        flip_byte(at);
        open_and_compare("read from", logits, 0); /* found anew, and the same */
    }
    assert_int_equal(truncate(path, 100), 0);
    open_and_compare("read from", logits, 0);
}

/* What this test copies is younger than two seconds: the next change might bear the same time. */
static void young_files_are_not_remembered(void **state)
{
    (void)state;
    char model[1200], own_cache[1200], command[4000];
    struct err e;
    snprintf(model, sizeof model, "%s/model", directory);
    snprintf(own_cache, sizeof own_cache, "%s/own", directory);
    snprintf(command, sizeof command, "cp -r --no-preserve=all %s %s", fixture_path("models/llama"), model);
    assert_int_equal(system(command), 0);
    const struct model_options o = {.precision = PRECISION_EXACT, .packed_cache = own_cache};
    struct model *m = NULL;
    assert_int_equal(model_open(&m, model, &o, &e), 0);
    model_close(m);
    assert_int_equal(access(own_cache, F_OK), -1);
}

static void int4_has_a_file_of_its_own(void **state)
{
    (void)state;
    struct model *m = NULL;
    struct err e;
    const struct model_options o = {.precision = PRECISION_INT4, .packed_cache = cache};
    assert_int_equal(model_open(&m, fixture_path("models/llama"), &o, &e), 0);
    assert_true(strncmp(model_info(m)->packed_state, "packed and kept", 15) == 0);
    model_close(m);
}

static void numeric_models_are_exact(void **state)
{
    (void)state;
    struct model *m = NULL;
    struct err e;
    assert_int_equal(model_open(&m, fixture_path("models/mlp"), &(struct model_options){0}, &e), 0);
    assert_int_equal(model_info(m)->precision, PRECISION_EXACT);
    model_close(m);
    const struct model_options o = {.precision = PRECISION_INT8};
    assert_int_equal(model_open(&m, fixture_path("models/mlp"), &o, &e), -1);
    assert_string_equal(e.code, "precision_unsupported");
}

int main(void)
{
    directory = scratch_new();
    snprintf(cache, sizeof cache, "%s/packed", directory);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_second_start_reads_them),
        cmocka_unit_test(damage_is_seen),
        cmocka_unit_test(a_cache_that_cannot_be_written_is_no_obstacle),
        cmocka_unit_test(the_digest_is_remembered),
        cmocka_unit_test(young_files_are_not_remembered),
        cmocka_unit_test(int4_has_a_file_of_its_own),
        cmocka_unit_test(numeric_models_are_exact),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    scratch_remove(directory);
    return failed;
}

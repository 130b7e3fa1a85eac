/* Power loss: lives of data directories are recorded, and the power fails at every point of each. What was
 * acknowledged is there, what was under way happened wholly or not at all, every byte of every version is
 * right. And each sync is left out in turn, to see that this is noticed: a sync that could go without notice
 * would prove nothing.
 *
 * POWER_STATES: random states of the disk in all (default 80). POWER_POINTS: at how many points of each life
 * the power fails, evenly spread (default 6, or all of them where POWER_STATES is given). POWER_SEED repeats
 * a run. */
#include <execinfo.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/system/clock.h"
#include "core/base/sha256.h"
#include "tests/fault/power/disk.h"
#include "tests/fault/power/history.h"
#include "tests/unit/support/scratch.h"

enum { STATES = 80, POINTS = 6, SEEN = 1 << 18 };

static const struct {
    const char *name;
    void (*script)(struct history *h);
} lives[] = {
    {"changes", history_of_changes},
    {"an upgrade", history_of_an_upgrade},
    {"a restore", history_of_a_restore},
    {"killed uploads", history_of_killed_uploads},
    {"killed deletes", history_of_killed_deletes},
    {"killed activations", history_of_killed_activations},
    {"killed starts", history_of_killed_starts},
    {"training", history_of_training},
    {"killed files", history_of_killed_files},
    {"killed checkpoints", history_of_killed_checkpoints},
};
enum { LIVES = sizeof lives / sizeof *lives };

static struct history *histories[LIVES];
static size_t states_wanted, points_wanted;
static bool thorough;
static uint64_t seed;

/* ---- states ---- */

/* How much of what is not synced is there. The first ones are the hardest, and found most. */
static const struct chance policies[] = {
    {.entries = 0},                 /* nothing */
    {.entries = 100},               /* names without bytes */
    {.entries = 100, .zeros = 100}, /* names and sizes, but zeros for bytes */
    {.newest = true, .bytes = 100}, /* of each directory the last change alone */
    {.bytes = 100},                 /* bytes without names */
    {.entries = 100, .bytes = 100}, /* everything */
};
enum { POLICIES = sizeof policies / sizeof *policies };

static uint64_t draw(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return seed >> 33;
}

static struct chance random_chance(void)
{
    static const unsigned percents[] = {0, 20, 50, 80, 100};
    return (struct chance){.entries = percents[draw() % 5],
                           .bytes = percents[draw() % 5],
                           .zeros = percents[draw() % 5],
                           .torn = percents[draw() % 5],
                           .seed = draw()};
}

/* States that were found good, by hash: there is no need to look again. */
static uint64_t seen[SEEN];
static size_t seen_count, tried;

static bool is_new(const struct history *h, const struct buf *image, const int marks[2])
{
    uint64_t key;
    uint8_t digest[SHA256_BYTES];
    struct sha256 hash;
    sha256_init(&hash);
    sha256_update(&hash, image->data, image->length);
    sha256_update(&hash, marks, 2 * sizeof *marks);
    sha256_update(&hash, h->name, strlen(h->name));
    sha256_final(&hash, digest);
    memcpy(&key, digest, sizeof key);
    key |= 1; /* 0: free */
    size_t i = key % SEEN;
    while (seen[i] && seen[i] != key)
        i = (i + 1) % SEEN;
    if (seen[i])
        return false;
    assert_true(seen_count++ < SEEN / 2);
    seen[i] = key;
    return true;
}

/* The numbers of the last change acknowledged and of the last begun, -1: none. */
static void find_marks(const struct oplog *log, size_t end, int marks[2])
{
    marks[0] = marks[1] = -1;
    for (size_t i = end; i-- > 0 && marks[0] < 0;) {
        const struct op *op = &log->ops[i];
        if (op->kind == OP_DONE)
            marks[0] = op->object;
        if ((op->kind == OP_DONE || op->kind == OP_BEGUN) && marks[1] < 0)
            marks[1] = op->object;
    }
}

/* Files of what was deleted and acknowledged are not there. */
static int check_tidy(const struct history *h, const struct buf *image, const int marks[2], struct err *e)
{
    const char *path;
    for (size_t at = 0; marks[0] >= 0 && (path = disk_next_path(image, &at));) {
        const char *name = strrchr(path, '/') + 1;
        if (strlen(name) == SHA256_HEX && !history_needs(h, name, marks[0], marks[1]))
            return err_set(e, "kept", "%s is there", path);
    }
    return 0;
}

/* Does the registry survive this state? */
static int try(const struct history *h, const struct disk *d, const struct chance *c, struct err *e)
{
    struct buf image = {0};
    int marks[2], result = 0;
    find_marks(h->log, disk_at(d), marks);
    disk_crash(d, c, &image);
    if (is_new(h, &image, marks)) {
        char *directory = scratch_new();
        disk_write(&image, directory);
        bool twice = ++tried % 4 == 0;
        result = h->tidy ? check_tidy(h, &image, marks, e) : 0;
        if (result == 0)
            result = history_check(h, directory, marks[0], marks[1], twice, e);
        scratch_remove(directory);
    }
    buf_fini(&image);
    return result;
}

static void must_survive(const struct history *h, const struct disk *d, const struct chance *c)
{
    struct err e = {.code = ""};
    if (try(h, d, c, &e) != 0)
        fail_msg("%s: after operation %zu of %zu (%u, %u, %u, %u, %llu): %s: %s", h->name, disk_at(d),
                 h->log->count, c->entries, c->bytes, c->zeros, c->torn, (unsigned long long)c->seed, e.code,
                 e.message);
}

/* ---- tests ---- */

static void nothing_escapes_the_recorder(void **state)
{
    (void)state;
    for (int i = 0; i < LIVES; i++) {
        struct disk *d = disk_new(histories[i]->log, -1);
        while (disk_step(d))
            ;
        if (!disk_matches(d, histories[i]->root))
            fail_msg("%s: the files are not what was recorded", lives[i].name);
        disk_free(d);
        print_message("%s: %zu operations, %d changes\n", lives[i].name, histories[i]->log->count,
                      histories[i]->changes);
    }
}

static void power_fails_at_every_point(void **state)
{
    (void)state;
    for (int i = 0; i < LIVES; i++) {
        const struct oplog *log = histories[i]->log;
        struct disk *d = disk_new(log, -1);
        size_t before = tried, step = (log->count - log->base) / points_wanted + 1;
        do {
            if (disk_at(d) % step == 0 || disk_at(d) == log->count)
                for (int p = 0; p < POLICIES; p++)
                    must_survive(histories[i], d, &policies[p]);
        } while (disk_step(d));
        disk_free(d);
        print_message("%s: %zu states\n", lives[i].name, tried - before);
    }
}

static void power_fails_at_random(void **state)
{
    (void)state;
    size_t before = tried;
    for (int i = 0; i < LIVES; i++) {
        const struct oplog *log = histories[i]->log;
        struct disk *d = disk_new(log, -1);
        size_t points = log->count - log->base + 1, wanted = states_wanted / LIVES + 1;
        do {
            for (size_t n = draw() % points < wanted ? 1 + wanted / points : 0; n > 0; n--) {
                struct chance c = random_chance();
                must_survive(histories[i], d, &c);
            }
        } while (disk_step(d));
        disk_free(d);
    }
    print_message("%zu random states\n", tried - before);
}

/* ---- the syncs ---- */

/* Is it noticed in this life when the power fails with this policy (POLICIES: random ones) while something is
 * not there that the site would have synced? Looks at one in `step` of such moments. */
static bool noticed_with(const struct history *h, int site, int policy, size_t step, struct err *e)
{
    struct disk *d = disk_new(h->log, site);
    size_t moment = 0;
    bool noticed = false;
    while (!noticed && disk_step(d)) {
        if (!disk_owes(d) || moment++ % step != 0)
            continue;
        struct chance c = policy < POLICIES ? policies[policy] : random_chance();
        noticed = try(h, d, &c, e) != 0;
    }
    disk_free(d);
    return noticed;
}

static size_t moments(const struct history *h, int site)
{
    struct disk *d = disk_new(h->log, site);
    size_t count = 0;
    while (disk_step(d))
        count += disk_owes(d);
    disk_free(d);
    return count;
}

/* How hard to look: at so many moments of each life, then at four times as many and so on; with the first
 * policies, or with all and with random ones. */
struct search {
    size_t looks, looks_max;
    int policies;
};

static bool noticed(int site, const struct search *s)
{
    size_t count[LIVES];
    struct err e = {.code = ""};
    for (int i = 0; i < LIVES; i++)
        count[i] = moments(histories[i], site);
    for (size_t looks = s->looks; looks <= s->looks_max; looks *= 4)
        for (int policy = 0; policy < s->policies; policy++)
            for (int i = 0; i < LIVES; i++)
                if (count[i] > 0 && noticed_with(histories[i], site, policy, count[i] / looks + 1, &e)) {
                    print_message("    noticed, %s: %s: %.100s\n", lives[i].name, e.code, e.message);
                    return true;
                }
    return false;
}

static void print_site(const struct sync_site *s)
{
    char **names = backtrace_symbols(s->frames, 3);
    print_message("%s syncs %s%s%s%s%s\n", s->by_sqlite ? "SQLite" : "adapterd", *s->what ? s->what : ".",
                  s->pending & (1 << OP_ADD | 1 << OP_MOVE) ? ", names" : "",
                  s->pending & 1 << OP_REMOVE ? ", removals" : "",
                  s->pending & 1 << OP_WRITE ? ", bytes" : "", s->pending & 1 << OP_TRUNCATE ? ", size" : "");
    for (int i = 0; names && i < 3; i++)
        print_message("    %s\n", names[i]);
    free(names);
}

/* Ours must all be noticed, for which the search goes on long. SQLite's are looked for as long only when
 * asked for: it has one too many. When it has rolled back what an earlier process left, it syncs the
 * journal's end; without that it would roll back the same again. One that never had anything to make durable
 * is not counted. */
static void every_sync_is_needed(void **state)
{
    (void)state;
    static const struct search shortly = {16, 16, 1}, fully = {4, 1024, POLICIES + 1};
    const struct sync_site *sites;
    size_t count = recorder_sites(&sites), needed = 0, missed = 0, missed_in_sqlite = 0;
    for (size_t i = 0; i < count; i++) {
        print_site(&sites[i]);
        if (!sites[i].pending) {
            print_message("    had nothing to do\n");
        } else if (noticed((int)i, sites[i].by_sqlite && !thorough ? &shortly : &fully)) {
            needed++;
        } else {
            print_message("    NOT NOTICED when left out\n");
            missed += !sites[i].by_sqlite;
            missed_in_sqlite += sites[i].by_sqlite;
        }
    }
    print_message("%zu of %zu places that sync something are noticed when left out\n", needed,
                  needed + missed + missed_in_sqlite);
    assert_int_equal(missed, 0);
    assert_in_range(needed, 20, count);
    if (thorough)
        assert_in_range(missed_in_sqlite, 0,
                        2); /* one of the copy that an upgrade makes, which is not used until it is whole */
}

static int setup(void **state)
{
    (void)state;
    const char *states = getenv("POWER_STATES"), *points = getenv("POWER_POINTS"),
               *from = getenv("POWER_SEED");
    thorough = states != NULL;
    states_wanted = states ? strtoul(states, NULL, 10) : STATES;
    points_wanted = points ? strtoul(points, NULL, 10) : thorough ? SIZE_MAX : POINTS;
    assert_true(points_wanted > 0);
    seed = from ? strtoull(from, NULL, 10) : (uint64_t)clock_us();
    print_message("POWER_SEED=%llu\n", (unsigned long long)seed);
    if (!getenv("TMPDIR") && access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 1);
    for (int i = 0; i < LIVES; i++)
        histories[i] = history_new(lives[i].name, lives[i].script);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < LIVES; i++)
        history_free(histories[i]);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_escapes_the_recorder),
        cmocka_unit_test(power_fails_at_every_point),
        cmocka_unit_test(power_fails_at_random),
        cmocka_unit_test(every_sync_is_needed),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

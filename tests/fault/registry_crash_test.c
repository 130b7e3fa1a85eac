/* kill -9 at random moments of publishing, activating, rolling back and deleting: what was acknowledged is
 * there, what was under way happened wholly or not at all, every byte of every version is right, nothing is
 * left over. REGISTRY_KILLS says how often (default 200), REGISTRY_SEED repeats a run. */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "adapters/registry/registry.h"
#include "core/system/clock.h"
#include "tests/unit/support/sample.h"
#include "tests/unit/support/scratch.h"

enum {
    HISTORY = ADAPTER_HISTORY_MAX,
    NAMES = 8,
    CONTENTS = 12,
    PAUSE_US_MAX = 10000,
    STEPS_BEFORE_KILL_MAX = 8
};

enum step { PUBLISH, PUBLISH_IDLE, ACTIVATE, ROLLBACK, DELETE_VERSION, DELETE, STEPS };

struct record { /* written to the pipe before a step and after it */
    uint8_t done, step, name, content;
};

/* What the registry must hold. */
struct model {
    bool exists[NAMES], version[NAMES][CONTENTS];
    int active[NAMES];           /* content, or -1 */
    int history[NAMES][HISTORY]; /* oldest first; -1: none was active */
    int history_count[NAMES];
};

static char *directory;
static uint32_t tenant;

static void name_of(int name, char out[8])
{
    snprintf(out, 8, "n%d", name);
}

static void activate(struct model *m, int n, int content)
{
    int *history = m->history[n];
    if (m->active[n] == content)
        return;
    m->active[n] = content;
    if (m->history_count[n] == HISTORY)
        memmove(history, history + 1, (HISTORY - 1) * sizeof *history);
    else
        m->history_count[n]++;
    history[m->history_count[n] - 1] = content;
}

static int previous(const struct model *m, int n)
{
    for (int i = m->history_count[n] - 1; i >= 0; i--) {
        int content = m->history[n][i];
        if (content >= 0 && content != m->active[n] && m->version[n][content])
            return content;
    }
    return -1;
}

static void apply(struct model *m, const struct record *r)
{
    int n = r->name, c = r->content;
    switch ((enum step)r->step) {
    case DELETE:
        m->exists[n] = false;
        m->active[n] = -1;
        m->history_count[n] = 0;
        memset(m->version[n], 0, sizeof m->version[n]);
        break;
    case DELETE_VERSION:
        if (m->version[n][c] && m->active[n] == c)
            activate(m, n, -1);
        m->version[n][c] = false;
        break;
    case ROLLBACK:
        if (previous(m, n) >= 0)
            activate(m, n, previous(m, n));
        break;
    case ACTIVATE:
        if (m->version[n][c])
            activate(m, n, c);
        break;
    default:
        m->exists[n] = true;
        m->version[n][c] = true;
        if (r->step == PUBLISH)
            activate(m, n, c);
    }
}

/* ---- the process that is killed ---- */

static int run_step(struct registry *r, const struct record *s)
{
    char name[8], digest[SHA256_HEX + 1];
    const struct version *v = NULL;
    bool created;
    struct err e = {.code = ""};
    int result;
    name_of(s->name, name);
    sample_digest(s->content, digest);
    if (s->step == DELETE)
        result = registry_adapter_delete(r, tenant, name, NULL, &e);
    else if (s->step == DELETE_VERSION)
        result = registry_version_delete(r, tenant, name, digest, true, NULL, &e);
    else if (s->step == ROLLBACK)
        result = registry_adapter_change(r, tenant, name, &(struct adapter_change){.rollback = true}, NULL,
                                         NULL, &e);
    else if (s->step == ACTIVATE)
        result = registry_activate(r, tenant, name, digest, &v, &e);
    else
        result = sample_publish(r, "acme", name, s->content, s->step == PUBLISH, &v, &created, &e);
    version_unref(v);
    if (result == 0 || strcmp(e.code, "adapter_not_found") == 0 || strcmp(e.code, "version_not_found") == 0 ||
        strcmp(e.code, "no_previous_version") == 0)
        return 0;
    fprintf(stderr, "step %d: %s: %s\n", s->step, e.code, e.message);
    return -1;
}

static void tell(int fd, struct record s, uint8_t done)
{
    s.done = done;
    if (write(fd, &s, sizeof s) != sizeof s)
        _exit(4);
}

static void child_main(int fd, unsigned seed)
{
    struct registry *r;
    struct err e;
    if (registry_open(&r, directory, &e) != 0) {
        fprintf(stderr, "%s: %s\n", e.code, e.message);
        _exit(2);
    }
    for (;;) {
        struct record s = {0};
        s.step = (uint8_t)(rand_r(&seed) % STEPS);
        s.name = (uint8_t)(rand_r(&seed) % NAMES);
        s.content = (uint8_t)(rand_r(&seed) % CONTENTS);
        tell(fd, s, 0);
        if (run_step(r, &s) != 0)
            _exit(3);
        tell(fd, s, 1);
    }
}

/* ---- the history checker ---- */

static int content_of(const char *digest)
{
    for (unsigned c = 0; c < CONTENTS; c++) {
        char known[SHA256_HEX + 1];
        sample_digest(c, known);
        if (strcmp(known, digest) == 0)
            return (int)c;
    }
    fail_msg("a version of nobody's: %s", digest);
    return -1;
}

static void read_version(struct registry *r, const struct version *v, struct model *out, int name)
{
    struct err e;
    int content = content_of(v->digest);
    if (sample_check(r, v, (unsigned)content, &e) != 0)
        fail_msg("torn: %s: %s", e.code, e.message);
    assert_false(out->version[name][content]);
    out->version[name][content] = true;
    if (v->active) {
        assert_int_equal(out->active[name], -1);
        out->active[name] = content;
    }
}

static void read_history(struct registry *r, const char *name, struct model *out, int n)
{
    struct adapter_detail *d = calloc(1, sizeof *d);
    struct err e;
    if (registry_adapter_detail(r, tenant, name, d, &e) == 0) {
        out->history_count[n] = (int)d->activation_count;
        for (size_t i = 0; i < d->activation_count; i++) {
            const char *digest = d->activations[d->activation_count - 1 - i].digest;
            out->history[n][i] = digest[0] ? content_of(digest) : -1;
        }
        adapter_detail_fini(d);
    }
    free(d);
}

static void read_model(struct registry *r, struct model *out)
{
    memset(out, 0, sizeof *out);
    for (int n = 0; n < NAMES; n++) {
        char name[8];
        const struct version *list[CONTENTS + 1];
        size_t count = 0;
        struct err e;
        name_of(n, name);
        out->active[n] = -1;
        out->exists[n] = registry_adapter_versions(r, tenant, name, CONTENTS + 1, list, &count, &e) == 0;
        for (size_t i = 0; i < count; i++) {
            read_version(r, list[i], out, n);
            version_unref(list[i]);
        }
        read_history(r, name, out, n);
    }
}

static size_t contents_in_use(const struct model *m)
{
    size_t used = 0;
    for (int c = 0; c < CONTENTS; c++) {
        bool any = false;
        for (int n = 0; n < NAMES; n++)
            any = any || m->version[n][c];
        used += any;
    }
    return used;
}

static bool same_history(const struct model *a, const struct model *b)
{
    for (int n = 0; n < NAMES; n++) {
        size_t bytes = (size_t)a->history_count[n] * sizeof a->history[n][0];
        if (a->history_count[n] != b->history_count[n] || memcmp(a->history[n], b->history[n], bytes) != 0)
            return false;
    }
    return true;
}

static bool same(const struct model *a, const struct model *b)
{
    return memcmp(a->exists, b->exists, sizeof a->exists) == 0 &&
           memcmp(a->version, b->version, sizeof a->version) == 0 &&
           memcmp(a->active, b->active, sizeof a->active) == 0 && same_history(a, b);
}

struct history {
    int fd;
    int acknowledged;
    bool begun; /* under_way was begun and not acknowledged */
    struct record under_way;
};

/* Reads what the child told, until it ends or `enough` steps are acknowledged. */
static void replay(struct history *h, struct model *m, int enough)
{
    struct record s;
    while (h->acknowledged < enough && read(h->fd, &s, sizeof s) == sizeof s) {
        h->begun = !s.done;
        h->under_way = s;
        if (s.done) {
            apply(m, &s);
            h->acknowledged++;
        }
    }
}

static void check(const struct model *expected, const struct model *alternative, struct model *found)
{
    struct registry *r;
    struct err e;
    struct registry_stats stats;
    if (registry_open(&r, directory, &e) != 0)
        fail_msg("cannot open after a kill: %s: %s", e.code, e.message);
    registry_stats(r, &stats);
    assert_int_equal(stats.broken, 0);
    read_model(r, found);
    if (!same(found, expected) && !same(found, alternative))
        fail_msg("lost, torn or resurrected: the registry holds neither what was acknowledged nor the step "
                 "under way");
    assert_int_equal(scratch_count(directory, "blobs"), 2 * contents_in_use(found));
    assert_int_equal(scratch_count(directory, "tmp"), 0);
    registry_close(r);
}

/* One time in four without waiting for a step: also opening is killed. */
static void wait_for_moment(struct history *h, struct model *m, unsigned *seed)
{
    if (rand_r(seed) % 4 != 0)
        replay(h, m, rand_r(seed) % STEPS_BEFORE_KILL_MAX);
    usleep((useconds_t)(rand_r(seed) % PAUSE_US_MAX));
}

static int kill_once(struct model *m, unsigned *seed)
{
    int ends[2], status;
    unsigned child_seed = (unsigned)rand_r(seed);
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[0]);
        child_main(ends[1], child_seed);
    }
    close(ends[1]);
    struct history h = {.fd = ends[0]};
    wait_for_moment(&h, m, seed);
    kill(child, SIGKILL);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    assert_true(WIFSIGNALED(status)); /* it ended by our hand, not by an error of its own */
    replay(&h, m, INT_MAX);
    close(ends[0]);
    struct model alternative = *m, found;
    if (h.begun)
        apply(&alternative, &h.under_way);
    check(m, &alternative, &found);
    *m = found;
    return h.acknowledged;
}

static void kills_lose_nothing(void **state)
{
    (void)state;
    const char *kills_text = getenv("REGISTRY_KILLS"), *seed_text = getenv("REGISTRY_SEED");
    int kills = kills_text ? atoi(kills_text) : 200, acknowledged = 0;
    unsigned seed = seed_text ? (unsigned)strtoul(seed_text, NULL, 10) : (unsigned)clock_us();
    struct model m = {0};
    for (int n = 0; n < NAMES; n++)
        m.active[n] = -1;
    print_message("REGISTRY_SEED=%u\n", seed);
    for (int i = 0; i < kills; i++)
        acknowledged += kill_once(&m, &seed);
    print_message("%d kills, %d acknowledged steps\n", kills, acknowledged);
    assert_true(acknowledged > kills); /* else the moments were all too early to prove anything */
}

static int setup(void **state)
{
    (void)state;
    struct registry *r;
    struct tenant_row row;
    struct err e;
    directory = scratch_new();
    if (registry_open(&r, directory, &e) != 0 || registry_tenant_create(r, "acme", NULL, &row, &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
    tenant = row.number;
    registry_close(r);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_remove(directory);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(kills_lose_nothing, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

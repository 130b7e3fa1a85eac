#include "tests/fault/power/history.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "core/system/file.h"
#include "tests/fault/power/life.h"
#include "tests/unit/support/scratch.h"

static void insist(int result, const char *what, const struct err *e)
{
    if (result != 0)
        fail_msg("%s: %s: %s", what, e->code, e->message);
}

char *life_data(const struct history *h)
{
    char *path = file_join(h->root, HISTORY_DATA);
    assert_non_null(path);
    return path;
}

int life_open(struct history *h, struct err *e)
{
    char *data = life_data(h);
    int result = registry_open(&h->registry, data, e);
    free(data);
    return result;
}

int life_close(struct history *h, struct err *e)
{
    (void)e;
    registry_close(h->registry);
    h->registry = NULL;
    return 0;
}

/* What it holds now is what change number h->changes left. Closed, it holds what it held before. */
static void note(struct history *h)
{
    struct err e = {.code = ""};
    assert_in_range(h->changes, 0, HISTORY_CHANGES_MAX - 1);
    struct buf *held = &h->held[h->changes++];
    if (h->registry)
        insist(history_describe(h, h->registry, h->root, held, &e), "describe", &e);
    else if (h->changes > 1)
        assert_int_equal(buf_append(held, h->held[h->changes - 2].data, h->held[h->changes - 2].length), 0);
}

void life_change(struct history *h, int (*change)(struct history *h, struct err *e))
{
    struct err e = {.code = ""};
    recorder_mark(OP_BEGUN, h->changes);
    int result = change(h, &e);
    recorder_mark(OP_DONE, h->changes);
    insist(result, h->name, &e);
    note(h);
}

bool life_kill(struct history *h, int (*change)(struct history *h, struct err *e), int after)
{
    struct err e = {.code = ""};
    recorder_mark(OP_BEGUN, h->changes);
    recorder_die_after(after);
    int result = change(h, &e);
    registry_close(h->registry);
    h->registry = NULL;
    bool died = recorder_revive();
    if (!died)
        insist(result, h->name, &e);
    insist(life_open(h, &e), "open after a kill", &e);
    if (h->start)
        insist(h->start(h, &e), "start after a kill", &e);
    recorder_mark(OP_DONE, h->changes);
    note(h);
    return died;
}

static void describe_empty(struct history *h)
{
    struct err e = {.code = ""};
    struct history other = {.root = scratch_new()};
    insist(life_open(&other, &e), "open an empty one", &e);
    insist(history_describe(&other, other.registry, other.root, &h->empty, &e), "describe", &e);
    registry_close(other.registry);
    scratch_remove(other.root);
}

struct history *history_new(const char *name, void (*script)(struct history *h))
{
    struct history *h = calloc(1, sizeof *h);
    assert_non_null(h);
    h->name = name;
    h->root = scratch_new();
    describe_empty(h);
    script(h);
    registry_close(h->registry);
    h->registry = NULL;
    h->log = recorder_end();
    return h;
}

void history_free(struct history *h)
{
    for (int i = 0; i < h->changes; i++)
        buf_fini(&h->held[i]);
    buf_fini(&h->empty);
    oplog_free(h->log);
    scratch_remove(h->root);
    free(h);
}

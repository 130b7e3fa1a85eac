/* A scripted life of a data directory: changes of the registry one after the other, recorded with what the
 * registry held after each. Whatever a crash of this life left is then compared with that. One thread; one
 * life at a time. */
#pragma once
#include "adapters/registry/registry.h"
#include "core/base/buf.h"
#include "tests/fault/power/recorder.h"

enum { HISTORY_KEYS_MAX = 64, HISTORY_CHANGES_MAX = 4000 };

/* Below the root. */
#define HISTORY_ABOVE "srv"
#define HISTORY_DATA HISTORY_ABOVE "/data"

struct history {
    const char *name;
    char *root;                /* what is recorded */
    struct registry *registry; /* while it runs */
    struct oplog *log;
    struct buf held[HISTORY_CHANGES_MAX]; /* what the registry holds after each change */
    int changes;
    struct buf empty; /* what a start before the first change holds: a new one, nothing */
    bool tidy;        /* no process dies: there is never a blob that nothing needs or needed last */
    bool may_refuse;  /* before the first change is acknowledged, opening may say "registry_missing" */
    char keys[HISTORY_KEYS_MAX][KEY_TEXT_BYTES]; /* every key that was ever handed out */
    size_t key_count;
    char kid[KID_BYTES];                            /* of the newest key */
    int (*start)(struct history *h, struct err *e); /* what a start does once it is open; NULL: nothing */
};

struct history *history_new(const char *name, void (*script)(struct history *h));
void history_free(struct history *h);

/* The scripts. */
void history_of_changes(struct history *h);
void history_of_an_upgrade(struct history *h);
void history_of_a_restore(struct history *h); /* by adapterctl */
/* Before the power fails, processes die, at each operation of an upload and so on; the next ones go on. */
void history_of_killed_uploads(struct history *h);
void history_of_killed_deletes(struct history *h);
void history_of_killed_activations(struct history *h);
void history_of_killed_starts(struct history *h);
/* Files, and jobs with their checkpoints and results (training.c). */
void history_of_training(struct history *h);
void history_of_killed_files(struct history *h);
void history_of_killed_checkpoints(struct history *h);

/* All that a registry tells, as text; and the bytes of the admin key. `directory`: in the place of the
 * root. */
int history_describe(const struct history *h, struct registry *r, const char *directory, struct buf *out,
                     struct err *e);
/* Opens the registry of `directory` as the next start would, and compares it with what it must hold when
 * change number `acknowledged` (-1: none yet) was the last that was, and change `begun` the last that was
 * begun. Checks every blob, and where `twice` that a second start finds the same. -1 and what is wrong. */
int history_check(const struct history *h, const char *directory, int acknowledged, int begun, bool twice,
                  struct err *e);
/* Is a blob of this digest there for a reason? */
bool history_needs(const struct history *h, const char *digest, int acknowledged, int begun);

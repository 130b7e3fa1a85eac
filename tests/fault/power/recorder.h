/* Writes down what this process does to the files below one directory: the C library's functions that change
 * files are defined here, before the C library's own, also for SQLite. What bypasses them is found out by
 * comparing the log with the directory afterwards (disk.h).
 *
 * Any thread may work on the files; one thread begins, marks and ends. Never records reads. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { OP_NAME_BYTES = 96 };

enum op_kind {
    OP_ADD,    /* an entry `name` of `directory`, instead of the one that is there: a new object, or one that
                  moved */
    OP_REMOVE, /* that entry is gone */
    OP_MOVE,   /* within one directory, in one step: `from` becomes `name` */
    OP_WRITE,  /* `length` bytes at `offset` of the file `object` */
    OP_TRUNCATE, /* the file has `offset` bytes */
    OP_SYNC,     /* of the file or directory `object`, called from `site` */
    OP_BEGUN,    /* the change number `object` begins */
    OP_DONE,     /* and is acknowledged */
};

struct op {
    enum op_kind kind;
    int object, directory, site;
    bool is_directory; /* what OP_ADD adds */
    char name[OP_NAME_BYTES], from[OP_NAME_BYTES];
    uint64_t offset;
    size_t length;
    uint8_t *data; /* owned */
};

/* Object 0 is the directory itself. The first `base` operations make what was there at the beginning. */
struct oplog {
    struct op *ops;
    size_t count, capacity, base;
    int objects;
};

/* A place in the code that syncs something: the functions on the stack. */
struct sync_site {
    void *frames[3];
    char what[OP_NAME_BYTES]; /* it synced first: "data/blobs/sha256/SHELF" */
    bool by_sqlite;
    unsigned pending; /* bits 1 << enum op_kind of what a sync of it ever made durable */
};

void recorder_begin(const char *root);
void recorder_mark(enum op_kind kind, int change); /* OP_BEGUN or OP_DONE */
struct oplog *recorder_end(void);                  /* the caller's: oplog_free */
void oplog_free(struct oplog *log);

/* Sites have numbers over all logs. */
size_t recorder_sites(const struct sync_site **out);

/* From the n-th operation from now on, all fail and do nothing: as if the process had died there, though it
 * still runs. Its files stay as the kernel has them; no power was lost. */
void recorder_die_after(int n);
/* It lives again, as the next process; was it dead? */
bool recorder_revive(void);

/* Checks everything that is stored while the daemon serves: the database's file, its rows against the memory,
 * every blob's SHA-256 against its name, and files that no row needs. Marks the versions of damaged blobs
 * broken; removes and repairs nothing. Reads all the data: job threads. */
#pragma once
#include "adapters/blobs/quarantine.h"
#include "adapters/registry/registry.h"

enum fsck_kind {
    FSCK_DATABASE,   /* the file is damaged, or not the one any more that the daemon has open */
    FSCK_MISMATCH,   /* a row and the memory differ */
    FSCK_BROKEN,     /* a version whose blob is missing or damaged; it is not served */
    FSCK_UNREADABLE, /* the disk could not read a version's blob */
    FSCK_ORPHAN,     /* a file that no row needs; the next start moves it to the quarantine */
};

struct fsck_problem { /* borrowed until the callback returns */
    enum fsck_kind kind;
    const char *tenant, *name, *version; /* "": none; version: 64 digits */
    const char *message;
};

struct fsck_report {
    size_t versions, blobs, problems;
    uint64_t bytes;
    size_t quarantined; /* files in the quarantine, after those went whose time is over */
    uint64_t quarantined_bytes;
};

/* Calls `found` for each problem, and `quarantined` (NULL: not wanted) for each file in the quarantine, which
 * is none; `stop` is asked between blobs, and true ends the check with "shutting_down". */
struct fsck_handler {
    void (*found)(void *arg, const struct fsck_problem *p);
    void (*quarantined)(void *arg, const struct quarantine_file *f);
    bool (*stop)(void *arg);
    void *arg;
};
MUST_USE int fsck_run(struct registry *r, const struct fsck_handler *h, struct fsck_report *out,
                      struct err *e);

/* What a disk may hold when the power fails: the operations of a log, applied as a disk that promises as
 * little as possible applies them.
 *
 * POSIX promises nothing about what is not synced, and of fsync only that "all data for the open file" gets
 * to the device. So here:
 * - A file's bytes and its size are on the disk when that file was synced afterwards. Before, each page (4
 * KiB) of each write may be there or not, or its first sectors (512 bytes) only; where a file grew, its size
 * may be there without the bytes (zeros, as ext4 and XFS leave them behind delayed allocation). A truncation
 * may be there or not, also when writes behind it are.
 * - An entry of a directory (made, removed, renamed) is there when that directory was synced afterwards.
 * Before, any of them may be missing, also earlier ones than those that are there. A sync of a file makes no
 * entry durable, as on ext4 it would (fsync(2): "an explicit fsync() on a file descriptor for the directory
 * is also needed").
 * - A rename within a directory happens in one step, and may be there before the bytes of its file are. One
 * between directories is two steps, in any order.
 * - A sector is written wholly or not at all, and a sync that returned tells the truth. SQLite builds on
 * both, too (its "powersafe overwrite", and https://sqlite.org/atomiccommit.html). What a disk does that
 * promises more (ext4 with its one journal, in order) is among these states, so nothing is gained by another
 * model of it.
 *
 * Owns what it has computed, borrows the log. One thread. Never touches the files that were recorded. */
#pragma once
#include "core/base/buf.h"
#include "tests/fault/power/recorder.h"

struct disk;
/* At the end of the log's base. The syncs of the site `omitted` do nothing; -1: all do. */
struct disk *disk_new(const struct oplog *log, int omitted);
void disk_free(struct disk *d);
/* The next operation of the log; false at its end. */
bool disk_step(struct disk *d);
size_t disk_at(const struct disk *d); /* operations so far */
/* Does it hold anything that the omitted site should have synced? */
bool disk_owes(const struct disk *d);

/* What of the things that are not synced is there, in percent; `seed` decides the rest. */
struct chance {
    unsigned entries, bytes;
    unsigned zeros, torn; /* of the pages that are not there */
    bool newest;          /* of each directory the newest entry alone, whatever `entries` says */
    uint64_t seed;
};
/* A state of the disk as one text of paths and contents, appended: the same text, the same state. */
void disk_crash(const struct disk *d, const struct chance *c, struct buf *image);
/* The next path of an image, from *at = 0 on: "/data/registry.db"; NULL at its end. */
const char *disk_next_path(const struct buf *image, size_t *at);
/* The files of an image below an empty directory. */
void disk_write(const struct buf *image, const char *directory);
/* Is everything below `directory` as the image with all that was ever done says? */
bool disk_matches(const struct disk *d, const char *directory);

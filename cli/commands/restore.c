/* adapterctl restore: a backup becomes a data directory, once every byte of it was compared with its
 * SHA-256. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/lib/commands.h"
#include "cli/commands/copy.h"
#include "cli/lib/interrupt.h"
#include "core/system/file.h"

enum { BLOCK_BYTES = 65536 };
#define PARTIAL COPY_DATABASE ".partial"

struct restore {
    const char *backup;
    int backup_fd;
    struct copy copy;
    struct buf sums;
    size_t blobs;
    uint64_t bytes;
};

static int copy_bytes(struct restore *r, int from, const char *path, struct err *e)
{
    char block[BLOCK_BYTES];
    for (;;) {
        ssize_t count = read(from, block, sizeof block);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return err_errno(e, "cannot read %s/%s", r->backup, path);
        if (count == 0)
            return 0;
        if (interrupt_check(e) != 0 || copy_write(&r->copy, block, (size_t)count, e) != 0)
            return -1;
        r->bytes += (uint64_t)count;
    }
}

static int missing(const struct restore *r, const char *path, struct err *e)
{
    if (errno != ENOENT)
        return err_errno(e, "cannot open %s/%s", r->backup, path);
    return err_set(e, "backup_damaged", "%s/%s is missing", r->backup, path);
}

static int check_plain(const struct restore *r, int fd, const char *path, struct err *e)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return err_errno(e, "cannot look at %s/%s", r->backup, path);
    return S_ISREG(status.st_mode) ? 0
                                   : err_set(e, "backup_damaged", "%s/%s is no plain file", r->backup, path);
}

/* The database gets its name last: a data directory with blobs and without one is refused by the daemon. */
static int copy_file(struct restore *r, const struct copy_line *line, struct err *e)
{
    const char *to = strcmp(line->path, COPY_DATABASE) == 0 ? PARTIAL : line->path;
    /* Without waiting for whoever might write into a pipe. */
    int from = openat(r->backup_fd, line->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (from < 0)
        return missing(r, line->path, e);
    int result = check_plain(r, from, line->path, e);
    if (result == 0)
        result = copy_open_file(&r->copy, to, e);
    if (result == 0)
        result = copy_bytes(r, from, line->path, e);
    if (result == 0)
        result = copy_close_file(&r->copy, line->path, line->digest, e);
    close(from);
    return result;
}

static int copy_all(struct restore *r, struct err *e)
{
    struct copy_line line;
    size_t at = 0;
    int found;
    while ((found = copy_next_line(&r->sums, &at, &line, e)) > 0) {
        if (copy_file(r, &line, e) != 0)
            return -1;
        r->blobs += strcmp(line.path, COPY_DATABASE) != 0;
    }
    if (found < 0 || copy_sync(&r->copy, e) != 0)
        return -1;
    return copy_rename(&r->copy, PARTIAL, COPY_DATABASE, e);
}

static int read_sums(struct restore *r, struct err *e)
{
    char *path = file_join(r->backup, COPY_SUMS);
    struct stat status;
    int result;
    if (!path)
        return err_memory(e);
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode))
        result = err_set(e, "backup_damaged", "%s is no plain file", path);
    else
        result = file_read(path, COPY_SUMS_BYTES_MAX, &r->sums, e);
    free(path);
    return result == 0 ? 0 : err_hint(e, "a backup is a directory that `adapterctl backup` made");
}

static int restore(struct restore *r, const char *data, struct err *e)
{
    r->backup_fd = open(r->backup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r->backup_fd < 0)
        return err_errno(e, "cannot open directory %s", r->backup);
    if (read_sums(r, e) != 0 || copy_begin(&r->copy, data, e) != 0)
        return -1;
    int result = copy_all(r, e);
    copy_end(&r->copy, result == 0);
    return result;
}

static int print_restored(const struct context *c, const struct restore *r, const char *data, struct err *e)
{
    char size[PRINT_BYTES_SIZE];
    if (c->json) {
        json_t *all = json_pack("{s:s, s:I, s:I}", "directory", data, "blobs", (json_int_t)r->blobs, "bytes",
                                (json_int_t)r->bytes);
        int result = all ? print_json(all, e) : err_memory(e);
        json_decref(all);
        return result;
    }
    print_bytes((double)r->bytes, size);
    printf("restored to %s: %zu blobs, %s, all checked\n", data, r->blobs, size);
    return 0;
}

int backup_restore(struct context *c, const struct args *a, struct err *e)
{
    struct restore r = {.backup = a->operand[0], .backup_fd = -1};
    interrupt_catch();
    int result = restore(&r, a->operand[1], e);
    if (result == 0)
        result = print_restored(c, &r, a->operand[1], e);
    if (r.backup_fd >= 0)
        close(r.backup_fd);
    buf_fini(&r.sums);
    return result;
}

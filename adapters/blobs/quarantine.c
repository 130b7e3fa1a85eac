#include "adapters/blobs/quarantine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/base/sha256.h"
#include "core/system/clock.h"
#include "core/system/file.h"

enum { DAY_S = 24 * 60 * 60, MARK_BYTES = 4 };

int quarantine_open(struct quarantine *q, const char *data_directory, struct err *e)
{
    char *path = file_join(data_directory, "quarantine");
    if (!path)
        return err_memory(e);
    int fd = file_make_directories(path, e) == 0 ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
                                                 : -1;
    if (fd < 0)
        err_errno(e, "cannot open directory %s", path);
    free(path);
    q->fd = fd;
    return fd >= 0 ? 0 : -1;
}

void quarantine_close(struct quarantine *q)
{
    if (q->fd >= 0)
        close(q->fd);
    q->fd = -1;
}

/* ---- in and out ---- */

/* Under a name of its own, where a thing of this name is there already that a rename cannot replace. */
static int take_aside(struct quarantine *q, int directory_fd, const char *name, char taken[80])
{
    uint8_t random[MARK_BYTES];
    char mark[2 * MARK_BYTES + 1];
    random_bytes(random, sizeof random);
    hex_encode(random, sizeof random, mark);
    snprintf(taken, 80, "%.64s.%s", name, mark);
    return renameat(directory_fd, name, q->fd, taken);
}

int quarantine_take(struct quarantine *q, int directory_fd, const char *name, struct err *e)
{
    char taken[80];
    snprintf(taken, sizeof taken, "%.64s", name);
    if (renameat(directory_fd, name, q->fd, taken) != 0 && take_aside(q, directory_fd, name, taken) != 0)
        return err_errno(e, "cannot move %s to the quarantine", name);
    utimensat(q->fd, taken, NULL,
              AT_SYMLINK_NOFOLLOW); /* its time begins now; if that fails, it began earlier */
    return 0;
}

bool quarantine_give(struct quarantine *q, const char *name, uint64_t bytes, int directory_fd)
{
    struct stat status;
    return fstatat(q->fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(status.st_mode) &&
           (uint64_t)status.st_size == bytes && renameat(q->fd, name, directory_fd, name) == 0;
}

/* ---- looking ---- */

static int add_file(const struct quarantine *q, const char *name, struct quarantine_file **files,
                    size_t *count, struct err *e)
{
    struct stat status;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
        fstatat(q->fd, name, &status, AT_SYMLINK_NOFOLLOW) != 0)
        return 0;
    struct quarantine_file *grown = reallocarray(*files, *count + 1, sizeof *grown);
    if (!grown)
        return err_memory(e);
    *files = grown;
    struct quarantine_file *f = &grown[(*count)++];
    *f = (struct quarantine_file){.bytes = S_ISREG(status.st_mode) ? (uint64_t)status.st_size : 0,
                                  .since_s = status.st_mtime};
    snprintf(f->name, sizeof f->name, "%.79s", name);
    return 0;
}

static int compare_times(const void *left, const void *right)
{
    const struct quarantine_file *a = left, *b = right;
    return (a->since_s > b->since_s) - (a->since_s < b->since_s);
}

int quarantine_list(const struct quarantine *q, struct quarantine_file **out, size_t *count, struct err *e)
{
    struct quarantine_file *files = NULL;
    size_t found = 0;
    int fd = openat(q->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), result = 0;
    DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
    if (!directory) {
        err_errno(e, "cannot list the quarantine");
        if (fd >= 0)
            close(fd);
        return -1;
    }
    for (struct dirent *entry; result == 0 && (entry = readdir(directory));)
        result = add_file(q, entry->d_name, &files, &found, e);
    closedir(directory);
    if (result != 0) {
        free(files);
        return -1;
    }
    if (found)
        qsort(files, found, sizeof *files, compare_times);
    *out = files;
    *count = found;
    return 0;
}

/* ---- the end ---- */

/* A directory that has something in it was nobody's blob, and stays for whoever put it there. */
static void remove_file(struct quarantine *q, const char *name)
{
    if (unlinkat(q->fd, name, 0) != 0)
        unlinkat(q->fd, name, AT_REMOVEDIR);
}

int quarantine_expire(struct quarantine *q, struct err *e)
{
    struct quarantine_file *files;
    size_t count;
    uint64_t bytes = 0;
    int64_t now_s = clock_unix_ms() / 1000;
    if (quarantine_list(q, &files, &count, e) != 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        bytes += files[i].bytes;
    for (size_t i = 0; i < count; i++) {
        if (now_s - files[i].since_s < QUARANTINE_DAYS * DAY_S && bytes <= QUARANTINE_BYTES_MAX)
            break;
        remove_file(q, files[i].name);
        bytes -= files[i].bytes;
    }
    free(files);
    return 0;
}

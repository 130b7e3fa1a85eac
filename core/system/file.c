#include "core/system/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int read_open_file(int fd, const char *path, size_t limit, struct buf *out, struct err *e)
{
    size_t total = 0;
    for (;;) {
        if (buf_reserve(out, 65536) != 0)
            return err_memory(e);
        ssize_t got = read(fd, out->data + out->length, 65536);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_errno(e, "cannot read %s", path);
        if (got == 0)
            return 0;
        total += (size_t)got;
        if (total > limit)
            return err_set(e, "file_too_large", "%s is larger than %zu bytes", path, limit);
        out->length += (size_t)got;
        out->data[out->length] = '\0';
    }
}

int file_read(const char *path, size_t limit, struct buf *out, struct err *e)
{
    size_t before = out->length;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, "cannot open %s", path);
    int result = read_open_file(fd, path, limit, out, e);
    if (result != 0 && out->data) {
        out->length = before;
        out->data[before] = '\0';
    }
    close(fd);
    return result;
}

int file_pread(int fd, void *out, size_t length, uint64_t offset, struct err *e)
{
    char *bytes = out;
    while (length > 0) {
        ssize_t got = pread(fd, bytes, length, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_errno(e, "cannot read at byte %llu", (unsigned long long)offset);
        if (got == 0)
            return err_set(e, "io_error", "the file ends at byte %llu, %zu bytes early",
                           (unsigned long long)offset, length);
        bytes += got;
        offset += (uint64_t)got;
        length -= (size_t)got;
    }
    return 0;
}

int file_write_all(int fd, const void *data, size_t length, struct err *e)
{
    const char *bytes = data;
    while (length > 0) {
        ssize_t put = write(fd, bytes, length);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return err_errno(e, "cannot write");
        bytes += put;
        length -= (size_t)put;
    }
    return 0;
}

int file_fsync_directory(const char *path, struct err *e)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, "cannot open directory %s", path);
    int result = fsync(fd) == 0 ? 0 : err_errno(e, "cannot sync directory %s", path);
    close(fd);
    return result;
}

static int sync_parent(const char *path, struct err *e)
{
    char *copy = strdup(path);
    if (!copy)
        return err_memory(e);
    char *slash = strrchr(copy, '/');
    if (slash)
        slash[slash == copy] = '\0';
    int result = file_fsync_directory(slash ? copy : ".", e);
    free(copy);
    return result;
}

static int write_and_sync(const char *path, const void *data, size_t length, mode_t mode, struct err *e)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    if (fd < 0)
        return err_errno(e, "cannot create %s", path);
    int result = file_write_all(fd, data, length, e);
    if (result == 0 && fsync(fd) != 0)
        result = err_errno(e, "cannot sync %s", path);
    close(fd);
    return result;
}

int file_replace(const char *path, const void *data, size_t length, mode_t mode, struct err *e)
{
    char *temporary = NULL;
    if (asprintf(&temporary, "%s.tmp", path) < 0)
        return err_memory(e);
    int result = write_and_sync(temporary, data, length, mode, e);
    if (result == 0 && rename(temporary, path) != 0)
        result = err_errno(e, "cannot rename %s", temporary);
    if (result != 0)
        unlink(temporary);
    free(temporary);
    return result == 0 ? sync_parent(path, e) : result;
}

/* A new directory's name is on disk when its parent was synced. */
static int make_directory(const char *path, struct err *e)
{
    struct stat status;
    if (mkdir(path, 0700) == 0)
        return sync_parent(path, e);
    if (errno != EEXIST)
        return err_errno(e, "cannot make directory %s", path);
    if (stat(path, &status) != 0)
        return err_errno(e, "cannot look at %s", path);
    errno = ENOTDIR;
    return S_ISDIR(status.st_mode) ? 0 : err_errno(e, "cannot make directory %s", path);
}

int file_make_directories(const char *path, struct err *e)
{
    char *copy = strdup(path);
    if (!copy)
        return err_memory(e);
    size_t length = strlen(copy);
    int result = length > 0 ? 0 : make_directory(copy, e);
    for (size_t i = 1; i <= length && result == 0; i++) {
        char end = copy[i];
        if (end != '/' && end != '\0')
            continue;
        copy[i] = '\0';
        result = make_directory(copy, e);
        copy[i] = end;
    }
    free(copy);
    return result;
}

int file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

char *file_join(const char *directory, const char *name)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s", directory, name) < 0 ? NULL : path;
}

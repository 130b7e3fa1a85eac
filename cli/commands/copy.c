#include "cli/commands/copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/system/file.h"

enum { SHELVES = 256, DESCRIPTORS = 16 };

/* ---- SHA256SUMS ---- */

static int malformed(struct err *e, const char *problem)
{
    err_set(e, "backup_malformed", "%s: %s", COPY_SUMS, problem);
    return err_hint(e, "this is no backup, or it is damaged");
}

/* What a path must be for its digest and place. */
static void expected_path(int first, const char *digest, char out[COPY_PATH_BYTES])
{
    if (first)
        strcpy(out, COPY_DATABASE);
    else
        snprintf(out, COPY_PATH_BYTES, "blobs/sha256/%.2s/%s", digest, digest);
}

int copy_next_line(const struct buf *sums, size_t *at, struct copy_line *line, struct err *e)
{
    struct copy_line next;
    uint8_t bytes[SHA256_BYTES];
    const char *text = sums->data + *at;
    size_t left = sums->length - *at;
    if (left == 0)
        return *at > 0 ? 0 : malformed(e, "is empty");
    if (left < SHA256_HEX + 2)
        return malformed(e, "its end is missing");
    memcpy(next.digest, text, SHA256_HEX);
    next.digest[SHA256_HEX] = '\0';
    if (hex_decode(next.digest, bytes, sizeof bytes) != 0 || memcmp(text + SHA256_HEX, "  ", 2) != 0)
        return malformed(e, "a line does not begin with a SHA-256");
    expected_path(*at == 0, next.digest, next.path);
    size_t length = strlen(next.path);
    const char *path = text + SHA256_HEX + 2;
    if (left < SHA256_HEX + 2 + length + 1 || memcmp(path, next.path, length) != 0 || path[length] != '\n')
        return malformed(e, "a line names another file than its SHA-256 says");
    /* Behind the database, `line` is the one before. */
    if (*at > 0 && strcmp(line->path, COPY_DATABASE) != 0 && strcmp(next.digest, line->digest) <= 0)
        return malformed(e, "its lines are not in order");
    *at += SHA256_HEX + 2 + length + 1;
    *line = next;
    return 1;
}

/* ---- beginning and end ---- */

static int is_empty(int fd)
{
    int copy = dup(fd), entries = 0;
    DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
    if (!d) {
        if (copy >= 0)
            close(copy);
        return 0;
    }
    rewinddir(d);
    while (entries <= 2 && readdir(d))
        entries++;
    closedir(d);
    return entries <= 2; /* "." and ".." */
}

int copy_begin(struct copy *c, const char *directory, struct err *e)
{
    *c = (struct copy){.directory_fd = -1, .fd = -1};
    c->made = mkdir(directory, 0700) == 0;
    if (!c->made && errno != EEXIST)
        return err_errno(e, "cannot make directory %s", directory);
    c->directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c->directory_fd < 0)
        return err_errno(e, "cannot open directory %s", directory);
    c->directory = strdup(directory);
    if (c->directory && is_empty(c->directory_fd))
        return 0;
    int memory = !c->directory;
    close(c->directory_fd);
    free(c->directory);
    return memory ? err_memory(e) : err_set(e, "exists", "%s exists and is not empty", directory);
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type;
    if (walk->level > 0)
        remove(path);
    return 0;
}

void copy_end(struct copy *c, int keep)
{
    if (c->fd >= 0)
        close(c->fd);
    close(c->directory_fd);
    if (!keep) {
        nftw(c->directory, remove_entry, DESCRIPTORS, FTW_DEPTH | FTW_PHYS);
        if (c->made)
            rmdir(c->directory);
    }
    free(c->directory);
    *c = (struct copy){.directory_fd = -1, .fd = -1};
}

/* ---- files ---- */

static int make_parents(struct copy *c, const char *path, struct err *e)
{
    char parent[COPY_PATH_BYTES];
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(parent, sizeof parent, "%.*s", (int)(slash - path), path);
        if (mkdirat(c->directory_fd, parent, 0700) != 0 && errno != EEXIST)
            return err_errno(e, "cannot make directory %s/%s", c->directory, parent);
    }
    return 0;
}

int copy_open_file(struct copy *c, const char *path, struct err *e)
{
    if (make_parents(c, path, e) != 0)
        return -1;
    c->fd = openat(c->directory_fd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (c->fd < 0)
        return err_errno(e, "cannot create %s/%s", c->directory, path);
    sha256_init(&c->hash);
    return 0;
}

int copy_write(struct copy *c, const void *bytes, size_t length, struct err *e)
{
    sha256_update(&c->hash, bytes, length);
    return file_write_all(c->fd, bytes, length, e) == 0 ? 0
                                                        : err_errno(e, "cannot write to %s", c->directory);
}

int copy_close_file(struct copy *c, const char *path, const char *digest, struct err *e)
{
    uint8_t found[SHA256_BYTES];
    char hex[SHA256_HEX + 1];
    int result = fsync(c->fd) == 0 ? 0 : err_errno(e, "cannot sync %s/%s", c->directory, path);
    close(c->fd);
    c->fd = -1;
    sha256_final(&c->hash, found);
    hex_encode(found, sizeof found, hex);
    if (result == 0 && digest && strcmp(hex, digest) != 0)
        return err_set(e, "backup_damaged", "%s is damaged: expected the SHA-256 %s, found %s", path, digest,
                       hex);
    return result;
}

static int sync_directory(struct copy *c, const char *path, struct err *e)
{
    int fd = openat(c->directory_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return 0;
    int result = fd >= 0 && fsync(fd) == 0 ? 0 : err_errno(e, "cannot sync %s/%s", c->directory, path);
    if (fd >= 0)
        close(fd);
    return result;
}

int copy_rename(struct copy *c, const char *from, const char *to, struct err *e)
{
    if (renameat(c->directory_fd, from, c->directory_fd, to) != 0)
        return err_errno(e, "cannot rename %s/%s", c->directory, from);
    return sync_directory(c, ".", e);
}

static int sync_parent(struct copy *c, struct err *e)
{
    char *path = file_join(c->directory, "..");
    if (!path)
        return err_memory(e);
    int result = file_fsync_directory(path, e);
    free(path);
    return result;
}

int copy_sync(struct copy *c, struct err *e)
{
    for (int i = 0; i < SHELVES; i++) {
        char shelf[COPY_PATH_BYTES];
        snprintf(shelf, sizeof shelf, "blobs/sha256/%02x", (unsigned)i & 0xff);
        if (sync_directory(c, shelf, e) != 0)
            return -1;
    }
    if (sync_directory(c, "blobs/sha256", e) != 0 || sync_directory(c, "blobs", e) != 0 ||
        sync_directory(c, ".", e) != 0)
        return -1;
    return c->made ? sync_parent(c, e) : 0;
}

#include "adapters/blobs/blobs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/system/file.h"

enum { SHELVES = 256, PATH_BYTES = SHA256_HEX + 4, SHELF_BYTES = 3, READ_BYTES = 65536 };

/* "ab/abcd..." */
static void blob_path(const char *digest, char out[PATH_BYTES])
{
    snprintf(out, PATH_BYTES, "%.2s/%.64s", digest, digest);
}

/* ---- opening ---- */

static int open_directory(int parent, const char *path, struct err *e)
{
    int fd = openat(parent, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 ? fd : err_errno(e, "cannot open directory %s", path);
}

/* Make DATA/`name` and open it. */
static int make_directory(const char *data_directory, const char *name, struct err *e)
{
    char *path = file_join(data_directory, name);
    if (!path)
        return err_memory(e);
    int fd = file_make_directories(path, e) == 0 ? open_directory(AT_FDCWD, path, e) : -1;
    free(path);
    return fd;
}

static bool is_directory(int parent, const char *name)
{
    struct stat status;
    return fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(status.st_mode);
}

/* Where something else stands in its place, that goes to the quarantine. */
static int make_shelf(struct blobs *b, const char *shelf, struct err *e)
{
    if (mkdirat(b->shelves_fd, shelf, 0700) == 0 || is_directory(b->shelves_fd, shelf))
        return 0;
    if (quarantine_take(&b->quarantine, b->shelves_fd, shelf, e) != 0)
        return -1;
    return mkdirat(b->shelves_fd, shelf, 0700) == 0
               ? 0
               : err_errno(e, "cannot make directory blobs/sha256/%s", shelf);
}

static int make_shelves(struct blobs *b, struct err *e)
{
    for (int i = 0; i < SHELVES; i++) {
        char shelf[SHELF_BYTES];
        snprintf(shelf, sizeof shelf, "%02x", (unsigned)i & 0xff);
        if (make_shelf(b, shelf, e) != 0)
            return -1;
    }
    return 0;
}

/* DATA's own entry. A parent that may not be opened or synced was not made by this daemon. */
static int sync_parent(const char *data_directory, struct err *e)
{
    char *path = file_join(data_directory, "..");
    if (!path)
        return err_memory(e);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = 0;
    if (fd >= 0 && fsync(fd) != 0 && errno == EIO)
        result = err_errno(e, "cannot sync directory %s", path);
    if (fd >= 0)
        close(fd);
    free(path);
    return result;
}

/* Also what an earlier process made and could not sync. */
static int sync_directories(const struct blobs *b, const char *data_directory, struct err *e)
{
    if (fsync(b->shelves_fd) != 0)
        return err_errno(e, "cannot sync directory blobs/sha256");
    char *path = file_join(data_directory, "blobs");
    if (!path)
        return err_memory(e);
    int result = file_fsync_directory(path, e);
    free(path);
    if (result != 0 || file_fsync_directory(data_directory, e) != 0)
        return -1;
    return sync_parent(data_directory, e);
}

int blobs_open(struct blobs *b, const char *data_directory, struct err *e)
{
    struct blobs made = {.temporary_fd = -1, .shelves_fd = -1, .quarantine = {-1}};
    made.temporary_fd = make_directory(data_directory, "tmp", e);
    if (made.temporary_fd >= 0)
        made.shelves_fd = make_directory(data_directory, "blobs/sha256", e);
    if (made.shelves_fd < 0 || quarantine_open(&made.quarantine, data_directory, e) != 0 ||
        make_shelves(&made, e) != 0 || sync_directories(&made, data_directory, e) != 0) {
        blobs_close(&made);
        return -1;
    }
    *b = made;
    return 0;
}

void blobs_close(struct blobs *b)
{
    if (b->temporary_fd >= 0)
        close(b->temporary_fd);
    if (b->shelves_fd >= 0)
        close(b->shelves_fd);
    quarantine_close(&b->quarantine);
    *b = (struct blobs){.temporary_fd = -1, .shelves_fd = -1, .quarantine = {-1}};
}

/* ---- temporary files ---- */

int blobs_temporary(struct blobs *b, char name[BLOBS_TEMPORARY_BYTES], struct err *e)
{
    uint8_t random[16];
    random_bytes(random, sizeof random);
    hex_encode(random, sizeof random, name);
    int fd = openat(b->temporary_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return fd >= 0 ? fd : err_errno(e, "cannot create a file in tmp");
}

void blobs_discard(struct blobs *b, const char *name)
{
    unlinkat(b->temporary_fd, name, 0);
}

/* ---- blobs ---- */

/* What keeps a file from its place: a shelf that is gone or is none, or something in the place that a rename
 * cannot replace. */
static int clear_place(struct blobs *b, const char *digest, const char *path, struct err *e)
{
    const char shelf[SHELF_BYTES] = {digest[0], digest[1], '\0'};
    if (make_shelf(b, shelf, e) != 0)
        return -1;
    if (fsync(b->shelves_fd) != 0)
        return err_errno(e, "cannot sync directory blobs/sha256");
    int fd = is_directory(b->shelves_fd, path) ? open_directory(b->shelves_fd, shelf, e) : -1;
    if (fd < 0)
        return 0;
    int result = quarantine_take(&b->quarantine, fd, digest, e);
    close(fd);
    return result;
}

int blobs_put(struct blobs *b, const char *temporary, const char *digest, struct err *e)
{
    char path[PATH_BYTES];
    blob_path(digest, path);
    if (renameat(b->temporary_fd, temporary, b->shelves_fd, path) == 0)
        return 0;
    if (errno != EISDIR && errno != ENOENT && errno != ENOTDIR && errno != ENOTEMPTY && errno != EEXIST &&
        errno != ELOOP)
        return err_errno(e, "cannot move an upload to blobs/sha256/%s", path);
    if (clear_place(b, digest, path, e) != 0)
        return -1;
    if (renameat(b->temporary_fd, temporary, b->shelves_fd, path) != 0)
        return err_errno(e, "cannot move an upload to blobs/sha256/%s", path);
    return 0;
}

int blobs_sync(struct blobs *b, const char *digest, struct err *e)
{
    char shelf[SHELF_BYTES] = {digest[0], digest[1], '\0'};
    int fd = open_directory(b->shelves_fd, shelf, e);
    if (fd < 0)
        return -1;
    int result = fsync(fd) == 0 ? 0 : err_errno(e, "cannot sync directory blobs/sha256/%s", shelf);
    close(fd);
    return result;
}

void blobs_remove(struct blobs *b, const char *digest)
{
    char path[PATH_BYTES];
    blob_path(digest, path);
    unlinkat(b->shelves_fd, path, 0);
}

static bool is_whole(const struct stat *status, uint64_t bytes)
{
    return S_ISREG(status->st_mode) && status->st_size >= 0 && (uint64_t)status->st_size == bytes;
}

bool blobs_present(struct blobs *b, const char *digest, uint64_t bytes)
{
    char path[PATH_BYTES];
    struct stat status;
    blob_path(digest, path);
    return fstatat(b->shelves_fd, path, &status, AT_SYMLINK_NOFOLLOW) == 0 && is_whole(&status, bytes);
}

int blobs_open_blob(struct blobs *b, const char *digest, uint64_t bytes, struct err *e)
{
    char path[PATH_BYTES];
    struct stat status;
    blob_path(digest, path);
    /* A pipe would wait for whoever writes to it, with the registry's lock held; a lease on a file ends soon. */
    const int how = O_RDONLY | O_CLOEXEC | O_NOFOLLOW;
    int fd = openat(b->shelves_fd, path, how | O_NONBLOCK);
    if (fd < 0 && errno == EWOULDBLOCK)
        fd = openat(b->shelves_fd, path, how);
    if (fd < 0 && errno == ENOENT)
        return err_set(e, "adapter_broken", "blob %s is missing", digest);
    if (fd < 0 && (errno == ELOOP || errno == ENXIO || errno == ENOTDIR))
        return err_set(e, "adapter_broken", "something that is no file stands in the place of blob %s",
                       digest);
    if (fd < 0)
        return err_errno(e, "cannot open blob %s", digest);
    if (fstat(fd, &status) == 0 && is_whole(&status, bytes))
        return fd;
    close(fd);
    return err_set(e, "adapter_broken", "blob %s has not the expected %llu bytes", digest,
                   (unsigned long long)bytes);
}

/* ---- sweeping ---- */

static int remove_entry(struct quarantine *q, int directory_fd, const char *name, size_t *removed,
                        struct err *e)
{
    if (q && quarantine_take(q, directory_fd, name, e) != 0)
        return -1;
    if (q || unlinkat(directory_fd, name, 0) == 0)
        ++*removed;
    return 0;
}

/* Calls `keep` for every entry but "." and ".."; those that it does not keep are removed, or go to the
 * quarantine. */
static int sweep_directory(int fd, struct quarantine *q,
                           int (*keep)(void *arg, const char *name, bool *out, struct err *e), void *arg,
                           size_t *removed, struct err *e)
{
    DIR *directory = fdopendir(fd);
    if (!directory) {
        close(fd);
        return err_memory(e);
    }
    int result = 0;
    struct dirent *entry;
    while (result == 0 && (errno = 0, entry = readdir(directory))) {
        bool kept = false;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        result = keep ? keep(arg, entry->d_name, &kept, e) : 0;
        if (result == 0 && !kept)
            result = remove_entry(q, dirfd(directory), entry->d_name, removed, e);
    }
    if (result == 0 && errno != 0)
        result = err_errno(e, "cannot list a directory of the data directory");
    closedir(directory);
    return result;
}

int blobs_sweep_temporaries(struct blobs *b, size_t *removed, struct err *e)
{
    int fd = open_directory(b->temporary_fd, ".", e);
    return fd >= 0 ? sweep_directory(fd, NULL, NULL, NULL, removed, e) : -1;
}

struct sweep {
    const char *shelf;
    int (*used)(void *arg, const char *digest, bool *out, struct err *e);
    void *arg;
};

static int keep_blob(void *arg, const char *name, bool *out, struct err *e)
{
    struct sweep *s = arg;
    uint8_t digest[SHA256_BYTES];
    *out = false;
    if (hex_decode(name, digest, sizeof digest) != 0 || memcmp(name, s->shelf, 2) != 0)
        return 0;
    return s->used(s->arg, name, out, e);
}

int blobs_sweep(struct blobs *b, bool keep,
                int (*used)(void *arg, const char *digest, bool *out, struct err *e), void *arg,
                size_t *removed, struct err *e)
{
    for (int i = 0; i < SHELVES; i++) {
        char shelf[SHELF_BYTES];
        snprintf(shelf, sizeof shelf, "%02x", (unsigned)i & 0xff);
        struct sweep s = {shelf, used, arg};
        int fd = open_directory(b->shelves_fd, shelf, e);
        if (fd < 0 || sweep_directory(fd, keep ? &b->quarantine : NULL, keep_blob, &s, removed, e) != 0)
            return -1;
    }
    return 0;
}

bool blobs_recover(struct blobs *b, const char *digest, uint64_t bytes)
{
    struct err ignored; /* what cannot be brought back is missing */
    char shelf[SHELF_BYTES] = {digest[0], digest[1], '\0'};
    int fd = open_directory(b->shelves_fd, shelf, &ignored);
    bool found = fd >= 0 && quarantine_give(&b->quarantine, digest, bytes, fd) && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return found;
}

/* ---- looking ---- */

struct visitor {
    const char *shelf;
    int (*visit)(void *arg, const char *shelf, const char *name, struct err *e);
    void *arg;
};

static int visit_entry(void *arg, const char *name, bool *out, struct err *e)
{
    struct visitor *v = arg;
    *out = true;
    return v->visit(v->arg, v->shelf, name, e);
}

int blobs_visit(struct blobs *b, int (*visit)(void *arg, const char *shelf, const char *name, struct err *e),
                void *arg, struct err *e)
{
    size_t removed = 0;
    for (int i = 0; i < SHELVES; i++) {
        char shelf[SHELF_BYTES];
        snprintf(shelf, sizeof shelf, "%02x", (unsigned)i & 0xff);
        struct visitor v = {shelf, visit, arg};
        int fd = open_directory(b->shelves_fd, shelf, e);
        if (fd < 0 || sweep_directory(fd, NULL, visit_entry, &v, &removed, e) != 0)
            return -1;
    }
    return 0;
}

int blobs_check(int fd, uint64_t bytes, const char *digest, struct err *e)
{
    struct sha256 hash;
    uint8_t found[SHA256_BYTES], block[READ_BYTES];
    char found_hex[SHA256_HEX + 1];
    sha256_init(&hash);
    for (uint64_t at = 0; at < bytes;) {
        size_t length = bytes - at < sizeof block ? (size_t)(bytes - at) : sizeof block;
        if (file_pread(fd, block, length, at, e) != 0)
            return -1;
        sha256_update(&hash, block, length);
        at += length;
    }
    sha256_final(&hash, found);
    hex_encode(found, sizeof found, found_hex);
    if (strcmp(found_hex, digest) == 0)
        return 0;
    err_set(e, "adapter_broken", "blob %s is damaged: its bytes have the SHA-256 %s", digest, found_hex);
    return err_hint(e, "upload the same files again");
}

int blobs_verify(struct blobs *b, const char *digest, uint64_t bytes, struct err *e)
{
    int fd = blobs_open_blob(b, digest, bytes, e);
    if (fd < 0)
        return -1;
    int result = blobs_check(fd, bytes, digest, e);
    close(fd);
    return result;
}

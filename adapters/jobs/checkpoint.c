#include "adapters/jobs/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/sha256.h"
#include "core/system/file.h"
#include "core/train/trainer.h"

#define SUFFIX ".state"
#define PARTIAL ".partial"
enum { PATH_BYTES = 4096 };
static const char magic[8] = "adpdjob1";

static int path_of(const char *directory, const char *id, const char *suffix, char out[PATH_BYTES],
                   struct err *e)
{
    int length = snprintf(out, PATH_BYTES, "%s/%s%s", directory, id, suffix);
    return length < PATH_BYTES ? 0 : err_set(e, "io_error", "the path of %s is too long", id);
}

/* ---- writing: the magic, what the trainer says, and the digest of both ---- */

struct output {
    int fd;
    struct sha256 hash;
};

static int put(void *arg, const void *data, size_t length, struct err *e)
{
    struct output *o = arg;
    sha256_update(&o->hash, data, length);
    return file_write_all(o->fd, data, length, e);
}

static int write_all(int fd, const struct trainer *t, struct err *e)
{
    uint8_t digest[SHA256_BYTES];
    struct output o = {.fd = fd};
    sha256_init(&o.hash);
    if (put(&o, magic, sizeof magic, e) != 0 || trainer_save(t, put, &o, e) != 0)
        return -1;
    sha256_final(&o.hash, digest);
    if (file_write_all(fd, digest, sizeof digest, e) != 0)
        return -1;
    return fsync(fd) == 0 ? 0 : err_errno(e, "cannot write the checkpoint to the disk");
}

static int write_partial(const char *path, const struct trainer *t, struct err *e)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_errno(e, "cannot create %s", path);
    int result = write_all(fd, t, e);
    if (close(fd) != 0 && result == 0)
        result = err_errno(e, "cannot write %s", path);
    return result;
}

int checkpoint_write(const char *directory, const char *id, const struct trainer *t, struct err *e)
{
    char partial[PATH_BYTES], path[PATH_BYTES];
    if (path_of(directory, id, PARTIAL, partial, e) != 0 || path_of(directory, id, SUFFIX, path, e) != 0)
        return -1;
    int result = write_partial(partial, t, e);
    if (result == 0 && rename(partial, path) != 0)
        result = err_errno(e, "cannot rename %s", partial);
    if (result != 0) {
        unlink(partial);
        return -1;
    }
    return file_fsync_directory(directory, e);
}

/* ---- reading ---- */

static int malformed(const char *id, struct err *e)
{
    return err_set(e, "checkpoint_malformed", "the checkpoint of %s is damaged", id);
}

static int restore(const char *id, const uint8_t *bytes, size_t size, struct trainer *t, struct err *e)
{
    uint8_t digest[SHA256_BYTES];
    if (size < sizeof magic + sizeof digest || memcmp(bytes, magic, sizeof magic) != 0)
        return malformed(id, e);
    sha256_of(bytes, size - sizeof digest, digest);
    if (memcmp(digest, bytes + size - sizeof digest, sizeof digest) != 0)
        return malformed(id, e);
    return trainer_restore(t, bytes + sizeof magic, size - sizeof magic - sizeof digest, e);
}

static int read_open(int fd, const char *id, struct trainer *t, struct err *e)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return err_errno(e, "cannot look at the checkpoint of %s", id);
    size_t size = (size_t)status.st_size;
    void *bytes = size ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    if (bytes == MAP_FAILED)
        return size ? err_errno(e, "cannot read the checkpoint of %s", id) : malformed(id, e);
    int result = restore(id, bytes, size, t, e);
    munmap(bytes, size);
    return result;
}

int checkpoint_read(const char *directory, const char *id, struct trainer *t, bool *found, struct err *e)
{
    char path[PATH_BYTES];
    *found = false;
    if (path_of(directory, id, SUFFIX, path, e) != 0)
        return -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? 0 : err_errno(e, "cannot open %s", path);
    int result = read_open(fd, id, t, e);
    close(fd);
    *found = result == 0;
    return result;
}

/* ---- what is not needed ---- */

void checkpoint_remove(const char *directory, const char *id)
{
    char path[PATH_BYTES];
    struct err ignored;
    if (path_of(directory, id, SUFFIX, path, &ignored) == 0)
        unlink(path);
}

static bool is_needed(const char *name, bool (*keep)(void *arg, const char *id), void *arg)
{
    char id[NAME_MAX + 1];
    size_t length = strlen(name), suffix = strlen(SUFFIX);
    if (length <= suffix || strcmp(name + length - suffix, SUFFIX) != 0)
        return false;
    snprintf(id, sizeof id, "%.*s", (int)(length - suffix), name);
    return keep(arg, id);
}

int checkpoint_sweep(const char *directory, bool (*keep)(void *arg, const char *id), void *arg, struct err *e)
{
    DIR *d = opendir(directory);
    if (!d)
        return err_errno(e, "cannot read %s", directory);
    for (struct dirent *entry; (entry = readdir(d));)
        if (entry->d_name[0] != '.' && !is_needed(entry->d_name, keep, arg))
            unlinkat(dirfd(d), entry->d_name, 0);
    closedir(d);
    return file_fsync_directory(directory, e);
}

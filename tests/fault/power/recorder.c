#include "tests/fault/power/recorder.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { OBJECTS_MAX = 20000, SITES_MAX = 256, STACK = 12 };

struct object {
    dev_t device;
    ino_t inode;
    char path[OP_NAME_BYTES]; /* below the root, with what is random in it replaced */
    unsigned pending;
};

static struct {
    pthread_mutex_t lock; /* held over a call and its record: the log has the order of the calls */
    struct oplog *log;    /* NULL: nothing is recorded */
    struct object objects[OBJECTS_MAX];
    int countdown; /* operations until the process is dead; -1: it lives on */
    bool dead;
    struct sync_site sites[SITES_MAX];
    size_t site_count;
} rec = {.lock = PTHREAD_MUTEX_INITIALIZER, .countdown = -1};

static void insist(bool condition, const char *what)
{
    if (!condition) {
        perror(what);
        abort();
    }
}

/* ---- the log ---- */

static struct op *append(enum op_kind kind)
{
    struct oplog *log = rec.log;
    if (log->count == log->capacity) {
        log->capacity = log->capacity ? 2 * log->capacity : 1024;
        log->ops = realloc(log->ops, log->capacity * sizeof *log->ops);
        insist(log->ops != NULL, "memory for the log");
    }
    struct op *op = &log->ops[log->count++];
    *op = (struct op){.kind = kind, .object = -1, .directory = -1, .site = -1};
    return op;
}

void oplog_free(struct oplog *log)
{
    for (size_t i = 0; i < log->count; i++)
        free(log->ops[i].data);
    free(log->ops);
    free(log);
}

/* ---- objects ---- */

/* An inode's number may come again, so the newest object with it counts. */
static int find_object(const struct stat *status)
{
    for (int i = rec.log->objects - 1; i >= 0; i--)
        if (rec.objects[i].inode == status->st_ino && rec.objects[i].device == status->st_dev)
            return i;
    return -1;
}

static int object_of(int fd)
{
    struct stat status;
    return rec.log && fstat(fd, &status) == 0 ? find_object(&status) : -1;
}

/* "SHELF", "BLOB" and "UPLOAD" instead of digits. */
static const char *plain_name(const char *name)
{
    size_t digits = strspn(name, "0123456789abcdef");
    if (name[digits])
        return name;
    return digits == 64 ? "BLOB" : digits == 32 ? "UPLOAD" : digits == 2 ? "SHELF" : name;
}

static void set_path(int object, int directory, const char *name)
{
    const char *parent = directory < 0 ? "" : rec.objects[directory].path;
    char path[2 * OP_NAME_BYTES];
    snprintf(path, sizeof path, "%s%s%s", parent, *parent ? "/" : "", plain_name(name));
    snprintf(rec.objects[object].path, OP_NAME_BYTES, "%.*s", OP_NAME_BYTES - 1, path);
}

static int new_object(const struct stat *status, int directory, const char *name)
{
    int object = rec.log->objects++;
    insist(object < OBJECTS_MAX, "too many objects");
    rec.objects[object] = (struct object){.device = status->st_dev, .inode = status->st_ino};
    set_path(object, directory, name);
    return object;
}

/* Where an entry is: the directory's object (-1: not below the root) and the name in it. */
struct place {
    int directory;
    char name[OP_NAME_BYTES];
};

static struct place find_place(int at, const char *path)
{
    struct place p = {.directory = -1};
    struct stat status;
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char parent[PATH_MAX];
    if (!rec.log || strlen(path) >= sizeof parent)
        return p;
    snprintf(parent, sizeof parent, "%.*s", slash ? (int)(slash - path + 1) : 1, slash ? path : ".");
    if (fstatat(at, parent, &status, 0) == 0)
        p.directory = find_object(&status);
    insist(p.directory < 0 || (*name && strlen(name) < sizeof p.name), "the name of a file");
    if (p.directory >= 0)
        strcpy(p.name, name);
    return p;
}

static bool look(int at, const char *path, struct stat *status)
{
    return fstatat(at, path, status, AT_SYMLINK_NOFOLLOW) == 0;
}

/* ---- records ---- */

static void record_add(const struct place *p, int object, bool is_directory)
{
    struct op *op = append(OP_ADD);
    op->object = object;
    op->directory = p->directory;
    op->is_directory = is_directory;
    strcpy(op->name, p->name);
    rec.objects[p->directory].pending |= 1 << OP_ADD;
}

static void record_new(const struct place *p, int at, const char *path)
{
    struct stat status;
    insist(look(at, path, &status), path);
    record_add(p, new_object(&status, p->directory, p->name), S_ISDIR(status.st_mode));
}

static void record_remove(const struct place *p)
{
    struct op *op = append(OP_REMOVE);
    op->directory = p->directory;
    strcpy(op->name, p->name);
    rec.objects[p->directory].pending |= 1 << OP_REMOVE;
}

/* Between directories these are two steps: nothing says that a disk makes them together. */
static void record_rename(const struct place *from, const struct place *to, int object)
{
    if (from->directory == to->directory) {
        struct op *op = append(OP_MOVE);
        op->object = object;
        op->directory = to->directory;
        strcpy(op->from, from->name);
        strcpy(op->name, to->name);
        rec.objects[to->directory].pending |= 1 << OP_MOVE;
    } else {
        record_add(to, object, false);
        record_remove(from);
    }
    set_path(object, to->directory, to->name);
}

static void record_write(int object, const void *data, size_t length, uint64_t offset)
{
    struct op *op = append(OP_WRITE);
    op->object = object;
    op->offset = offset;
    op->length = length;
    op->data = malloc(length ? length : 1);
    insist(op->data != NULL, "memory for the log");
    memcpy(op->data, data, length);
    rec.objects[object].pending |= 1 << OP_WRITE;
}

static void record_truncate(int object, uint64_t size)
{
    struct op *op = append(OP_TRUNCATE);
    op->object = object;
    op->offset = size;
    rec.objects[object].pending |= 1 << OP_TRUNCATE;
}

/* ---- sites ---- */

static bool is_sqlite(const void *address)
{
    Dl_info info;
    return dladdr(address, &info) && info.dli_fname && strstr(info.dli_fname, "sqlite");
}

/* `caller`: where it goes on after the sync; the stack is read from there. */
static int find_site(int object, void *caller)
{
    void *stack[STACK + 2] = {NULL};
    struct sync_site s = {.frames = {NULL}};
    int depth = backtrace(stack, STACK), i = 0;
    while (i < depth && stack[i] != caller)
        i++;
    insist(i < depth, "the caller is not on the stack");
    memcpy(s.frames, stack + i, sizeof s.frames);
    snprintf(s.what, sizeof s.what, "%s", rec.objects[object].path);
    s.by_sqlite = is_sqlite(s.frames[0]);
    for (size_t k = 0; k < rec.site_count; k++)
        if (memcmp(rec.sites[k].frames, s.frames, sizeof s.frames) == 0)
            return (int)k;
    insist(rec.site_count < SITES_MAX, "too many sites");
    rec.sites[rec.site_count] = s;
    return (int)rec.site_count++;
}

static void record_sync(int object, void *caller)
{
    int site = find_site(object, caller);
    struct op *op = append(OP_SYNC);
    op->object = object;
    op->site = site;
    rec.sites[site].pending |= rec.objects[object].pending;
    rec.objects[object].pending = 0;
}

size_t recorder_sites(const struct sync_site **out)
{
    *out = rec.sites;
    return rec.site_count;
}

/* ---- death ---- */

/* Asked before every operation on a recorded file. */
static bool dies(void)
{
    if (!rec.dead && rec.countdown >= 0)
        rec.dead = rec.countdown-- == 0;
    if (rec.dead)
        errno = EIO;
    return rec.dead;
}

void recorder_die_after(int n)
{
    rec.countdown = n;
}

bool recorder_revive(void)
{
    bool was = rec.dead;
    rec.dead = false;
    rec.countdown = -1;
    return was;
}

/* ---- beginning and end ---- */

static void scan_file(int at, const char *name, int object)
{
    static uint8_t block[1 << 20];
    int fd = openat(at, name, O_RDONLY | O_CLOEXEC);
    ssize_t got;
    insist(fd >= 0, name);
    for (uint64_t offset = 0; (got = pread(fd, block, sizeof block, (off_t)offset)) > 0;
         offset += (uint64_t)got)
        record_write(object, block, (size_t)got, offset);
    insist(got == 0, name);
    close(fd);
}

/* What is there; directories lie a few levels deep. */
static void scan(int fd, int directory)
{
    DIR *d = fdopendir(fd);
    struct dirent *entry;
    insist(d != NULL, "fdopendir");
    while ((entry = readdir(d))) {
        struct place p = {.directory = directory};
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        insist(strlen(entry->d_name) < sizeof p.name, entry->d_name);
        strcpy(p.name, entry->d_name);
        record_new(&p, fd, p.name);
        int object = rec.log->objects - 1;
        if (rec.log->ops[rec.log->count - 1].is_directory)
            scan(openat(fd, p.name, O_RDONLY | O_DIRECTORY | O_CLOEXEC), object);
        else
            scan_file(fd, p.name, object);
    }
    closedir(d);
}

void recorder_begin(const char *root)
{
    struct stat status;
    struct oplog *log = calloc(1, sizeof *log);
    insist(log && stat(root, &status) == 0, root);
    rec.log = log;
    new_object(&status, -1, "");
    scan(open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC), 0);
    log->base = log->count;
    for (int i = 0; i < log->objects; i++)
        rec.objects[i].pending = 0;
}

void recorder_mark(enum op_kind kind, int change)
{
    pthread_mutex_lock(&rec.lock);
    append(kind)->object = change;
    pthread_mutex_unlock(&rec.lock);
}

struct oplog *recorder_end(void)
{
    struct oplog *log = rec.log;
    rec.log = NULL;
    recorder_revive();
    return log;
}

/* ---- the C library's functions ---- */

static int open_recorded(int at, const char *path, int flags, mode_t mode)
{
    struct stat status;
    struct place p = find_place(at, path);
    bool present = look(at, path, &status), creates = !present && (flags & O_CREAT);
    bool truncates = present && (flags & O_TRUNC) && status.st_size > 0;
    if (p.directory >= 0 && (creates || truncates) && dies())
        return -1;
    int fd = (int)syscall(SYS_openat, at, path, flags, mode);
    if (fd >= 0 && p.directory >= 0 && creates)
        record_new(&p, at, path);
    if (fd >= 0 && p.directory >= 0 && truncates)
        record_truncate(find_object(&status), 0);
    return fd;
}

static int open_at(int at, const char *path, int flags, mode_t mode)
{
    if (!(flags & (O_CREAT | O_TRUNC)))
        return (int)syscall(SYS_openat, at, path, flags, 0);
    pthread_mutex_lock(&rec.lock);
    int fd = open_recorded(at, path, flags, mode);
    pthread_mutex_unlock(&rec.lock);
    return fd;
}

static mode_t mode_of(int flags, va_list arguments)
{
    return flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
}

#define OPEN(name, parameters, at)               \
    int name parameters                          \
    {                                            \
        va_list arguments;                       \
        va_start(arguments, flags);              \
        mode_t mode = mode_of(flags, arguments); \
        va_end(arguments);                       \
        return open_at(at, path, flags, mode);   \
    }
#undef open
#undef openat
OPEN(open, (const char *path, int flags, ...), AT_FDCWD)
OPEN(open64, (const char *path, int flags, ...), AT_FDCWD)
OPEN(openat, (int at, const char *path, int flags, ...), at)
OPEN(openat64, (int at, const char *path, int flags, ...), at)

static ssize_t write_at(int fd, const void *data, size_t length, off64_t offset)
{
    pthread_mutex_lock(&rec.lock);
    int object = object_of(fd);
    ssize_t put = object >= 0 && dies() ? -1 : syscall(SYS_pwrite64, fd, data, length, offset);
    if (object >= 0 && put > 0)
        record_write(object, data, (size_t)put, (uint64_t)offset);
    pthread_mutex_unlock(&rec.lock);
    return put;
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset)
{
    return write_at(fd, data, length, offset);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset)
{
    return write_at(fd, data, length, offset);
}

ssize_t write(int fd, const void *data, size_t length)
{
    pthread_mutex_lock(&rec.lock);
    int object = object_of(fd);
    uint64_t offset = object >= 0 ? (uint64_t)lseek(fd, 0, SEEK_CUR) : 0;
    ssize_t put = object >= 0 && dies() ? -1 : syscall(SYS_write, fd, data, length);
    if (object >= 0 && put > 0)
        record_write(object, data, (size_t)put, offset);
    pthread_mutex_unlock(&rec.lock);
    return put;
}

int ftruncate64(int fd, off64_t size)
{
    pthread_mutex_lock(&rec.lock);
    int object = object_of(fd);
    int result = object >= 0 && dies() ? -1 : (int)syscall(SYS_ftruncate, fd, size);
    if (object >= 0 && result == 0)
        record_truncate(object, (uint64_t)size);
    pthread_mutex_unlock(&rec.lock);
    return result;
}

int ftruncate(int fd, off_t size)
{
    return ftruncate64(fd, size);
}

static int sync_file(long call, int fd, void *caller)
{
    pthread_mutex_lock(&rec.lock);
    int object = object_of(fd);
    int result = object >= 0 && dies() ? -1 : (int)syscall(call, fd);
    if (object >= 0 && result == 0)
        record_sync(object, caller);
    pthread_mutex_unlock(&rec.lock);
    return result;
}

int fsync(int fd)
{
    return sync_file(SYS_fsync, fd, __builtin_return_address(0));
}

int fdatasync(int fd)
{
    return sync_file(SYS_fdatasync, fd, __builtin_return_address(0));
}

int renameat(int from_at, const char *from, int to_at, const char *to)
{
    struct stat status;
    pthread_mutex_lock(&rec.lock);
    struct place source = find_place(from_at, from), target = find_place(to_at, to);
    bool recorded = source.directory >= 0 && target.directory >= 0 && look(from_at, from, &status);
    int result = recorded && dies() ? -1 : (int)syscall(SYS_renameat2, from_at, from, to_at, to, 0);
    if (recorded && result == 0)
        record_rename(&source, &target, find_object(&status));
    pthread_mutex_unlock(&rec.lock);
    return result;
}

int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int unlinkat(int at, const char *path, int flags)
{
    pthread_mutex_lock(&rec.lock);
    struct place p = find_place(at, path);
    int result = p.directory >= 0 && dies() ? -1 : (int)syscall(SYS_unlinkat, at, path, flags);
    if (p.directory >= 0 && result == 0)
        record_remove(&p);
    pthread_mutex_unlock(&rec.lock);
    return result;
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

int rmdir(const char *path)
{
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int mkdirat(int at, const char *path, mode_t mode)
{
    struct stat status;
    pthread_mutex_lock(&rec.lock);
    struct place p = find_place(at, path);
    bool creates = p.directory >= 0 && !look(at, path, &status);
    int result = creates && dies() ? -1 : (int)syscall(SYS_mkdirat, at, path, mode);
    if (creates && result == 0)
        record_new(&p, at, path);
    pthread_mutex_unlock(&rec.lock);
    return result;
}

int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

#include "adapters/store/sqlite/pagesum.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "core/base/sha256.h"

enum {
    PAGE_BYTES_MIN = 512,
    PAGE_BYTES_MAX = 65536,
    HEADER_BYTES = 100,
    RESERVED_AT = 20, /* in the header */
};

struct summed_file {
    sqlite3_file methods; /* first: what SQLite sees */
    bool summed;          /* its pages have checksums */
    bool damaged;         /* and one did not match */
    sqlite3_file *below;  /* the system's own, behind this struct */
};

static struct summed_file *summed(sqlite3_file *f)
{
    return (struct summed_file *)f;
}

static sqlite3_file *below(sqlite3_file *f)
{
    return summed(f)->below;
}

/* ---- pages ---- */

static bool is_page(int count, sqlite3_int64 at)
{
    return count >= PAGE_BYTES_MIN && count <= PAGE_BYTES_MAX && (count & (count - 1)) == 0 &&
           at % count == 0;
}

/* Of the page's number, too: a page that was written to another one's place is noticed. */
static void sum_page(const uint8_t *page, int count, sqlite3_int64 at, uint8_t out[PAGESUM_BYTES])
{
    struct sha256 hash;
    uint8_t digest[SHA256_BYTES];
    uint64_t number = (uint64_t)(at / count) + 1;
    uint8_t order[8];
    for (int i = 0; i < 8; i++)
        order[i] = (uint8_t)(number >> (8 * i));
    sha256_init(&hash);
    sha256_update(&hash, order, sizeof order);
    sha256_update(&hash, page, (size_t)count - PAGESUM_BYTES);
    sha256_final(&hash, digest);
    memcpy(out, digest, PAGESUM_BYTES);
}

/* The header says whether there are checksums, whoever reads or writes it. */
static void look_at_header(struct summed_file *f, const uint8_t *bytes, int count, sqlite3_int64 at)
{
    if (at == 0 && count >= HEADER_BYTES)
        f->summed = bytes[RESERVED_AT] == PAGESUM_BYTES;
}

static int read_page(sqlite3_file *file, void *out, int count, sqlite3_int64 at)
{
    struct summed_file *f = summed(file);
    uint8_t found[PAGESUM_BYTES];
    int status = f->below->pMethods->xRead(f->below, out, count, at);
    if (status != SQLITE_OK)
        return status;
    look_at_header(f, out, count, at);
    if (!f->summed || !is_page(count, at))
        return SQLITE_OK;
    sum_page(out, count, at, found);
    const uint8_t *stored = (const uint8_t *)out + count - PAGESUM_BYTES;
    if (memcmp(found, stored, PAGESUM_BYTES) == 0)
        return SQLITE_OK;
    f->damaged = true;
    return SQLITE_IOERR_DATA;
}

/* Into a copy: the page is SQLite's. */
static int write_page(sqlite3_file *file, const void *bytes, int count, sqlite3_int64 at)
{
    struct summed_file *f = summed(file);
    uint8_t page[PAGE_BYTES_MAX];
    look_at_header(f, bytes, count, at);
    if (!f->summed || !is_page(count, at))
        return f->below->pMethods->xWrite(f->below, bytes, count, at);
    memcpy(page, bytes, (size_t)count - PAGESUM_BYTES);
    sum_page(page, count, at, page + count - PAGESUM_BYTES);
    return f->below->pMethods->xWrite(f->below, page, count, at);
}

/* ---- everything else is the system's ---- */

static int close_file(sqlite3_file *f)
{
    return below(f)->pMethods->xClose(below(f));
}

static int truncate_file(sqlite3_file *f, sqlite3_int64 size)
{
    return below(f)->pMethods->xTruncate(below(f), size);
}

static int sync_file(sqlite3_file *f, int flags)
{
    return below(f)->pMethods->xSync(below(f), flags);
}

static int file_size(sqlite3_file *f, sqlite3_int64 *out)
{
    return below(f)->pMethods->xFileSize(below(f), out);
}

static int lock_file(sqlite3_file *f, int level)
{
    return below(f)->pMethods->xLock(below(f), level);
}

static int unlock_file(sqlite3_file *f, int level)
{
    return below(f)->pMethods->xUnlock(below(f), level);
}

static int check_reserved_lock(sqlite3_file *f, int *out)
{
    return below(f)->pMethods->xCheckReservedLock(below(f), out);
}

static int control_file(sqlite3_file *f, int what, void *arg)
{
    return below(f)->pMethods->xFileControl(below(f), what, arg);
}

static int sector_size(sqlite3_file *f)
{
    return below(f)->pMethods->xSectorSize(below(f));
}

static int characteristics(sqlite3_file *f)
{
    return below(f)->pMethods->xDeviceCharacteristics(below(f));
}

/* Version 1: no shared memory and no mapping, through which pages would pass unseen. */
static const sqlite3_io_methods methods = {1,
                                           close_file,
                                           read_page,
                                           write_page,
                                           truncate_file,
                                           sync_file,
                                           file_size,
                                           lock_file,
                                           unlock_file,
                                           check_reserved_lock,
                                           control_file,
                                           sector_size,
                                           characteristics,
                                           NULL,
                                           NULL,
                                           NULL,
                                           NULL,
                                           NULL,
                                           NULL};

/* ---- the VFS ---- */

static sqlite3_vfs *system_vfs;
static sqlite3_vfs own_vfs;

static int open_database(const char *name, struct summed_file *f, int flags, int *flags_out)
{
    sqlite3_int64 size = 0;
    f->methods.pMethods = NULL;
    f->below = (sqlite3_file *)(f + 1);
    int status = system_vfs->xOpen(system_vfs, name, f->below, flags, flags_out);
    if (f->below->pMethods)
        f->methods.pMethods = &methods;
    if (status == SQLITE_OK)
        status = f->below->pMethods->xFileSize(f->below, &size);
    f->damaged = false;
    f->summed =
        size == 0; /* whoever makes one reserves the bytes, and pages may be written before the first */
    return status;
}

static int open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *flags_out)
{
    (void)vfs;
    if (flags & SQLITE_OPEN_MAIN_DB)
        return open_database(name, summed(file), flags, flags_out);
    return system_vfs->xOpen(system_vfs, name, file, flags, flags_out);
}

static void make_vfs(void)
{
    if (sqlite3_initialize() != SQLITE_OK || !(system_vfs = sqlite3_vfs_find(NULL)))
        return;
    own_vfs = *system_vfs;
    own_vfs.zName = "pagesum";
    own_vfs.pNext = NULL;
    own_vfs.szOsFile = (int)sizeof(struct summed_file) + system_vfs->szOsFile;
    own_vfs.xOpen = open_file;
    if (sqlite3_vfs_register(&own_vfs, 0) != SQLITE_OK)
        own_vfs.zName = NULL;
}

const char *pagesum_vfs(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_vfs);
    return own_vfs.zName;
}

void pagesum_reserve(sqlite3 *connection)
{
    int count = PAGESUM_BYTES;
    sqlite3_file_control(connection, "main", SQLITE_FCNTL_RESERVE_BYTES, &count);
}

static const struct summed_file *file_of(sqlite3 *connection)
{
    sqlite3_file *f = NULL;
    sqlite3_file_control(connection, "main", SQLITE_FCNTL_FILE_POINTER, &f);
    return f && f->pMethods == &methods ? summed(f) : NULL;
}

bool pagesum_on(sqlite3 *connection)
{
    const struct summed_file *f = file_of(connection);
    return f && f->summed;
}

bool pagesum_damaged(sqlite3 *connection)
{
    const struct summed_file *f = file_of(connection);
    return f && f->damaged;
}

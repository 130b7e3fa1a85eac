#include "adapters/training/dataset/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/system/file.h"

enum { PENDING_BYTES = 1 << 20 };

/* Not every file system makes files without a name. */
static int open_named(const char *directory, struct err *e)
{
    char *path = file_join(directory, "spool-XXXXXX");
    if (!path)
        return err_memory(e);
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    else
        err_errno(e, "cannot make a temporary file in %s", directory);
    free(path);
    return fd;
}

int spool_open(struct spool *s, const char *directory, struct err *e)
{
    *s = (struct spool){.fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)};
    if (s->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR))
        s->fd = open_named(directory, e);
    else if (s->fd < 0)
        err_errno(e, "cannot make a temporary file in %s", directory);
    return s->fd < 0 ? -1 : 0;
}

static int flush(struct spool *s, struct err *e)
{
    int result = s->pending.length > 0 ? file_write_all(s->fd, s->pending.data, s->pending.length, e) : 0;
    buf_clear(&s->pending);
    return result;
}

int spool_write(struct spool *s, const void *data, size_t length, struct err *e)
{
    if (buf_append(&s->pending, data, length) != 0)
        return err_memory(e);
    s->bytes += length;
    return s->pending.length >= PENDING_BYTES ? flush(s, e) : 0;
}

int spool_map(struct spool *s, struct err *e)
{
    if (flush(s, e) != 0)
        return -1;
    buf_fini(&s->pending);
    if (s->bytes == 0)
        return 0;
    void *map = mmap(NULL, (size_t)s->bytes, PROT_READ, MAP_SHARED, s->fd, 0);
    if (map == MAP_FAILED)
        return err_errno(e, "cannot map a temporary file");
    s->map = map;
    return 0;
}

void spool_close(struct spool *s)
{
    if (s->map)
        munmap(s->map, (size_t)s->bytes);
    buf_fini(&s->pending);
    if (s->fd >= 0)
        close(s->fd);
    *s = (struct spool){.fd = -1};
}

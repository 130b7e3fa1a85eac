#include "adapters/blobs/incoming.h"

#include <errno.h>
#include <unistd.h>

#include "core/system/file.h"

int incoming_open(struct incoming *i, struct blobs *b, struct err *e)
{
    *i = (struct incoming){.blobs = b, .fd = -1};
    i->fd = blobs_temporary(b, i->name, e);
    if (i->fd < 0)
        return -1;
    sha256_init(&i->hash);
    return 0;
}

int incoming_write(struct incoming *i, const void *data, size_t length, struct err *e)
{
    if (file_write_all(i->fd, data, length, e) != 0)
        return -1;
    sha256_update(&i->hash, data, length);
    i->bytes += length;
    return 0;
}

int incoming_sync(struct incoming *i, bool *failed, struct err *e)
{
    if (fsync(i->fd) == 0)
        return 0;
    *failed = errno == EIO; /* the kernel may have dropped pages of other files, too */
    return err_errno(e, "cannot sync an upload");
}

void incoming_finish(struct incoming *i)
{
    uint8_t digest[SHA256_BYTES];
    sha256_final(&i->hash, digest);
    hex_encode(digest, sizeof digest, i->digest);
}

int incoming_put(struct incoming *i, bool *failed, struct err *e)
{
    if (blobs_put(i->blobs, i->name, i->digest, e) != 0)
        return -1;
    i->placed = true;
    if (blobs_sync(i->blobs, i->digest, e) == 0)
        return 0;
    *failed = true;
    return -1;
}

void incoming_close(struct incoming *i)
{
    if (i->fd < 0)
        return;
    if (!i->placed)
        blobs_discard(i->blobs, i->name);
    close(i->fd);
    i->fd = -1;
}

#include "server/transfer/blob_download.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "adapters/blobs/blobs.h"
#include "core/system/file.h"
#include "server/http/download.h"

enum { CHECKED_BEFORE_BYTES = DOWNLOAD_BLOCK_BYTES };

struct source {
    struct blob_download blob;
    uint64_t offset;
    struct sha256 hash; /* of what was read */
};

static void tell(const struct source *s)
{
    if (s->blob.damaged)
        s->blob.damaged(s->blob.arg);
}

static int check_end(struct source *s, struct err *e)
{
    uint8_t digest[SHA256_BYTES];
    char found[SHA256_HEX + 1];
    sha256_final(&s->hash, digest);
    hex_encode(digest, sizeof digest, found);
    if (strcmp(found, s->blob.digest) == 0)
        return 0;
    tell(s);
    return err_set(e, "adapter_broken", "blob %s is damaged: its bytes have the SHA-256 %s", s->blob.digest,
                   found);
}

static int read_source(void *arg, char *out, size_t max, size_t *count, struct err *e)
{
    struct source *s = arg;
    uint64_t left = s->blob.bytes - s->offset;
    size_t length = left < max ? (size_t)left : max;
    if (file_pread(s->blob.fd, out, length, s->offset, e) != 0)
        return -1;
    sha256_update(&s->hash, out, length);
    s->offset += length;
    if (length > 0 && s->offset == s->blob.bytes && check_end(s, e) != 0)
        return -1;
    *count = length;
    return 0;
}

static void close_blob(const struct blob_download *d)
{
    close(d->fd);
    if (d->close)
        d->close(d->arg);
}

static void close_source(void *arg)
{
    struct source *s = arg;
    close_blob(&s->blob);
    free(s);
}

int blob_download_start(struct request *r, const char *content_type, const struct blob_download *d,
                        struct err *e)
{
    struct source *s = malloc(sizeof *s);
    if (!s) {
        close_blob(d);
        return err_memory(e);
    }
    *s = (struct source){.blob = *d};
    sha256_init(&s->hash);
    if (d->bytes <= CHECKED_BEFORE_BYTES && blobs_check(d->fd, d->bytes, d->digest, e) != 0) {
        if (strcmp(e->code, "adapter_broken") == 0)
            tell(s);
        close_source(s);
        return -1;
    }
    r->reply.stream_bytes = d->bytes;
    download_start(r, content_type,
                   &(struct download_source){.read = read_source, .close = close_source, .arg = s});
    return 0;
}

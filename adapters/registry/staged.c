#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "adapters/registry/registry_private.h"
#include "adapters/registry/staged.h"
#include "adapters/types/files.h"
#include "core/system/file.h"

enum { PARTS = 2 };

struct part {
    int fd;
    bool placed; /* no longer in DATA/tmp */
    char name[BLOBS_TEMPORARY_BYTES];
    uint64_t bytes;
    struct sha256 hash;
    char digest[SHA256_HEX + 1]; /* after staged_sync */
};

struct staged {
    struct registry *registry;
    bool synced;
    struct part parts[PARTS]; /* by enum staged_part */
};

static const struct {
    const char *name;
    uint64_t bytes_max;
} KINDS[PARTS] = {
    [STAGED_CONFIG] = {"config", ADAPTER_CONFIG_BYTES_MAX},
    [STAGED_WEIGHTS] = {"weights", ADAPTER_WEIGHTS_BYTES_MAX},
};

int staged_new(struct staged **out, struct registry *r, struct err *e)
{
    struct staged *s = calloc(1, sizeof *s);
    if (!s)
        return err_memory(e);
    s->registry = r;
    for (int i = 0; i < PARTS; i++)
        s->parts[i].fd = -1;
    for (int i = 0; i < PARTS; i++) {
        struct part *p = &s->parts[i];
        p->fd = blobs_temporary(&r->blobs, p->name, e);
        if (p->fd < 0) {
            staged_free(s);
            return -1;
        }
        sha256_init(&p->hash);
    }
    *out = s;
    return 0;
}

int staged_write(struct staged *s, enum staged_part part, const void *data, size_t length, struct err *e)
{
    struct part *p = &s->parts[part];
    if (s->synced)
        return err_set(e, "internal_error", "an upload that is complete cannot grow");
    if (length > KINDS[part].bytes_max - p->bytes) {
        err_set(e, "body_too_large", "the part \"%s\" may have %llu bytes at most", KINDS[part].name,
                (unsigned long long)KINDS[part].bytes_max);
        return err_param(e, KINDS[part].name);
    }
    if (file_write_all(p->fd, data, length, e) != 0)
        return -1;
    sha256_update(&p->hash, data, length);
    p->bytes += length;
    return 0;
}

static int sync_part(struct staged *s, const struct part *p, struct err *e)
{
    if (fsync(p->fd) == 0)
        return 0;
    if (errno == EIO) /* the kernel may have dropped pages of other files, too */
        atomic_store(&s->registry->failed, true);
    return err_errno(e, "cannot sync an upload");
}

int staged_sync(struct staged *s, struct err *e)
{
    if (s->synced)
        return 0;
    for (int i = 0; i < PARTS; i++) {
        if (sync_part(s, &s->parts[i], e) != 0)
            return -1;
    }
    for (int i = 0; i < PARTS; i++) {
        uint8_t digest[SHA256_BYTES];
        sha256_final(&s->parts[i].hash, digest);
        hex_encode(digest, sizeof digest, s->parts[i].digest);
    }
    s->synced = true;
    return 0;
}

int staged_fd(const struct staged *s, enum staged_part part)
{
    return s->parts[part].fd;
}

uint64_t staged_bytes(const struct staged *s, enum staged_part part)
{
    return s->parts[part].bytes;
}

const char *staged_digest(const struct staged *s, enum staged_part part)
{
    return s->parts[part].digest;
}

static int put_part(struct staged *s, struct part *p, struct err *e)
{
    struct blobs *b = &s->registry->blobs;
    if (blobs_put(b, p->name, p->digest, e) != 0)
        return -1;
    p->placed = true;
    if (blobs_sync(b, p->digest, e) == 0)
        return 0;
    atomic_store(&s->registry->failed, true);
    return -1;
}

int staged_put(struct staged *s, struct err *e)
{
    for (int i = 0; i < PARTS; i++) {
        if (put_part(s, &s->parts[i], e) != 0)
            return -1;
    }
    return 0;
}

void staged_free(struct staged *s)
{
    if (!s)
        return;
    for (int i = 0; i < PARTS; i++) {
        struct part *p = &s->parts[i];
        if (p->fd < 0)
            continue;
        if (!p->placed)
            blobs_discard(&s->registry->blobs, p->name);
        close(p->fd);
    }
    free(s);
}

#include <stdlib.h>

#include "adapters/blobs/incoming.h"
#include "adapters/registry/registry_private.h"
#include "adapters/registry/staged.h"
#include "adapters/types/files.h"

enum { PARTS = 2 };

struct staged {
    struct registry *registry;
    bool synced;
    struct incoming parts[PARTS]; /* by enum staged_part */
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
        if (incoming_open(&s->parts[i], &r->blobs, e) != 0) {
            staged_free(s);
            return -1;
        }
    }
    *out = s;
    return 0;
}

int staged_write(struct staged *s, enum staged_part part, const void *data, size_t length, struct err *e)
{
    struct incoming *p = &s->parts[part];
    if (s->synced)
        return err_set(e, "internal_error", "an upload that is complete cannot grow");
    if (length > KINDS[part].bytes_max - p->bytes) {
        err_set(e, "body_too_large", "the part \"%s\" may have %llu bytes at most", KINDS[part].name,
                (unsigned long long)KINDS[part].bytes_max);
        return err_param(e, KINDS[part].name);
    }
    return incoming_write(p, data, length, e);
}

/* -1, and nothing is promised any more where the disk lost something. */
static int noted(struct staged *s, bool failed)
{
    if (failed)
        atomic_store(&s->registry->failed, true);
    return -1;
}

int staged_sync(struct staged *s, struct err *e)
{
    if (s->synced)
        return 0;
    for (int i = 0; i < PARTS; i++) {
        bool failed = false;
        if (incoming_sync(&s->parts[i], &failed, e) != 0)
            return noted(s, failed);
    }
    for (int i = 0; i < PARTS; i++)
        incoming_finish(&s->parts[i]);
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

int staged_put(struct staged *s, struct err *e)
{
    for (int i = 0; i < PARTS; i++) {
        bool failed = false;
        if (incoming_put(&s->parts[i], &failed, e) != 0)
            return noted(s, failed);
    }
    return 0;
}

void staged_free(struct staged *s)
{
    if (!s)
        return;
    for (int i = 0; i < PARTS; i++)
        incoming_close(&s->parts[i]);
    free(s);
}

/* An answer that is read from the disk while it is sent: in blocks, on job threads, while the connection
 * waits. One block of it is in memory. */
#pragma once
#include "server/http/request.h"

enum { DOWNLOAD_BLOCK_BYTES = 256 << 10 };

struct download_source {
    /* On a job thread, one call at a time: fill `out` and *count; 0 is the end. An error is logged and cuts
     * the answer off, so that the client sees that it is not whole. */
    int (*read)(void *arg, char *out, size_t max, size_t *count, struct err *e);
    void (*close)(void *arg); /* any thread, once, also when download_start fails */
    void *arg;
};

/* A handler's end: 200 with this content. Becomes the request's task. */
void download_start(struct request *r, const char *content_type, const struct download_source *s);

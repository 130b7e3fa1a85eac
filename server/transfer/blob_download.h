/* A blob as an answer: read in blocks on job threads, its bytes hashed on the way: what its digest does not
 * name never ends well. A small one is checked before anything of it is sent, of a large one the last block
 * is kept back until then. */
#pragma once
#include "server/http/request.h"

struct blob_download {
    int fd; /* taken over */
    uint64_t bytes;
    const char *digest;         /* borrowed until `close` */
    void (*damaged)(void *arg); /* once, where it is not what its digest says; may be NULL */
    void (*close)(void *arg);   /* any thread, once, also when the start fails; may be NULL */
    void *arg;
};

/* A handler's end on a job thread: 200 with this content, or -1 with "adapter_broken" and the like;
 * everything is closed then. */
MUST_USE int blob_download_start(struct request *r, const char *content_type, const struct blob_download *d,
                                 struct err *e);

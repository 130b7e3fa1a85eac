/* multipart/form-data (RFC 7578, RFC 2046) as a stream: bytes go in as they arrive, parts come out, nothing
 * is kept but the line or delimiter in hand. Strict: what two readers could understand differently is
 * refused. No I/O; one thread at a time; a fuzz target.
 *
 * Own code rather than libmicrohttpd's post processor: that cannot tell an empty part from a missing one,
 * decides by itself how much of a part header it looks at, and has a boundary overflow in 0.9.75
 * (CVE-2023-27371). */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "core/base/buf.h"
#include "core/base/err.h"

enum { MULTIPART_BOUNDARY_MAX = 70, MULTIPART_HEADERS_MAX = 4096, MULTIPART_NAME_MAX = 128 };

struct multipart_handler { /* each returns 0, or -1 with the error that ends the parse */
    int (*begin)(void *arg, const char *name, const char *filename, struct err *e); /* filename "": none */
    int (*data)(void *arg, const void *bytes, size_t length, struct err *e);
    int (*end)(void *arg, struct err *e);
    void *arg;
};

enum multipart_state {
    MULTIPART_PREAMBLE,
    MULTIPART_DELIMITER,
    MULTIPART_HEADERS,
    MULTIPART_BODY,
    MULTIPART_DONE
};

struct multipart { /* filled by multipart_init */
    struct multipart_handler handler;
    enum multipart_state state;
    char delimiter[MULTIPART_BOUNDARY_MAX + 5]; /* CR LF -- boundary */
    size_t delimiter_length, header_bytes;
    struct buf pending;
    char name[MULTIPART_NAME_MAX + 1],
        filename[MULTIPART_NAME_MAX + 1]; /* of the part whose headers are read */
    bool named;
};

/* "multipart_malformed" when the Content-Type has no usable boundary. */
MUST_USE int multipart_init(struct multipart *m, const char *content_type, const struct multipart_handler *h,
                            struct err *e);
/* Errors: "multipart_malformed", "out_of_memory", or the handler's. Not to be called again after one. */
MUST_USE int multipart_feed(struct multipart *m, const void *bytes, size_t length, struct err *e);
/* The body is over: "multipart_malformed" unless the closing boundary was there. */
MUST_USE int multipart_finish(struct multipart *m, struct err *e);
void multipart_fini(struct multipart *m);

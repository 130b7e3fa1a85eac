/* How a request's body is delimited, read from its headers strictly: what two programs could read differently
 * is refused, since a proxy in front may be the other one (request smuggling). HTTP threads. */
#pragma once
#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"

struct framing {
    bool has_body, expect_continue;
    int64_t content_length; /* -1: chunked */
};

/* "invalid_request" for Content-Length with Transfer-Encoding, either or Host, Authorization, Content-Type,
 * If-Match or If-None-Match given twice, HTTP/1.1 without Host, a transfer coding that is not chunked,
 * another version than 1.0 and 1.1. */
MUST_USE int framing_read(struct MHD_Connection *connection, const char *version, struct framing *out,
                          struct err *e);

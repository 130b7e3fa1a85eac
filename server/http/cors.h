/* Web pages of other origins that may read answers (--cors-origin): what the browser asks before, and what it
 * wants to hear. Says nothing to pages that were not named. HTTP threads; the configuration does not
 * change. */
#pragma once
#include <microhttpd.h>
#include <stdbool.h>

#include "server/base/config.h"

enum { CORS_HEADERS_BYTES_MAX = 1023 };

/* Of one request; zeros: no page that may. */
struct cors {
    char origin[CONFIG_ORIGIN_BYTES_MAX + 1]; /* "*", or the page's own; "": none */
    char headers[CORS_HEADERS_BYTES_MAX + 1]; /* that a preflight asks for */
    bool varies;                              /* the answer depends on who asks */
    bool preflight;                           /* the browser asks whether it may */
};

/* `allowed`: as the configuration has it. */
void cors_read(struct MHD_Connection *connection, const char *method, const char *allowed, struct cors *out);
/* `add` is called for each header. */
void cors_headers(const struct cors *c, void (*add)(void *arg, const char *name, const char *value),
                  void *arg);

#include "server/http/cors.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Methods of all routes: which of them a path has is said when it is asked. */
#define METHODS "GET, HEAD, POST, PATCH, DELETE"
#define READABLE                                                                               \
    "ETag, Retry-After, X-Adapter-Version, X-Request-Id, x-ratelimit-limit-requests, "         \
    "x-ratelimit-limit-tokens, x-ratelimit-remaining-requests, x-ratelimit-remaining-tokens, " \
    "x-ratelimit-reset-requests, x-ratelimit-reset-tokens"
#define PREFLIGHT_KEPT_S "600"

static bool listed(const char *origins, const char *origin)
{
    size_t wanted = strlen(origin);
    for (const char *p = origins; *p;) {
        size_t length = strcspn(p, ",");
        if (length == wanted && strncmp(p, origin, length) == 0)
            return true;
        p += length + (p[length] == ',');
    }
    return false;
}

/* What the page wants to send, which goes back as it came if it is names and nothing else. */
static void read_wanted(struct MHD_Connection *connection, struct cors *out)
{
    const char *wanted =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Access-Control-Request-Headers");
    if (!wanted || strlen(wanted) > CORS_HEADERS_BYTES_MAX ||
        wanted[strspn(wanted, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_, ")])
        return;
    strcpy(out->headers, wanted);
}

void cors_read(struct MHD_Connection *connection, const char *method, const char *allowed, struct cors *out)
{
    const char *origin = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Origin");
    *out = (struct cors){.varies = allowed && strcmp(allowed, "*") != 0};
    if (!allowed || !origin || (out->varies && !listed(allowed, origin)))
        return;
    snprintf(out->origin, sizeof out->origin, "%s", out->varies ? origin : "*");
    out->preflight =
        strcmp(method, "OPTIONS") == 0 &&
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Access-Control-Request-Method");
    if (out->preflight)
        read_wanted(connection, out);
}

void cors_headers(const struct cors *c, void (*add)(void *arg, const char *name, const char *value),
                  void *arg)
{
    if (c->varies)
        add(arg, "Vary", "Origin");
    if (!c->origin[0])
        return;
    add(arg, "Access-Control-Allow-Origin", c->origin);
    if (!c->preflight) {
        add(arg, "Access-Control-Expose-Headers", READABLE);
        return;
    }
    add(arg, "Access-Control-Allow-Methods", METHODS);
    add(arg, "Access-Control-Max-Age", PREFLIGHT_KEPT_S);
    if (c->headers[0])
        add(arg, "Access-Control-Allow-Headers", c->headers);
}

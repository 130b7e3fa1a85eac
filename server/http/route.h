/* The table of routes: which method and path lead to which handler, who may call it and how large its body
 * may be. Static data; matching is pure. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "adapters/registry/registry.h"
#include "server/http/query.h"

struct request;
struct MHD_Connection;

/* What a route takes as its body. */
enum route_body_kind { ROUTE_BODY_NONE, ROUTE_BODY_JSON, ROUTE_BODY_FORM };
struct route_body {
    enum route_body_kind kind;
    uint64_t bytes_max;
    /* Of a form, whose parts are taken while it arrives; on the HTTP thread: */
    const char *hint; /* for those who send something else */
    /* Could a file of `least` to `most` bytes be accepted, whatever is in it? NULL: nobody knows. */
    int (*foresee)(struct request *r, uint64_t least, uint64_t most, struct err *e);
    int (*begin)(struct request *r, struct MHD_Connection *connection, struct err *e);
    void (*more)(struct request *r);
};
extern const struct route_body route_body_none, route_body_json;
#define BODY_NONE (&route_body_none)
#define BODY_JSON (&route_body_json)

/* Where the handler runs: at once on the HTTP thread; on a thread for text, in fair turns of the tenants; on
 * a thread that may block on the disk. */
enum route_place { PLACE_HTTP, PLACE_TEXT, PLACE_DISK };
enum { ROUTE_PARAMETERS_MAX = 2, ROUTE_PARAMETER_BYTES_MAX = 144 };

/* What else a route is. */
enum {
    ROUTE_RUNS_MODEL = 1, /* a place in the queue, the tenant's quotas and its usage are about it */
    ROUTE_WATCHES = 2     /* for who watches the daemon: served to its end, and without a key where
                           * --metrics-open says so */
};

struct route {
    const char *method;  /* "GET" answers HEAD too */
    const char *pattern; /* "/adapters/{name}": {..} stands for one segment that is a valid name;
                          * {version} may also begin with "sha256:"; {model} is the rest without
                          * escapes: a base's name is its directory's */
    enum role role;      /* ROLE_NONE: open */
    const struct route_body *body;
    enum route_place place;
    unsigned query; /* of QUERY_... */
    unsigned kind;  /* of ROUTE_... */
    void (*handler)(struct request *r);
};

struct route_match {
    const struct route *route;
    int place; /* of the route in its table, from 1 on; 0: it is not in it */
    char parameter[ROUTE_PARAMETERS_MAX][ROUTE_PARAMETER_BYTES_MAX + 1];
    char allow[64]; /* methods of this path, when the method was the wrong one */
};

enum route_result { ROUTE_FOUND, ROUTE_UNKNOWN, ROUTE_WRONG_METHOD };

/* `path` is raw, as it came over the wire, without the query: nothing is decoded, so an escape matches no
 * route. */
enum route_result route_find(const struct route *routes, size_t count, const char *method, const char *path,
                             struct route_match *out);
/* Where a path that matches no route was probably meant to lead: with the "/v1" that it lacks or has too
 * much, without a slash too much, in small letters, or the address that is spelled nearly so. */
bool route_near(const struct route *routes, size_t count, const char *path, char *out, size_t size);
/* Of a form: its short fields, boundaries and headers. */
enum { FORM_OVERHEAD_BYTES_MAX = 64 << 10 };

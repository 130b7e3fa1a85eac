#include "server/admission/auth.h"

#include <stdio.h>
#include <string.h>

/* Without keys, the browser of the person at this machine is the way in for strangers: a page of theirs may
 * send requests here (Origin), or point a name of its own at 127.0.0.1 (Host). */
static bool local_host(const char *host)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};
    for (size_t i = 0; host && i < sizeof names / sizeof *names; i++) {
        size_t length = strlen(names[i]);
        if (strncasecmp(host, names[i], length) == 0 && (!host[length] || host[length] == ':'))
            return true;
    }
    /* The rest of 127/8; a name cannot consist of digits and dots only. */
    return host && strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.:") == strlen(host);
}

int auth_check_browser(const struct request *r, struct MHD_Connection *connection, struct err *e)
{
    const char *host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Host");
    const char *origin = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Origin");
    bool same = !origin || r->cors.origin[0] ||
                (host && strncmp(origin, "http://", 7) == 0 && strcmp(origin + 7, host) == 0);
    if ((!host || local_host(host)) && same)
        return 0;
    err_set(e, "forbidden",
            "with --no-auth, requests must be addressed to localhost and not come from other web pages");
    return -1;
}

static int unauthorized(struct err *e, const char *problem)
{
    err_set(e, "unauthorized", "%s", problem);
    return err_hint(e, "send the header Authorization: Bearer KEY");
}

static int check_key(struct request *r, struct MHD_Connection *connection, struct err *e)
{
    const char *value = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization");
    if (!value)
        return unauthorized(e, "a key is required");
    if (strncasecmp(value, "Bearer ", 7) != 0)
        return unauthorized(e, "the Authorization header must say Bearer");
    const char *key = value + 7 + strspn(value + 7, " ");
    if (!*key || strlen(key) >= KEY_TEXT_BYTES)
        return unauthorized(e, "unknown, revoked or expired key");
    registry_key_check(r->server->registry, key, &r->caller);
    if (r->caller.role == ROLE_NONE)
        return unauthorized(e, "unknown, revoked or expired key");
    return 0;
}

int auth_check(struct request *r, struct MHD_Connection *connection, struct err *e)
{
    const struct route *route = r->match.route;
    if (route->role == ROLE_NONE || (r->server->config.metrics_open && route->kind & ROUTE_WATCHES))
        return 0;
    if (r->server->config.no_auth) {
        r->caller.role = ROLE_ADMIN;
        return 0;
    }
    if (check_key(r, connection, e) != 0)
        return -1;
    if (r->caller.role == ROLE_TENANT)
        strcpy(r->tenant.id, r->caller.tenant_id); /* also of a request that is refused */
    if (route->role == ROLE_ADMIN && r->caller.role != ROLE_ADMIN)
        return err_set(e, "forbidden", "this needs an admin key");
    return 0;
}

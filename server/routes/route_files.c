/* The very files of a version, as they were uploaded. A reference to the version keeps them until the last
 * byte is sent, whatever is deleted meanwhile. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "adapters/registry/registry.h"
#include "server/http/adapter_json.h"
#include "server/http/reply.h"
#include "server/routes/handlers.h"
#include "server/transfer/blob_download.h"

struct source {
    struct registry *registry;
    const struct version *version; /* owned reference */
};

static void damaged(void *arg)
{
    const struct source *s = arg;
    registry_mark_broken(s->registry, s->version);
}

static void close_source(void *arg)
{
    struct source *s = arg;
    version_unref(s->version);
    free(s);
}

/* Takes the reference over. */
static int start(struct request *r, const struct version *v, bool weights, struct err *e)
{
    int fds[2];
    struct source *s = malloc(sizeof *s);
    if (!s || registry_open_blobs(r->server->registry, v, &fds[0], &fds[1], e) != 0) {
        version_unref(v);
        if (!s)
            err_memory(e);
        free(s);
        return -1;
    }
    close(fds[!weights]);
    *s = (struct source){r->server->registry, v};
    const struct blob_download d = {.fd = fds[weights],
                                    .bytes = weights ? v->weights_bytes : v->config_bytes,
                                    .digest = weights ? v->weights_blob : v->config_blob,
                                    .damaged = damaged,
                                    .close = close_source,
                                    .arg = s};
    return blob_download_start(r, weights ? "application/octet-stream" : "application/json", &d, e);
}

/* The version that the address names, a new reference. */
static int find_version(struct request *r, const struct version **out, struct err *e)
{
    if (request_tenant(r, NULL, e) != 0 ||
        registry_version_find(r->server->registry, r->tenant.number, r->match.parameter[0],
                              r->match.parameter[1], out, e) != 0)
        return -1;
    adapter_json_header(r, *out);
    return 0;
}

static int send_file(struct request *r, bool weights, struct err *e)
{
    const struct version *v;
    if (find_version(r, &v, e) != 0)
        return -1;
    snprintf(r->reply.etag, sizeof r->reply.etag, "\"sha256:%s\"",
             weights ? v->weights_blob : v->config_blob);
    if (!etag_listed(r->if_none_match, r->reply.etag))
        return start(r, v, weights, e);
    version_unref(v);
    reply_not_modified(r);
    return 0;
}

/* ---- the small ones beside them ---- */

/* The end of the route's pattern is the file's name. */
static int find_settings(const struct request *r)
{
    const char *name = strrchr(r->match.route->pattern, '/') + 1;
    int which = 0;
    while (strcmp(settings_file_names[which], name) != 0)
        which++;
    return which;
}

static int send_settings(struct request *r, const struct version *v, int which, struct err *e)
{
    struct settings_files files;
    if (settings_cache_files(r->server->settings, v, &files, e) != 0)
        return -1;
    int result = 0;
    if (!files.has[which])
        result = err_set(e, "file_not_found", "the version has no %s of its own", settings_file_names[which]);
    else
        reply_text(r, which == SETTINGS_CHAT_TEMPLATE ? "text/plain; charset=utf-8" : "application/json",
                   &files.text[which]);
    settings_files_fini(&files);
    return result;
}

static int reply_settings(struct request *r, struct err *e)
{
    const struct version *v;
    if (find_version(r, &v, e) != 0)
        return -1;
    int result = send_settings(r, v, find_settings(r), e);
    version_unref(v);
    return result;
}

void route_files_settings(struct request *r)
{
    struct err e;
    if (reply_settings(r, &e) != 0)
        reply_error(r, &e);
}

void route_files_config(struct request *r)
{
    struct err e;
    if (send_file(r, false, &e) != 0)
        reply_error(r, &e);
}

void route_files_weights(struct request *r)
{
    struct err e;
    if (send_file(r, true, &e) != 0)
        reply_error(r, &e);
}

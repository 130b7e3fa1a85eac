/* POST /fsck: check everything that is stored. Admins only. The answer comes when all of it was read. */
#include <string.h>

#include "adapters/maintenance/fsck.h"
#include "server/http/adapter_json.h"
#include "server/routes/handlers.h"
#include "server/base/log.h"
#include "server/http/reply.h"

enum { PROBLEMS_MAX = 1000 };

struct check {
    struct request *request;
    json_t *problems, *quarantined;
};

static const char *kind_name(enum fsck_kind kind)
{
    static const char *const names[] = {[FSCK_DATABASE] = "database",
                                        [FSCK_MISMATCH] = "mismatch",
                                        [FSCK_BROKEN] = "broken",
                                        [FSCK_UNREADABLE] = "unreadable",
                                        [FSCK_ORPHAN] = "orphan"};
    return names[kind];
}

static void add_problem(void *arg, const struct fsck_problem *p)
{
    struct check *c = arg;
    char version[VERSION_TEXT_BYTES] = "";
    log_message("warning", "fsck: %s: %s", kind_name(p->kind), p->message);
    if (json_array_size(c->problems) >= PROBLEMS_MAX)
        return;
    if (p->version[0])
        snprintf(version, sizeof version, "sha256:%s", p->version);
    json_array_append_new(c->problems,
                          json_pack("{s:s, s:s, s:s, s:s, s:s}", "kind", kind_name(p->kind), "tenant",
                                    p->tenant, "name", p->name, "version", version, "message", p->message));
}

static void add_quarantined(void *arg, const struct quarantine_file *f)
{
    struct check *c = arg;
    if (json_array_size(c->quarantined) >= PROBLEMS_MAX)
        return;
    int64_t until_s = f->since_s + QUARANTINE_DAYS * INT64_C(86400);
    json_array_append_new(c->quarantined,
                          json_pack("{s:s, s:I, s:o, s:o}", "name", f->name, "bytes", (json_int_t)f->bytes,
                                    "since", adapter_json_time(f->since_s * 1000), "until",
                                    adapter_json_time(until_s * 1000)));
}

static bool stopped(void *arg)
{
    struct check *c = arg;
    return request_cancelled(c->request);
}

void route_fsck_run(struct request *r)
{
    struct err e;
    struct check c = {.request = r, .problems = json_array(), .quarantined = json_array()};
    struct fsck_handler handler = {
        .found = add_problem, .quarantined = add_quarantined, .stop = stopped, .arg = &c};
    struct fsck_report found;
    if (fsck_run(r->server->registry, &handler, &found, &e) == 0) {
        reply_json(r, 200,
                   json_pack("{s:b, s:I, s:I, s:I, s:I, s:O, s:{s:I, s:I, s:O}}", "ok", found.problems == 0,
                             "versions", (json_int_t)found.versions, "blobs", (json_int_t)found.blobs,
                             "bytes", (json_int_t)found.bytes, "problem_count", (json_int_t)found.problems,
                             "problems", c.problems, "quarantine", "count", (json_int_t)found.quarantined,
                             "bytes", (json_int_t)found.quarantined_bytes, "files", c.quarantined));
    } else {
        reply_error(r, &e);
    }
    json_decref(c.problems);
    json_decref(c.quarantined);
}

#include <stdlib.h>
#include <string.h>

#include "adapters/maintenance/fsck.h"
#include "adapters/types/usage.h"
#include "core/system/file.h"
#include "tests/fault/power/history.h"
#include "tests/fault/power/life.h"

enum { ROWS_MAX = 512 };

static void describe_version(const struct version *v, struct buf *out)
{
    buf_printf(out, "  version %s %s %s %llu %llu %d %d %lld %lld%s%s %d\n", v->digest, v->config_blob,
               v->weights_blob, (unsigned long long)v->config_bytes, (unsigned long long)v->weights_bytes,
               v->rank_max, v->sites, (long long)v->parameters, (long long)v->created_ms,
               v->active ? " active" : "", v->broken ? " BROKEN" : "", v->canary);
}

static int describe_adapter(struct registry *r, uint32_t tenant, const char *name, struct buf *out,
                            struct err *e)
{
    struct adapter_detail *d = calloc(1, sizeof *d);
    int result = d ? registry_adapter_detail(r, tenant, name, d, e) : err_memory(e);
    if (result == 0) {
        const char *labels = labels_text(d->metadata.labels);
        buf_printf(out, " adapter %s %lld %s %lld %d %.*s\n", name, (long long)d->created_ms,
                   labels ? labels : "", (long long)d->metadata.expires_ms, d->metadata.pinned,
                   (int)d->note.length, d->note.data ? d->note.data : "");
        for (size_t i = 0; i < d->version_count; i++)
            describe_version(d->versions[i], out);
        for (size_t i = 0; i < d->activation_count; i++)
            buf_printf(out, "  activation %s %lld %s\n", d->activations[i].digest,
                       (long long)d->activations[i].at_ms, d->activations[i].by);
        adapter_detail_fini(d);
    }
    free(d);
    return result;
}

static int describe_adapters(struct registry *r, uint32_t tenant, struct buf *out, struct err *e)
{
    struct adapter_row *rows = calloc(ROWS_MAX, sizeof *rows);
    bool more = false;
    int result = rows ? 0 : err_memory(e);
    size_t count = rows ? registry_adapter_list(r, tenant, NULL, NULL, ROWS_MAX, rows, &more) : 0;
    for (size_t i = 0; i < count && result == 0; i++)
        result = describe_adapter(r, tenant, rows[i].name, out, e);
    adapter_rows_fini(rows, count);
    free(rows);
    return result == 0 && more ? err_set(e, "test", "too many adapters for the test") : result;
}

static int describe_keys(struct registry *r, const char *tenant, struct buf *out, struct err *e)
{
    static struct key_row rows[ROWS_MAX];
    size_t count = 0;
    bool more;
    if (registry_key_list(r, tenant, NULL, ROWS_MAX, rows, &count, &more, e) != 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        buf_printf(out, " key %s %s %lld %lld%s\n", rows[i].kid, rows[i].label, (long long)rows[i].created_ms,
                   (long long)rows[i].expires_ms, rows[i].revoked ? " revoked" : "");
    return 0;
}

static int describe_tenants(struct registry *r, const char *directory, struct buf *out, struct err *e)
{
    static struct tenant_row rows[ROWS_MAX];
    bool more;
    size_t count = registry_tenant_list(r, NULL, ROWS_MAX, rows, &more);
    for (size_t i = 0; i < count; i++) {
        char quota[256] = "";
        quota_describe(&rows[i].quota, quota, sizeof quota);
        buf_printf(out, "tenant %u %s %lld %d %llu %s %s\n", rows[i].number, rows[i].id,
                   (long long)rows[i].created_ms, rows[i].adapters, (unsigned long long)rows[i].adapter_bytes,
                   rows[i].default_adapter, quota);
        if (describe_keys(r, rows[i].id, out, e) != 0 || describe_adapters(r, rows[i].number, out, e) != 0 ||
            training_describe(r, directory, rows[i].number, out, e) != 0)
            return -1;
    }
    return 0;
}

/* Only those that open something: what was made later is not known earlier. */
static void describe_access(const struct history *h, struct registry *r, struct buf *out)
{
    for (size_t i = 0; i < h->key_count; i++) {
        struct caller c;
        registry_key_check(r, h->keys[i], &c);
        if (c.role != ROLE_NONE)
            buf_printf(out, "key %s is %s of %s\n", h->keys[i], c.kid, c.tenant_id);
    }
}

static int describe_audit(struct registry *r, struct buf *out, struct err *e)
{
    static struct audit_row rows[ROWS_MAX];
    size_t count = 0;
    bool more = true;
    for (struct audit_query q = {.limit = ROWS_MAX}; more; q.after = rows[count - 1].number) {
        if (registry_audit_list(r, &q, rows, &count, &more, e) != 0)
            return -1;
        for (size_t i = 0; i < count; i++)
            buf_printf(out, "audit %lld %lld %s %s %s %s %s\n", (long long)rows[i].number,
                       (long long)rows[i].at_ms, rows[i].by.name, rows[i].action, rows[i].tenant,
                       rows[i].target, rows[i].detail);
        if (count == 0)
            break;
    }
    return 0;
}

static int describe_usage(struct registry *r, struct buf *out, struct err *e)
{
    static struct usage_row rows[ROWS_MAX];
    const struct usage_query all = {.limit = ROWS_MAX};
    size_t count = 0;
    bool more;
    if (registry_usage_list(r, &all, rows, &count, &more, e) != 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        buf_printf(out, "usage %lld %u %s %s %s %s", (long long)rows[i].number, rows[i].tenant,
                   rows[i].tenant_id, rows[i].day, rows[i].adapter, rows[i].version);
        for (int k = 0; k < USAGE_KINDS; k++)
            buf_printf(out, " %lld", (long long)rows[i].count[k]);
        buf_append_string(out, rows[i].deleted ? " deleted\n" : "\n");
    }
    return 0;
}

static int describe_admin(const char *directory, struct buf *out, struct err *e)
{
    char *path = file_join(directory, HISTORY_DATA "/admin.key");
    int result = path ? 0 : err_memory(e);
    if (path && file_exists(path)) {
        buf_append_string(out, "admin.key ");
        result = file_read(path, 4096, out, e);
    }
    free(path);
    return result;
}

int history_describe(const struct history *h, struct registry *r, const char *directory, struct buf *out,
                     struct err *e)
{
    if (describe_tenants(r, directory, out, e) != 0 || describe_audit(r, out, e) != 0 ||
        describe_usage(r, out, e) != 0)
        return -1;
    describe_access(h, r, out);
    return describe_admin(directory, out, e);
}

/* ---- comparing ---- */

/* The first line that differs. */
static int differs(const struct buf *found, const struct buf *expected, struct err *e)
{
    const char *a = found->data ? found->data : "", *b = expected->data ? expected->data : "";
    size_t same = 0, line = 0;
    for (; a[same] && a[same] == b[same]; same++)
        if (a[same] == '\n')
            line = same + 1;
    return err_set(e, "differs", "found \"%.150s\" instead of \"%.150s\"", a + line, b + line);
}

static bool equal(const struct buf *a, const struct buf *b)
{
    return a->length == b->length && (a->length == 0 || memcmp(a->data, b->data, a->length) == 0);
}

static int compare(const struct history *h, const struct buf *found, int acknowledged, int begun,
                   struct err *e)
{
    if (acknowledged < 0 && equal(found, &h->empty))
        return 0;
    for (int i = acknowledged < 0 ? 0 : acknowledged; i <= begun; i++)
        if (equal(found, &h->held[i]))
            return 0;
    return differs(found, acknowledged < 0 ? &h->empty : &h->held[acknowledged], e);
}

static void note_problem(void *arg, const struct fsck_problem *p)
{
    err_set(arg, "fsck", "%s", p->message);
}

static bool never(void *arg)
{
    (void)arg;
    return false;
}

/* One start: what it finds is appended to `found`. */
static int start(const struct history *h, const char *directory, struct buf *found, struct err *e)
{
    struct registry *r = NULL;
    struct fsck_report report = {0};
    const struct fsck_handler handler = {.found = note_problem, .stop = never, .arg = e};
    char *data = file_join(directory, HISTORY_DATA);
    int result = data ? registry_open(&r, data, e) : err_memory(e);
    if (result == 0)
        result = history_describe(h, r, directory, found, e);
    if (result == 0)
        result = fsck_run(r, &handler, &report, e);
    if (result == 0 && report.problems > 0)
        result = -1; /* note_problem said which */
    registry_close(r);
    free(data);
    return result;
}

static int check(const struct history *h, const char *directory, int acknowledged, int begun, bool twice,
                 struct buf found[2], struct err *e)
{
    if (start(h, directory, &found[0], e) != 0)
        return acknowledged < 0 && h->may_refuse && strcmp(e->code, "registry_missing") == 0 ? 0 : -1;
    if (compare(h, &found[0], acknowledged, begun, e) != 0)
        return -1;
    if (!twice)
        return 0;
    if (start(h, directory, &found[1], e) != 0)
        return -1;
    return equal(&found[0], &found[1]) ? 0 : differs(&found[1], &found[0], e);
}

int history_check(const struct history *h, const char *directory, int acknowledged, int begun, bool twice,
                  struct err *e)
{
    struct buf found[2] = {{0}, {0}};
    int result = check(h, directory, acknowledged, begun, twice, found, e);
    buf_fini(&found[0]);
    buf_fini(&found[1]);
    return result;
}

bool history_needs(const struct history *h, const char *digest, int acknowledged, int begun)
{
    for (int i = acknowledged < 0 ? 0 : acknowledged; i <= begun; i++)
        if (h->held[i].data && strstr(h->held[i].data, digest))
            return true;
    return false;
}

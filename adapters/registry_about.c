/* What customers say about an adapter: labels, a note, when its name ends. Labels and end are in memory, for
 * lists and requests; the note is on disk alone. */
#include <stdio.h>
#include <string.h>

#include "adapters/audit.h"
#include "adapters/registry_private.h"
#include "core/base/clock.h"

bool registry_expired(int64_t expires_ms)
{
    return expires_ms && clock_unix_ms() >= expires_ms;
}

/* Which of them, for the audit log: contents are nobody's business there, but the end is a fact. */
static void describe(const struct adapter_change *c, char *out, size_t size)
{
    char time[32] = "never";
    if (c->expires_ms)
        clock_format(c->expires_ms, time, sizeof time);
    snprintf(out, size, "%s%s%s%s%s%s", c->labels ? "labels" : "", c->labels && c->note ? ", " : "",
             c->note ? "note" : "", c->set_expires && (c->labels || c->note) ? ", " : "",
             c->set_expires ? "expires_at=" : "", c->set_expires ? time : "");
}

static int write_row(struct registry *r, const struct adapter *a, const struct adapter_change *c,
                     const struct labels *labels, int64_t expires_ms, struct err *e)
{
    char detail[96];
    describe(c, detail, sizeof detail);
    if (store_begin(r->store, e) != 0)
        return -1;
    if (store_about_set(r->store, a->number, labels_text(labels), c->note, expires_ms, e) == 0 &&
        audit_add(r->store, "adapter.change", a->tenant->id, a->name, detail, e) == 0)
        return store_commit(r->store, e);
    store_rollback(r->store);
    return -1;
}

int registry_change_about(struct registry *r, struct adapter *a, const struct adapter_change *c,
                          struct err *e)
{
    const struct labels *labels = NULL;
    int64_t expires_ms = c->set_expires ? c->expires_ms : a->expires_ms;
    if (!c->labels)
        labels = labels_ref(a->labels);
    else if (labels_merge(&labels, a->labels, c->labels, e) != 0)
        return -1;
    if (write_row(r, a, c, labels, expires_ms, e) != 0) {
        labels_unref(labels);
        return -1;
    }
    mirror_change_about(&r->mirror, a, labels, expires_ms);
    return 0;
}

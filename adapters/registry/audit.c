#include "adapters/registry/audit.h"

#include <stdio.h>
#include <string.h>

#include "adapters/registry/registry_private.h"
#include "core/system/clock.h"

static _Thread_local struct audit_actor acting; /* an empty name: the daemon */

void audit_act_as(const struct audit_actor *actor)
{
    acting = actor ? *actor : (struct audit_actor){0};
}

const char *audit_acting(void)
{
    return acting.name[0] ? acting.name : "daemon";
}

int audit_add(struct store *s, const char *action, const char *tenant, const char *target, const char *detail,
              struct err *e)
{
    struct audit_row row = {.at_ms = clock_unix_ms(), .by = acting};
    snprintf(row.by.name, sizeof row.by.name, "%s", audit_acting());
    snprintf(row.action, sizeof row.action, "%s", action);
    snprintf(row.tenant, sizeof row.tenant, "%s", tenant);
    snprintf(row.target, sizeof row.target, "%s", target);
    snprintf(row.detail, sizeof row.detail, "%s", detail);
    return store_audit_insert(s, &row, e);
}

/* Reads the disk: the rows are not mirrored. A registry that is closed for changes can still be read. */
int registry_audit_list(struct registry *r, const char *tenant, int64_t after, size_t limit,
                        struct audit_row *out, size_t *count, bool *more, struct err *e)
{
    pthread_mutex_lock(&r->writer);
    int result = store_audit_list(r->store, tenant, after, limit, out, count, more, e);
    pthread_mutex_unlock(&r->writer);
    return result;
}

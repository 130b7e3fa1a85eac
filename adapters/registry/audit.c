#include "adapters/registry/audit.h"

#include <stdio.h>
#include <string.h>

#include "adapters/store/store.h"
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

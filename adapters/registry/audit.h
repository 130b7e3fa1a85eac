/* Who did what when: an append-only table, readable by admins. Each change of the registry adds its row in
 * its own transaction, so that no row tells of a change that failed and no acknowledged change is without
 * one. Rows hold names and ids, never keys or contents.
 *
 * Who acts is a property of the thread: the server names the caller around each handler, and no function in
 * between has to pass it on. A thread that names nobody acts for the daemon itself. */
#pragma once
#include "adapters/types/rows.h"

struct store;

/* The caller of the request that this thread works for, until the next call. NULL: the daemon itself. */
void audit_act_as(const struct audit_actor *actor);
/* The name of who acts on this thread. */
const char *audit_acting(void);
/* One row, between store_begin and store_end. `action` is "thing.verb"; `tenant` is whose thing it is ("":
 * none), `target` the adapter or key ("": the tenant itself); `detail` says what else matters, such as a
 * version. Longer texts than struct audit_row holds are cut. */
MUST_USE int audit_add(struct store *s, const char *action, const char *tenant, const char *target,
                       const char *detail, struct err *e);

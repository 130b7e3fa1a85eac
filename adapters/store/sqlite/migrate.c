#include "adapters/store/sqlite/migrate.h"

#include <stdio.h>

#include "adapters/store/sqlite/migrations.h"

enum { APPLICATION_ID = 0x61647064 }; /* "adpd", in the header of the file */

int migrate_owner(struct connection *c, const char *path, int64_t *schema, struct err *e)
{
    int64_t application, objects, newest = (int64_t)migrations_count;
    if (connection_integer(c, "PRAGMA application_id", &application, e) != 0 ||
        connection_integer(c, "PRAGMA user_version", schema, e) != 0 ||
        connection_integer(c, "SELECT count(*) FROM sqlite_schema", &objects, e) != 0)
        return -1;
    bool empty = application == 0 && *schema == 0 && objects == 0;
    if (!empty && (application != APPLICATION_ID || *schema < 1))
        return err_set(e, "registry_malformed",
                       "%s is a database of another program: application id 0x%08llx, expected 0x%08x", path,
                       (unsigned long long)application & 0xffffffffu, APPLICATION_ID);
    if (*schema <= newest)
        return 0;
    err_set(e, "registry_newer", "%s has schema version %lld, this adapterd knows up to %lld", path,
            (long long)*schema, (long long)newest);
    return err_hint(e, "start the newer adapterd that wrote it, or restore a backup");
}

static int apply(struct connection *c, const struct migration *m, struct err *e)
{
    char mark[96];
    snprintf(mark, sizeof mark, "PRAGMA application_id = %d; PRAGMA user_version = %d", APPLICATION_ID,
             m->number);
    if (sqlite3_exec(c->sqlite, m->sql, NULL, NULL, NULL) != SQLITE_OK)
        return connection_error(c, m->name, e);
    return connection_execute(c, mark, e);
}

int migrate_from(struct connection *c, int64_t schema, struct err *e)
{
    struct database *d = &c->database;
    if ((size_t)schema >= migrations_count)
        return 0;
    if (d->methods->begin(d, e) != 0)
        return -1;
    for (size_t i = (size_t)schema; i < migrations_count; i++) {
        if (apply(c, &migrations[i], e) != 0) {
            d->methods->rollback(d);
            return -1;
        }
    }
    return d->methods->commit(d, e);
}

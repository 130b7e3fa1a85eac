#include <stdlib.h>

#include "adapters/store/store.h"
#include "adapters/store/store_private.h"

int store_open(struct store **out, struct database *d, struct err *e)
{
    struct store *s = calloc(1, sizeof *s);
    if (!s) {
        query_close_database(d);
        return err_memory(e);
    }
    s->database = d;
    *out = s;
    return 0;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    query_close_database(s->database);
    free(s);
}

/* ---- transactions ---- */

bool store_failed(const struct store *s)
{
    return s->database->failed;
}

bool store_replaced(struct store *s)
{
    struct database *d = s->database;
    d->replaced = d->replaced || !d->methods->in_place(d);
    return d->replaced;
}

int store_begin(struct store *s, struct err *e)
{
    if (s->database->failed) {
        err_set(e, "storage_failed", "the registry is closed for changes after an earlier error of the disk");
        return err_hint(e, "check the disk, then restart the daemon");
    }
    if (store_replaced(s))
        return database_replaced(e);
    return s->database->methods->begin(s->database, e);
}

int store_end(struct store *s, bool done, struct err *e)
{
    if (done)
        return s->database->methods->commit(s->database, e);
    s->database->methods->rollback(s->database);
    return -1;
}

/* ---- all of it ---- */

int store_check(struct store *s, struct err *e)
{
    return s->database->methods->check(s->database, e);
}

int store_copy(struct store *s, const char *path, struct err *e)
{
    return s->database->methods->copy(s->database, path, e);
}

/* What the registry only writes down and reads back: usage and the audit log. Neither is in memory. */
#include <stdlib.h>

#include "adapters/registry/registry.h"
#include "adapters/registry/registry_private.h"

static int add_rows(struct registry *r, const struct usage_row *rows, size_t count, struct err *e)
{
    for (size_t i = 0; i < count; i++)
        if (store_usage_add(r->store, &rows[i], e) != 0)
            return -1;
    return 0;
}

static int add(struct registry *r, const struct usage_row *rows, size_t count, const struct key_use *uses,
               size_t use_count, struct err *e)
{
    if (store_begin(r->store, e) != 0)
        return -1;
    bool done = add_rows(r, rows, count, e) == 0 && registry_uses_write(r, uses, use_count, e) == 0;
    return store_end(r->store, done, e);
}

static int add_all(struct registry *r, const struct usage_row *rows, size_t count, struct key_use *uses,
                   struct err *e)
{
    if (writer_begin(r, e) != 0)
        return -1;
    int result = 0;
    size_t use_count = registry_uses_take(r, uses);
    if (count || use_count)
        result = add(r, rows, count, uses, use_count, e);
    if (result != 0)
        registry_uses_return(r, uses, use_count);
    writer_end(r);
    return result;
}

int registry_usage_add(struct registry *r, const struct usage_row *rows, size_t count, struct err *e)
{
    struct key_use *uses = calloc(KEY_USES_MAX, sizeof *uses);
    int result = uses ? add_all(r, rows, count, uses, e) : err_memory(e);
    free(uses);
    return result;
}

int registry_usage_list(struct registry *r, const struct usage_query *q, struct usage_row *out, size_t *count,
                        bool *more, struct err *e)
{
    pthread_mutex_lock(&r->writer);
    int result = store_usage_list(r->store, q, out, count, more, e);
    for (size_t i = 0; result == 0 && i < *count; i++)
        out[i].deleted = !catalog_tenant_numbered(&r->catalog, out[i].tenant);
    pthread_mutex_unlock(&r->writer);
    return result;
}

/* A registry that is closed for changes can still be read. */
int registry_audit_list(struct registry *r, const struct audit_query *q, struct audit_row *out, size_t *count,
                        bool *more, struct err *e)
{
    pthread_mutex_lock(&r->writer);
    int result = store_audit_list(r->store, q, out, count, more, e);
    pthread_mutex_unlock(&r->writer);
    return result;
}

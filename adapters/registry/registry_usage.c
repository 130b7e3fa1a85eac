#include <stdlib.h>

#include "adapters/registry/registry_private.h"
#include "adapters/types/usage.h"

const char *const usage_names[USAGE_KINDS] = {
    [USAGE_REQUESTS] = "requests",           [USAGE_ERRORS] = "errors",
    [USAGE_PROMPT_TOKENS] = "prompt_tokens", [USAGE_COMPLETION_TOKENS] = "completion_tokens",
    [USAGE_CACHED_TOKENS] = "cached_tokens",
};

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
    if (add_rows(r, rows, count, e) == 0 && registry_uses_write(r, uses, use_count, e) == 0)
        return store_commit(r->store, e);
    store_rollback(r->store);
    return -1;
}

static int add_all(struct registry *r, const struct usage_row *rows, size_t count, struct key_use *uses,
                   struct err *e)
{
    if (registry_write_begin(r, e) != 0)
        return -1;
    int result = 0;
    size_t use_count = registry_uses_take(r, uses);
    if (count || use_count)
        result = add(r, rows, count, uses, use_count, e);
    if (result != 0)
        registry_uses_return(r, uses, use_count);
    registry_write_end(r);
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

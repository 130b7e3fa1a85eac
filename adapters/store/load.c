#include "adapters/store/store.h"
#include "adapters/store/store_private.h"

int store_load(struct store *s, const struct store_visitor *v, void *arg, struct err *e)
{
    struct store_reader r = {v, arg};
    if (store_tenants_load(s, &r, e) != 0 || store_keys_load(s, &r, e) != 0 ||
        store_adapters_load(s, &r, e) != 0)
        return -1;
    return store_versions_load(s, &r, e);
}

#include <string.h>

#include "adapters/store/store_private.h"

int column_malformed(const char *table, struct err *e)
{
    err_set(e, "registry_malformed", "registry: a row of %s holds what this daemon cannot have written",
            table);
    return err_hint(e, "restore the data directory from a backup: adapterctl restore BACKUP DATA");
}

int column_name(struct query *q, char out[NAME_MAX_BYTES + 1])
{
    const char *text = query_column_text(q);
    if (!name_valid(text))
        return -1;
    strcpy(out, text);
    return 0;
}

const char *column_blob(struct query *q)
{
    uint8_t bytes[SHA256_BYTES];
    const char *text = query_column_text(q);
    return hex_decode(text, bytes, sizeof bytes) == 0 ? text : NULL;
}

int column_digest(struct query *q, char out[SHA256_HEX + 1])
{
    const char *text = column_blob(q);
    if (!text)
        return -1;
    strcpy(out, text);
    return 0;
}

int column_quota(struct query *q, enum quota_kind kind, struct quota *out)
{
    const struct quota_bounds *b = &quota_bounds[kind];
    out->of[kind] = QUOTA_UNSET;
    return !query_column_known(q, &out->of[kind]) || (out->of[kind] >= b->low && out->of[kind] <= b->high)
               ? 0
               : -1;
}

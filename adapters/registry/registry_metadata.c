/* What is said about an adapter: labels, a note, when its name ends, whether it is pinned. All but the note
 * is in memory, for lists, requests and the cache. */
#include <stdio.h>
#include <string.h>

#include "adapters/registry/audit.h"
#include "adapters/registry/registry.h"
#include "adapters/registry/registry_private.h"
#include "core/system/clock.h"

bool registry_expired(int64_t expires_ms)
{
    return expires_ms && clock_unix_ms() >= expires_ms;
}

/* ---- changing ---- */

static void add_word(char *text, size_t size, const char *word, const char *value)
{
    size_t used = strlen(text);
    snprintf(text + used, size - used, "%s%s%s", used ? ", " : "", word, value);
}

/* Which of them, for the audit log: contents are nobody's business there, but the end and a pin are facts. */
static void describe(const struct adapter_change *c, char *out, size_t size)
{
    char time[32] = "never";
    if (c->expires_ms)
        clock_format(c->expires_ms, time, sizeof time);
    out[0] = '\0';
    if (c->labels)
        add_word(out, size, "labels", "");
    if (c->note)
        add_word(out, size, "note", "");
    if (c->set_expires)
        add_word(out, size, "expires_at=", time);
    if (c->set_pinned)
        add_word(out, size, "pinned=", c->pinned ? "true" : "false");
}

static int write_row(struct registry *r, const struct adapter *a, const struct adapter_change *c,
                     const struct metadata *metadata, struct err *e)
{
    char detail[96];
    describe(c, detail, sizeof detail);
    if (store_begin(r->store, e) != 0)
        return -1;
    bool done = store_metadata_set(r->store, a->number, metadata, c->note, e) == 0 &&
                audit_add(r->store, "adapter.change", a->tenant->id, a->name, detail, e) == 0;
    return store_end(r->store, done, e);
}

static int check_pins(const struct registry *r, const struct adapter *a, const struct metadata *metadata,
                      struct err *e)
{
    if (!metadata->pinned || a->metadata.pinned || r->catalog.pinned_count < ADAPTERS_PINNED_MAX)
        return 0;
    err_set(e, "limit_reached", "%d adapters are pinned, which is as many as can be", ADAPTERS_PINNED_MAX);
    err_hint(e, "unpin another one first");
    return err_param(e, "pinned");
}

int registry_change_metadata(struct registry *r, struct adapter *a, const struct adapter_change *c,
                             struct err *e)
{
    struct metadata metadata = a->metadata;
    if (c->set_expires)
        metadata.expires_ms = c->expires_ms;
    if (c->set_pinned)
        metadata.pinned = c->pinned;
    if (check_pins(r, a, &metadata, e) != 0)
        return -1;
    if (!c->labels)
        labels_ref(metadata.labels);
    else if (labels_merge(&metadata.labels, a->metadata.labels, c->labels, e) != 0)
        return -1;
    if (write_row(r, a, c, &metadata, e) != 0) {
        labels_unref(metadata.labels);
        return -1;
    }
    catalog_change_metadata(&r->catalog, a, &metadata);
    return 0;
}

/* ---- pins ---- */

/* What requests get for the name: its active version and its canary. */
static size_t served(const struct adapter *a, const struct version *out[2])
{
    size_t count = 0;
    const struct version *active = adapter_active(a);
    if (registry_expired(a->metadata.expires_ms))
        return 0;
    if (active && !active->other_base)
        out[count++] = active;
    if (a->canary && !a->canary->other_base)
        out[count++] = a->canary;
    return count;
}

static bool serves(const struct adapter *a, const char *digest)
{
    const struct version *v[2];
    size_t count = served(a, v);
    for (size_t i = 0; i < count; i++)
        if (strcmp(v[i]->digest, digest) == 0)
            return true;
    return false;
}

bool registry_pinned(struct registry *r, uint32_t tenant, const char *digest)
{
    bool found = false;
    catalog_read_lock(&r->catalog);
    for (size_t i = 0; i < r->catalog.pinned_count && !found; i++) {
        const struct adapter *a = r->catalog.pinned[i];
        found = a->tenant->number == tenant && serves(a, digest);
    }
    catalog_unlock(&r->catalog);
    return found;
}

size_t registry_pinned_list(struct registry *r, const struct version *out[VERSIONS_PINNED_MAX])
{
    size_t count = 0;
    catalog_read_lock(&r->catalog);
    for (size_t i = 0; i < r->catalog.pinned_count; i++)
        count += served(r->catalog.pinned[i], out + count);
    for (size_t i = 0; i < count; i++)
        version_ref(out[i]);
    catalog_unlock(&r->catalog);
    return count;
}

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/registry/audit.h"
#include "adapters/registry/registry.h"
#include "adapters/registry/registry_private.h"
#include "core/system/clock.h"
#include "core/system/file.h"

enum { KEY_RANDOM_BYTES = 32, KID_RANDOM_BYTES = 8 };

/* "ad_" and 64 hexadecimal digits: 256 random bits. */
static void make_key_text(char out[KEY_TEXT_BYTES])
{
    uint8_t random[KEY_RANDOM_BYTES];
    random_bytes(random, sizeof random);
    memcpy(out, "ad_", 3);
    hex_encode(random, sizeof random, out + 3);
    explicit_bzero(random, sizeof random);
}

static void make_kid(char out[KID_BYTES])
{
    uint8_t random[KID_RANDOM_BYTES];
    random_bytes(random, sizeof random);
    memcpy(out, "k_", 2);
    hex_encode(random, sizeof random, out + 2);
}

static void fill_key(const struct key *k, struct key_row *out)
{
    *out = (struct key_row){.created_ms = k->created_ms,
                            .expires_ms = k->expires_ms,
                            .used_ms = atomic_load(&k->used_ms),
                            .revoked = k->revoked};
    strcpy(out->kid, k->kid);
    strcpy(out->label, k->label);
}

static bool in_force(const struct key *k, int64_t now_ms)
{
    return !k->revoked && (!k->expires_ms || now_ms < k->expires_ms);
}

/* A tenant that has had many keys loses the oldest that is not in force any more, so that it can go on
 * renewing them. */
static struct key *oldest_past(const struct tenant *t, int64_t now_ms)
{
    struct key *oldest = NULL;
    for (size_t i = 0; i < t->keys.count; i++) {
        struct key *k = t->keys.items[i];
        if (!in_force(k, now_ms) && (!oldest || k->created_ms < oldest->created_ms))
            oldest = k;
    }
    return oldest;
}

/* A key that comes, and what else changes with it. */
struct coming {
    struct key *key;
    struct key *dropped; /* makes room; or NULL */
    struct key *rotated; /* ends then; or NULL */
    int64_t rotated_expires_ms;
};

static int add_audit(struct registry *r, const struct coming *c, struct err *e)
{
    char detail[2 * KID_BYTES + 24] = "";
    const struct key *k = c->rotated ? c->rotated : c->key;
    size_t used = 0;
    if (c->rotated)
        used = (size_t)snprintf(detail, sizeof detail, "%s", c->key->kid);
    if (c->dropped)
        snprintf(detail + used, sizeof detail - used, "%sin the place of %s", used ? ", " : "",
                 c->dropped->kid);
    return audit_add(r->store, c->rotated ? "key.rotate" : "key.create", k->tenant->id, k->kid, detail, e);
}

static int write_key(struct registry *r, const struct coming *c, struct err *e)
{
    const struct key *k = c->key;
    struct store_key row = {.tenant = k->tenant->number,
                            .kid = k->kid,
                            .label = k->label,
                            .created_ms = k->created_ms,
                            .expires_ms = k->expires_ms};
    memcpy(row.hash, k->hash, sizeof row.hash);
    if (c->dropped && store_key_delete(r->store, c->dropped->kid, e) != 0)
        return -1;
    if (c->rotated && store_key_expire(r->store, c->rotated->kid, c->rotated_expires_ms, e) != 0)
        return -1;
    return store_key_insert(r->store, &row, e) != 0 ? -1 : add_audit(r, c, e);
}

static int insert_key(struct registry *r, const struct coming *c, struct err *e)
{
    if (store_begin(r->store, e) != 0)
        return -1;
    bool done = write_key(r, c, e) == 0;
    return store_end(r->store, done, e);
}

static int add_key(struct registry *r, struct coming *c, struct err *e)
{
    struct tenant *t = c->key->tenant;
    bool full = t->keys.count >= TENANT_KEYS_MAX;
    c->dropped = full ? oldest_past(t, clock_unix_ms()) : NULL;
    if (full && !c->dropped)
        return err_set(e, "limit_reached",
                       "tenant \"%s\" has %d keys in force, the most that a tenant may have", t->id,
                       TENANT_KEYS_MAX);
    if (catalog_reserve(&r->catalog, &t->keys, e) != 0 || insert_key(r, c, e) != 0)
        return -1;
    if (c->dropped) {
        catalog_remove_key(&r->catalog, c->dropped);
        free(c->dropped);
    }
    if (c->rotated)
        catalog_expire_key(&r->catalog, c->rotated, c->rotated_expires_ms);
    catalog_add_key(&r->catalog, c->key);
    return 0;
}

static int make_key(struct registry *r, struct tenant *t, const char *label, const char *text,
                    int64_t expires_ms, struct coming *c, struct err *e)
{
    char kid[KID_BYTES];
    make_kid(kid);
    c->key = key_new(t, kid, label);
    if (!c->key)
        return err_memory(e);
    c->key->created_ms = clock_unix_ms();
    c->key->expires_ms = expires_ms;
    sha256_of(text, strlen(text), c->key->hash);
    if (add_key(r, c, e) == 0)
        return 0;
    free(c->key);
    return -1;
}

static int create_key(struct registry *r, const char *tenant_id, const char *label, int64_t expires_ms,
                      const char *text, struct key_row *out, struct err *e)
{
    struct coming c = {0};
    struct tenant *t = find_tenant(r, tenant_id, e);
    if (!t || make_key(r, t, label, text, expires_ms, &c, e) != 0)
        return -1;
    fill_key(c.key, out);
    return 0;
}

int registry_key_create(struct registry *r, const char *tenant_id, const char *label, int64_t expires_ms,
                        struct key_row *out, char key[KEY_TEXT_BYTES], struct err *e)
{
    if (label && strlen(label) > LABEL_MAX_BYTES) {
        err_set(e, "label_too_long", "a key's label has at most %d bytes, this one has %zu", LABEL_MAX_BYTES,
                strlen(label));
        return err_param(e, "label");
    }
    char text[KEY_TEXT_BYTES];
    make_key_text(text);
    int result = writer_begin(r, e);
    if (result == 0) {
        result = create_key(r, tenant_id, label ? label : "", expires_ms, text, out, e);
        writer_end(r);
    }
    if (result == 0)
        strcpy(key, text);
    explicit_bzero(text, sizeof text);
    return result;
}

static struct key *find_key(struct tenant *t, const char *kid, struct err *e)
{
    struct key *k = ordered_get(&t->keys, kid);
    if (!k)
        err_set(e, "key_not_found", "tenant \"%s\" has no key of this id", t->id);
    return k;
}

static int rotate_key(struct registry *r, const char *tenant_id, const char *kid, int64_t grace_ms,
                      int64_t expires_ms, const char *text, struct key_row *old, struct key_row *out,
                      struct err *e)
{
    struct tenant *t = find_tenant(r, tenant_id, e);
    struct key *k = t ? find_key(t, kid, e) : NULL;
    int64_t now_ms = clock_unix_ms();
    if (!k)
        return -1;
    if (!in_force(k, now_ms))
        return err_set(e, "key_not_in_force",
                       "key %s is revoked or expired; only a key in force can be rotated", k->kid);
    bool sooner = k->expires_ms && k->expires_ms < now_ms + grace_ms;
    struct coming c = {.rotated = k, .rotated_expires_ms = sooner ? k->expires_ms : now_ms + grace_ms};
    if (make_key(r, t, k->label, text, expires_ms, &c, e) != 0)
        return -1;
    fill_key(k, old);
    fill_key(c.key, out);
    return 0;
}

int registry_key_rotate(struct registry *r, const char *tenant_id, const char *kid, int64_t grace_ms,
                        int64_t expires_ms, struct key_row *old, struct key_row *out,
                        char key[KEY_TEXT_BYTES], struct err *e)
{
    char text[KEY_TEXT_BYTES];
    if (writer_begin(r, e) != 0)
        return -1;
    make_key_text(text);
    int result = rotate_key(r, tenant_id, kid, grace_ms, expires_ms, text, old, out, e);
    writer_end(r);
    if (result == 0)
        strcpy(key, text);
    explicit_bzero(text, sizeof text);
    return result;
}

static int revoke_row(struct registry *r, const struct key *k, struct err *e)
{
    if (store_begin(r->store, e) != 0)
        return -1;
    bool done = store_key_revoke(r->store, k->kid, clock_unix_ms(), e) == 0 &&
                audit_add(r->store, "key.revoke", k->tenant->id, k->kid, "", e) == 0;
    return store_end(r->store, done, e);
}

static int revoke_key(struct registry *r, const char *tenant_id, const char *kid, struct err *e)
{
    struct tenant *t = find_tenant(r, tenant_id, e);
    if (!t)
        return -1;
    struct key *k = find_key(t, kid, e);
    if (!k)
        return -1;
    if (k->revoked)
        return 0;
    if (revoke_row(r, k, e) != 0)
        return -1;
    catalog_revoke_key(&r->catalog, k);
    return 0;
}

int registry_key_revoke(struct registry *r, const char *tenant_id, const char *kid, struct err *e)
{
    if (writer_begin(r, e) != 0)
        return -1;
    int result = revoke_key(r, tenant_id, kid, e);
    writer_end(r);
    return result;
}

int registry_key_list(struct registry *r, const char *tenant_id, const char *after, size_t limit,
                      struct key_row *out, size_t *count, bool *more, struct err *e)
{
    catalog_read_lock(&r->catalog);
    struct tenant *t = find_tenant(r, tenant_id, e);
    if (t) {
        size_t first = ordered_after(&t->keys, after), n = 0;
        for (; n < limit && first + n < t->keys.count; n++)
            fill_key(t->keys.items[first + n], &out[n]);
        *count = n;
        *more = first + n < t->keys.count;
    }
    catalog_unlock(&r->catalog);
    return t ? 0 : -1;
}

/* ---- who is it? ---- */

static void fill_caller(const struct key *k, struct caller *out)
{
    *out = (struct caller){.role = ROLE_TENANT, .tenant = k->tenant->number};
    strcpy(out->tenant_id, k->tenant->id);
    strcpy(out->kid, k->kid);
}

/* ---- when were they used? ---- */

/* Once a minute for each key; the rest is a look at an atomic. */
static void note_use(struct registry *r, struct key *k, int64_t now_ms)
{
    int64_t minute_ms = now_ms - now_ms % 60000;
    if (atomic_load(&k->used_ms) == minute_ms || atomic_exchange(&k->used_ms, minute_ms) == minute_ms)
        return;
    pthread_mutex_lock(&r->used_lock);
    if (r->used_count < KEY_USES_MAX) {
        struct key_use *use = &r->used[r->used_count++];
        strcpy(use->kid, k->kid);
        use->used_ms = minute_ms;
    }
    pthread_mutex_unlock(&r->used_lock);
}

size_t registry_uses_take(struct registry *r, struct key_use out[KEY_USES_MAX])
{
    pthread_mutex_lock(&r->used_lock);
    size_t count = r->used_count;
    memcpy(out, r->used, count * sizeof *out);
    r->used_count = 0;
    pthread_mutex_unlock(&r->used_lock);
    return count;
}

void registry_uses_return(struct registry *r, const struct key_use *uses, size_t count)
{
    pthread_mutex_lock(&r->used_lock);
    size_t room = KEY_USES_MAX - r->used_count, kept = count < room ? count : room;
    memmove(r->used + kept, r->used, r->used_count * sizeof *uses); /* older ones first */
    memcpy(r->used, uses, kept * sizeof *uses);
    r->used_count += kept;
    pthread_mutex_unlock(&r->used_lock);
}

int registry_uses_write(struct registry *r, const struct key_use *uses, size_t count, struct err *e)
{
    for (size_t i = 0; i < count; i++)
        if (store_key_used(r->store, uses[i].kid, uses[i].used_ms, e) != 0)
            return -1;
    return 0;
}

void registry_key_check(struct registry *r, const char *key, struct caller *out)
{
    uint8_t hash[SHA256_BYTES];
    size_t length = key ? strnlen(key, KEY_TEXT_BYTES) : 0;
    *out = (struct caller){.role = ROLE_NONE};
    if (length == 0 || length >= KEY_TEXT_BYTES)
        return;
    sha256_of(key, length, hash);
    catalog_read_lock(&r->catalog);
    struct key *k = catalog_key_in_force(&r->catalog, hash);
    int64_t now_ms = clock_unix_ms();
    if (k && in_force(k, now_ms)) {
        fill_caller(k, out);
        note_use(r, k, now_ms);
    }
    const struct admin_key *admin = admin_keys_find(&r->catalog.admins, hash);
    if (admin) {
        *out = (struct caller){.role = ROLE_ADMIN};
        snprintf(out->kid, sizeof out->kid, "admin%s%s", admin->name[0] ? ":" : "", admin->name);
    }
    catalog_unlock(&r->catalog);
}

static bool admin_holds(const struct admin_keys *admins, const char *kid)
{
    const char *name = kid[5] ? kid + 6 : "";
    for (size_t i = 0; i < admins->count; i++)
        if (strcmp(admins->key[i].name, name) == 0)
            return true;
    return false;
}

bool registry_caller_holds(struct registry *r, const struct caller *c)
{
    catalog_read_lock(&r->catalog);
    bool holds = c->role == ROLE_ADMIN && strncmp(c->kid, "admin", 5) == 0 &&
                 admin_holds(&r->catalog.admins, c->kid);
    if (c->role == ROLE_TENANT) {
        struct err unknown;
        struct tenant *t = catalog_tenant_numbered(&r->catalog, c->tenant);
        struct key *k = t ? find_key(t, c->kid, &unknown) : NULL;
        holds = k && in_force(k, clock_unix_ms());
    }
    catalog_unlock(&r->catalog);
    return holds;
}

/* ---- admin keys ---- */

static int make_admin_key(const char *path, struct err *e)
{
    char text[KEY_TEXT_BYTES + 1];
    make_key_text(text);
    size_t length = strlen(text);
    text[length] = '\n';
    int result = file_replace(path, text, length + 1, 0600, e);
    explicit_bzero(text, sizeof text);
    return result;
}

int registry_admin_keys(struct registry *r, const char *path, bool *created, struct err *e)
{
    struct admin_keys admins;
    bool present = file_exists(path);
    if ((!present && make_admin_key(path, e) != 0) || admin_keys_read(&admins, path, e) != 0)
        return -1;
    catalog_set_admins(&r->catalog, &admins);
    *created = !present;
    return 0;
}

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/audit.h"
#include "adapters/registry_private.h"
#include "core/base/clock.h"
#include "core/base/file.h"

enum { KEY_RANDOM_BYTES = 32, KID_RANDOM_BYTES = 8, ADMIN_KEY_MIN = 32 };

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
    *out = (struct key_row){.created_ms = k->created_ms, .revoked = k->revoked};
    strcpy(out->kid, k->kid);
    strcpy(out->label, k->label);
}

/* A tenant that has had many keys loses the oldest revoked one, so that it can go on renewing them. */
static struct key *oldest_revoked(const struct tenant *t)
{
    struct key *oldest = NULL;
    for (size_t i = 0; i < t->keys.count; i++) {
        struct key *k = t->keys.items[i];
        if (k->revoked && (!oldest || k->created_ms < oldest->created_ms))
            oldest = k;
    }
    return oldest;
}

static int insert_key(struct registry *r, const struct key *k, const struct key *dropped, struct err *e)
{
    struct store_key row = {
        .tenant = k->tenant->number, .kid = k->kid, .label = k->label, .created_ms = k->created_ms};
    memcpy(row.hash, k->hash, sizeof row.hash);
    if (store_begin(r->store, e) != 0)
        return -1;
    char detail[KID_BYTES + 24] = "";
    if (dropped)
        snprintf(detail, sizeof detail, "in the place of %s", dropped->kid);
    if ((!dropped || store_key_delete(r->store, dropped->kid, e) == 0) &&
        store_key_insert(r->store, &row, e) == 0 &&
        audit_add(r->store, "key.create", k->tenant->id, k->kid, detail, e) == 0)
        return store_commit(r->store, e);
    store_rollback(r->store);
    return -1;
}

static int add_key(struct registry *r, struct key *k, struct err *e)
{
    struct tenant *t = k->tenant;
    bool full = t->keys.count >= TENANT_KEYS_MAX;
    struct key *dropped = full ? oldest_revoked(t) : NULL;
    if (full && !dropped)
        return err_set(e, "limit_reached",
                       "tenant \"%s\" has %d keys in force, the most that a tenant may have", t->id,
                       TENANT_KEYS_MAX);
    if (mirror_reserve(&r->mirror, &t->keys, e) != 0 || insert_key(r, k, dropped, e) != 0)
        return -1;
    if (dropped) {
        mirror_remove_key(&r->mirror, dropped);
        free(dropped);
    }
    mirror_add_key(&r->mirror, k);
    return 0;
}

static int create_key(struct registry *r, const char *tenant_id, const char *label, const char *text,
                      struct key_row *out, struct err *e)
{
    char kid[KID_BYTES];
    struct tenant *t = registry_find_tenant(r, tenant_id, e);
    if (!t)
        return -1;
    make_kid(kid);
    struct key *k = key_new(t, kid, label);
    if (!k)
        return err_memory(e);
    k->created_ms = clock_unix_ms();
    sha256_of(text, strlen(text), k->hash);
    if (add_key(r, k, e) != 0) {
        free(k);
        return -1;
    }
    fill_key(k, out);
    return 0;
}

int registry_key_create(struct registry *r, const char *tenant_id, const char *label, struct key_row *out,
                        char key[KEY_TEXT_BYTES], struct err *e)
{
    if (label && strlen(label) > LABEL_MAX_BYTES) {
        err_set(e, "label_too_long", "a key's label has at most %d bytes, this one has %zu", LABEL_MAX_BYTES,
                strlen(label));
        return err_param(e, "label");
    }
    char text[KEY_TEXT_BYTES];
    make_key_text(text);
    int result = registry_write_begin(r, e);
    if (result == 0) {
        result = create_key(r, tenant_id, label ? label : "", text, out, e);
        registry_write_end(r);
    }
    if (result == 0)
        strcpy(key, text);
    explicit_bzero(text, sizeof text);
    return result;
}

static int revoke_row(struct registry *r, const struct key *k, struct err *e)
{
    if (store_begin(r->store, e) != 0)
        return -1;
    if (store_key_revoke(r->store, k->kid, clock_unix_ms(), e) == 0 &&
        audit_add(r->store, "key.revoke", k->tenant->id, k->kid, "", e) == 0)
        return store_commit(r->store, e);
    store_rollback(r->store);
    return -1;
}

static int revoke_key(struct registry *r, const char *tenant_id, const char *kid, struct err *e)
{
    struct tenant *t = registry_find_tenant(r, tenant_id, e);
    if (!t)
        return -1;
    struct key *k = sorted_get(&t->keys, kid);
    if (!k)
        return err_set(e, "key_not_found", "tenant \"%s\" has no key of this id", t->id);
    if (k->revoked)
        return 0;
    if (revoke_row(r, k, e) != 0)
        return -1;
    mirror_revoke_key(&r->mirror, k);
    return 0;
}

int registry_key_revoke(struct registry *r, const char *tenant_id, const char *kid, struct err *e)
{
    if (registry_write_begin(r, e) != 0)
        return -1;
    int result = revoke_key(r, tenant_id, kid, e);
    registry_write_end(r);
    return result;
}

int registry_key_list(struct registry *r, const char *tenant_id, const char *after, size_t limit,
                      struct key_row *out, size_t *count, bool *more, struct err *e)
{
    mirror_read_lock(&r->mirror);
    struct tenant *t = registry_find_tenant(r, tenant_id, e);
    if (t) {
        size_t first = sorted_after(&t->keys, after), n = 0;
        for (; n < limit && first + n < t->keys.count; n++)
            fill_key(t->keys.items[first + n], &out[n]);
        *count = n;
        *more = first + n < t->keys.count;
    }
    mirror_unlock(&r->mirror);
    return t ? 0 : -1;
}

/* ---- who is it? ---- */

static void fill_caller(const struct key *k, struct caller *out)
{
    *out = (struct caller){.role = ROLE_TENANT, .tenant = k->tenant->number};
    strcpy(out->tenant_id, k->tenant->id);
    strcpy(out->kid, k->kid);
}

void registry_key_check(struct registry *r, const char *key, struct caller *out)
{
    uint8_t hash[SHA256_BYTES];
    size_t length = key ? strnlen(key, KEY_TEXT_BYTES) : 0;
    *out = (struct caller){.role = ROLE_NONE};
    if (length == 0 || length >= KEY_TEXT_BYTES)
        return;
    sha256_of(key, length, hash);
    mirror_read_lock(&r->mirror);
    const struct key *k = mirror_key_in_force(&r->mirror, hash);
    if (k)
        fill_caller(k, out);
    mirror_unlock(&r->mirror);
    if (!bytes_differ(hash, r->admin_hash, sizeof hash) && r->has_admin) {
        *out = (struct caller){.role = ROLE_ADMIN};
        strcpy(out->kid, "admin");
    }
}

/* ---- the admin key ---- */

static int check_admin_text(const char *path, const char *text, size_t length, struct err *e)
{
    bool printable = true;
    for (size_t i = 0; i < length; i++)
        printable = printable && text[i] > ' ' && text[i] < 127;
    if (printable && length >= ADMIN_KEY_MIN && length < KEY_TEXT_BYTES)
        return 0;
    err_set(e, "admin_key_malformed", "%s must hold one key of %d to %d printable ASCII characters", path,
            ADMIN_KEY_MIN, KEY_TEXT_BYTES - 1);
    return err_hint(e, "remove the file and restart the daemon: it makes a new key");
}

static int read_admin_key(const char *path, uint8_t hash[SHA256_BYTES], struct err *e)
{
    struct buf content = {0};
    int result = file_read(path, 4096, &content, e);
    size_t length = content.length;
    while (length > 0 && (content.data[length - 1] == '\n' || content.data[length - 1] == '\r'))
        length--;
    if (result == 0)
        result = check_admin_text(path, content.data, length, e);
    if (result == 0)
        sha256_of(content.data, length, hash);
    if (content.data)
        explicit_bzero(content.data, content.length);
    buf_fini(&content);
    return result;
}

static int make_admin_key(const char *path, uint8_t hash[SHA256_BYTES], struct err *e)
{
    char text[KEY_TEXT_BYTES + 1];
    make_key_text(text);
    size_t length = strlen(text);
    sha256_of(text, length, hash);
    text[length] = '\n';
    int result = file_replace(path, text, length + 1, 0600, e);
    explicit_bzero(text, sizeof text);
    return result;
}

int registry_admin_key(struct registry *r, const char *path, bool *created, struct err *e)
{
    uint8_t hash[SHA256_BYTES];
    bool present = file_exists(path);
    if ((present ? read_admin_key(path, hash, e) : make_admin_key(path, hash, e)) != 0)
        return -1;
    memcpy(r->admin_hash, hash, sizeof hash);
    r->has_admin = true;
    *created = !present;
    return 0;
}

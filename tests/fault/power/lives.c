/* The scripts: lives of data directories. */
#include <fcntl.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "adapters/store/sqlite/migrations.h"
#include "adapters/types/usage.h"
#include "cli/lib/commands.h"
#include "cli/commands/copy.h"
#include "core/system/clock.h"
#include "core/system/file.h"
#include "tests/fault/power/life.h"
#include "tests/unit/support/sample.h"
#include "tests/unit/support/scratch.h"

typedef int change(struct history *h, struct err *e);

enum { USAGE_ROWS = 300, OLD_SCHEMA = 2, STARTS_MAX = 200, HOUR_MS = 3600000 };

static uint32_t number_of(struct history *h, const char *tenant)
{
    struct tenant_row row = {.number = 0};
    struct err ignored;
    return registry_tenant_find(h->registry, tenant, &row, &ignored) == 0 ? row.number : 0;
}

/* ---- changes: each one call of the registry ---- */

static int create_tenant(struct history *h, const char *id, struct err *e)
{
    struct tenant_row row;
    return registry_tenant_create(h->registry, id, NULL, &row, e);
}

static int create_acme(struct history *h, struct err *e)
{
    return create_tenant(h, "acme", e);
}

static int create_other(struct history *h, struct err *e)
{
    return create_tenant(h, "other", e);
}

static int delete_other(struct history *h, struct err *e)
{
    return registry_tenant_delete(h->registry, "other", e);
}

static int admin_key(struct history *h, struct err *e)
{
    bool created;
    char *path = file_join(h->root, HISTORY_DATA "/admin.key");
    int result = path ? registry_admin_keys(h->registry, path, &created, e) : err_memory(e);
    free(path);
    return result;
}

static char *next_key(struct history *h)
{
    assert_in_range(h->key_count, 0, HISTORY_KEYS_MAX - 1);
    return h->keys[h->key_count];
}

static int keep_key(struct history *h, int result, const struct key_row *row)
{
    if (result == 0) {
        h->key_count++;
        strcpy(h->kid, row->kid);
    }
    return result;
}

static int create_key(struct history *h, struct err *e)
{
    struct key_row row;
    return keep_key(h, registry_key_create(h->registry, "acme", "web", 0, &row, next_key(h), e), &row);
}

static int rotate_key(struct history *h, struct err *e)
{
    struct key_row old, row;
    char kid[KID_BYTES];
    strcpy(kid, h->kid);
    int result = registry_key_rotate(h->registry, "acme", kid, HOUR_MS, 0, &old, &row, next_key(h), e);
    return keep_key(h, result, &row);
}

static int revoke_key(struct history *h, struct err *e)
{
    return registry_key_revoke(h->registry, "acme", h->kid, e);
}

static int publish(struct history *h, const char *tenant, const char *name, unsigned content, bool activate,
                   struct err *e)
{
    const struct version *v = NULL;
    bool created;
    int result = sample_publish(h->registry, tenant, name, content, activate, &v, &created, e);
    version_unref(v);
    return result;
}

static int publish_first(struct history *h, struct err *e)
{
    return publish(h, "acme", "a", 1, true, e);
}

static int publish_second(struct history *h, struct err *e)
{
    return publish(h, "acme", "a", 2, false, e);
}

static int publish_third(struct history *h, struct err *e)
{
    return publish(h, "acme", "a", 3, true, e);
}

/* The blobs of the first one, under another name. */
static int publish_shared(struct history *h, struct err *e)
{
    return publish(h, "acme", "b", 1, true, e);
}

static int publish_foreign(struct history *h, struct err *e)
{
    return publish(h, "other", "a", 4, true, e);
}

static int version_change(struct history *h, const struct adapter_change *c, struct err *e)
{
    return registry_adapter_change(h->registry, number_of(h, "acme"), "a", c, NULL, NULL, e);
}

static int activate_second(struct history *h, struct err *e)
{
    char digest[SHA256_HEX + 1];
    sample_digest(2, digest);
    return version_change(h, &(struct adapter_change){.version = digest}, e);
}

static int roll_back(struct history *h, struct err *e)
{
    return version_change(h, &(struct adapter_change){.rollback = true}, e);
}

static int set_canary(struct history *h, struct err *e)
{
    char digest[SHA256_HEX + 1];
    sample_digest(2, digest);
    return version_change(
        h, &(struct adapter_change){.set_canary = true, .canary = digest, .canary_share = 1000}, e);
}

static int describe(struct history *h, struct err *e)
{
    const struct adapter_change c = {.labels = "{\"team\": \"red\"}",
                                     .note = "tells of its makers",
                                     .set_expires = true,
                                     .expires_ms = clock_unix_ms() + 24 * HOUR_MS,
                                     .set_pinned = true,
                                     .pinned = true};
    return version_change(h, &c, e);
}

static int change_tenant(struct history *h, struct err *e)
{
    struct tenant_change c = {.set_default_adapter = true, .default_adapter = "a"};
    struct tenant_row row;
    quota_fill(&c.quota, QUOTA_UNCHANGED);
    c.quota.of[0] = 7;
    return registry_tenant_change(h->registry, "acme", &c, &row, e);
}

static int delete_version(struct history *h, struct err *e)
{
    char digest[SHA256_HEX + 1];
    sample_digest(2, digest);
    return registry_version_delete(h->registry, number_of(h, "acme"), "a", digest, true, NULL, e);
}

static int delete_adapter(struct history *h, struct err *e)
{
    return registry_adapter_delete(h->registry, number_of(h, "acme"), "a", NULL, e);
}

/* Many pages in one transaction. */
static int add_usage(struct history *h, struct err *e)
{
    static struct usage_row rows[USAGE_ROWS];
    for (int i = 0; i < USAGE_ROWS; i++) {
        rows[i] = (struct usage_row){.tenant = number_of(h, "acme"), .count = {1, 0, 20, 30 + i, 0}};
        strcpy(rows[i].tenant_id, "acme");
        strcpy(rows[i].day, "2026-01-31");
        snprintf(rows[i].adapter, sizeof rows[i].adapter, "n%d", i);
    }
    return registry_usage_add(h->registry, rows, USAGE_ROWS, e);
}

static void change_all(struct history *h, change *const *changes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        life_change(h, changes[i]);
}

void history_of_changes(struct history *h)
{
    static change *const all[] = {
        life_open,      admin_key,      create_acme,   create_other,   create_key,      publish_first,
        publish_second, publish_first,  publish_third, publish_shared, publish_foreign, activate_second,
        roll_back,      set_canary,     describe,      change_tenant,  add_usage,       rotate_key,
        revoke_key,     life_close,     life_open,     add_usage,      delete_version,  publish_second,
        delete_adapter, publish_third,  delete_other,  create_other,   revoke_key,      life_close,
        life_open,      publish_second, create_key,    delete_adapter};
    h->tidy = true;
    recorder_begin(h->root);
    change_all(h, all, sizeof all / sizeof *all);
}

/* ---- an older database ---- */

static void execute(sqlite3 *db, const char *sql)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
}

static void make_old_database(struct history *h)
{
    char *path = file_join(h->root, HISTORY_DATA "/registry.db"), *data = life_data(h);
    sqlite3 *db;
    struct err e;
    assert_int_equal(file_make_directories(data, &e), 0);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    for (int i = 0; i < OLD_SCHEMA; i++)
        execute(db, migrations[i].sql);
    execute(db, "INSERT INTO tenants VALUES (1, 'acme', 1700000000000), (2, 'other', 1700000001000)");
    execute(db, "INSERT INTO adapters VALUES (1, 1, 'a', 1700000004000)");
    execute(db, "PRAGMA application_id = 0x61647064; PRAGMA user_version = 2");
    sqlite3_close(db);
    free(path);
    free(data);
}

void history_of_an_upgrade(struct history *h)
{
    static change *const all[] = {life_open, publish_first, life_close, life_open};
    make_old_database(h);
    recorder_begin(h->root);
    change_all(h, all, sizeof all / sizeof *all);
    /* The first start holds what the older program left, and so does every one before it. */
    assert_non_null(strstr(h->held[0].data, "other"));
    buf_clear(&h->empty);
    assert_int_equal(buf_append(&h->empty, h->held[0].data, h->held[0].length), 0);
}

/* ---- processes that die ---- */

/* What is there already or gone already was done by the process that died. */
static int accept(int result, struct err *e, const char *code)
{
    return result != 0 && strcmp(e->code, code) == 0 ? 0 : result;
}

static int delete_again(struct history *h, struct err *e)
{
    return accept(delete_adapter(h, e), e, "adapter_not_found");
}

/* Dies at each operation of a change, does it again, undoes it. */
static void kill_everywhere(struct history *h, change *doing, change *undoing)
{
    int after = 0;
    for (bool died = true; died; after++) {
        died = life_kill(h, doing, after);
        life_change(h, doing);
        life_change(h, undoing);
    }
    assert_in_range(after, 5, 200);
}

static void begin_life(struct history *h)
{
    recorder_begin(h->root);
    life_change(h, life_open);
    life_change(h, create_acme);
}

void history_of_killed_uploads(struct history *h)
{
    begin_life(h);
    kill_everywhere(h, publish_first, delete_adapter);
}

void history_of_killed_deletes(struct history *h)
{
    begin_life(h);
    life_change(h, publish_first);
    kill_everywhere(h, delete_again, publish_first);
}

void history_of_killed_activations(struct history *h)
{
    begin_life(h);
    life_change(h, publish_second);
    life_change(h, publish_first);
    kill_everywhere(h, activate_second, publish_first);
}

/* What is above the data directory is none of the daemon's. */
static void make_above(const struct history *h)
{
    char *path = file_join(h->root, HISTORY_ABOVE);
    assert_int_equal(mkdir(path, 0700), 0);
    free(path);
}

/* The first start, by many processes: the first ones do one thing each. */
static int start_at_last(struct history *h, struct err *e)
{
    unsigned seed = 1;
    for (int i = 0; i < STARTS_MAX; i++) {
        recorder_die_after(i < 12 ? 1 : rand_r(&seed) % 150);
        int result = life_open(h, e);
        if (!recorder_revive())
            return result;
        life_close(h, e);
    }
    return err_set(e, "test", "no start came to its end");
}

void history_of_killed_starts(struct history *h)
{
    make_above(h);
    recorder_begin(h->root);
    life_change(h, start_at_last);
    life_change(h, create_acme);
    life_change(h, publish_first);
    for (int after = 0; life_kill(h, admin_key, after); after++)
        ;
}

/* ---- restoring a backup ---- */

static void add_sum(struct buf *sums, const char *directory, const char *path)
{
    struct buf content = {0};
    struct err e;
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX + 1], *full = file_join(directory, path);
    if (file_read(full, 1 << 24, &content, &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
    sha256_of(content.data, content.length, digest);
    hex_encode(digest, sizeof digest, hex);
    buf_printf(sums, "%s  %s\n", hex, path);
    buf_fini(&content);
    free(full);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* As a backup has them: the database, then the blobs in order. */
static void write_sums(const char *directory, char blobs[4][COPY_PATH_BYTES])
{
    struct buf sums = {0};
    struct err e;
    char *path = file_join(directory, COPY_SUMS);
    qsort(blobs, 4, COPY_PATH_BYTES, by_text);
    add_sum(&sums, directory, COPY_DATABASE);
    for (int i = 0; i < 4; i++)
        add_sum(&sums, directory, blobs[i]);
    if (file_replace(path, sums.data, sums.length, 0600, &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
    buf_fini(&sums);
    free(path);
}

/* A data directory at rest, with its sums, is a backup. */
static void make_backup(struct history *h, const char *directory)
{
    struct err e = {.code = ""};
    char blobs[4][COPY_PATH_BYTES];
    const struct version *found[2];
    size_t count = 0;
    if (registry_open(&h->registry, directory, &e) != 0 || create_acme(h, &e) != 0 ||
        create_key(h, &e) != 0 || publish_first(h, &e) != 0 || publish_second(h, &e) != 0 ||
        registry_adapter_versions(h->registry, number_of(h, "acme"), "a", 2, found, &count, &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
    assert_int_equal(count, 2);
    for (size_t i = 0; i < 2; i++) {
        const char *config = found[i]->config_blob, *weights = found[i]->weights_blob;
        snprintf(blobs[2 * i], COPY_PATH_BYTES, "blobs/sha256/%.2s/%s", config, config);
        snprintf(blobs[2 * i + 1], COPY_PATH_BYTES, "blobs/sha256/%.2s/%s", weights, weights);
        version_unref(found[i]);
    }
    life_close(h, &e);
    write_sums(directory, blobs);
}

/* What adapterctl says is not of interest. */
int print_json(const json_t *value, struct err *e)
{
    (void)value, (void)e;
    return 0;
}

void print_bytes(double bytes, char out[PRINT_BYTES_SIZE])
{
    (void)bytes;
    out[0] = '\0';
}

static int restore(struct history *h, struct err *e)
{
    char *backup = file_join(h->root, "backup"), *data = life_data(h);
    const struct args arguments = {.operand = {backup, data}, .operand_count = 2};
    struct context context = {.json = 1};
    int result = backup_restore(&context, &arguments, e);
    free(backup);
    free(data);
    return result;
}

void history_of_a_restore(struct history *h)
{
    char *backup = file_join(h->root, "backup");
    struct err e;
    h->may_refuse = true;
    make_above(h);
    make_backup(h, backup);
    recorder_begin(h->root);
    life_change(h, restore);
    if (registry_open(&h->registry, backup, &e) != 0) /* what the restored one must be */
        fail_msg("%s: %s", e.code, e.message);
    buf_clear(&h->held[0]);
    if (history_describe(h, h->registry, h->root, &h->held[0], &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
    life_change(h, life_close);
    life_change(h, life_open);
    free(backup);
}

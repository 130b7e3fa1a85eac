/* A file of SQLite's that changed under us: a flipped bit anywhere in it is refused or changes nothing, what
 * an older program left is taken over with checksums, what another program writes is noticed. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "adapters/store/sql/query.h"
#include "adapters/store/sqlite/migrations.h"
#include "adapters/store/sqlite/sqlite.h"
#include "core/system/file.h"
#include "tests/unit/support/place.h"

enum { HEADER_BITS = 8 * 100, RANDOM_BITS = 700, FILE_BYTES_MAX = 1 << 20 };

/* ---- a database with something in it ---- */

static void fill(struct registry *r)
{
    for (unsigned i = 0; i < 6; i++) {
        char name[8], key[KEY_TEXT_BYTES];
        struct key_row row;
        struct err e;
        snprintf(name, sizeof name, "t%u", i);
        place_tenant(r, name);
        place_publish(r, name, "a", i, true, true);
        place_publish(r, name, "b", i + 1, i % 2, true);
        assert_int_equal(registry_key_create(r, name, "label", 0, &row, key, &e), 0);
    }
}

/* Every row of every table, as SQL would write it again. */
static int dump(struct database *d, struct buf *out, struct err *e)
{
    static const char *const tables[] = {"tenants",     "keys",   "adapters", "versions",
                                         "activations", "proofs", "audit",    "usage"};
    static const char *const keys[] = {"number", "kid",     "number", "number",
                                       "number", "version", "number", "number"};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        char sql[96];
        snprintf(sql, sizeof sql, "SELECT * FROM %s ORDER BY %s", tables[i], keys[i]);
        void *statement = d->methods->prepare(d, sql);
        enum sql_step step = SQL_FAILED;
        while (statement && (step = d->methods->step(statement)) == SQL_ROW)
            for (int column = 0; column < 5; column++) {
                struct sql_value v;
                d->methods->column(statement, column, &v);
                buf_printf(out, "%d %lld %g %.*s|", v.type, (long long)v.integer, v.real, (int)v.length,
                           v.bytes ? v.bytes : "");
            }
        int failed = step == SQL_FAILED ? d->methods->error(d, "dump", e) : 0;
        if (statement)
            d->methods->finalize(statement);
        if (failed)
            return -1;
    }
    return 0;
}

/* What a start would find: the rows, or the refusal's code. */
static const char *look(const char *path, struct buf *out)
{
    struct database *d;
    struct err e;
    bool created;
    buf_clear(out);
    if (sqlite_open(&d, path, &created, &e) != 0)
        return e.code;
    const char *code = dump(d, out, &e) == 0 ? NULL : e.code;
    query_close_database(d);
    return code;
}

struct copy {
    char *path;
    uint8_t *bytes;
    size_t length;
    struct buf rows;
};

static void flip(const struct copy *c, size_t bit)
{
    c->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    int fd = open(c->path, O_WRONLY);
    assert_int_equal(pwrite(fd, c->bytes + bit / 8, 1, (off_t)(bit / 8)), 1);
    close(fd);
}

static void expect_harmless(const struct copy *c, size_t bit)
{
    struct buf found = {0};
    flip(c, bit);
    const char *code = look(c->path, &found);
    if (!code && (found.length != c->rows.length || memcmp(found.data, c->rows.data, found.length) != 0))
        fail_msg("bit %zu of byte %zu: other rows are served", bit % 8, bit / 8);
    if (code && strcmp(code, "registry_malformed") != 0 && strcmp(code, "registry_newer") != 0)
        fail_msg("bit %zu of byte %zu: refused with %s", bit % 8, bit / 8, code);
    flip(c, bit);
    buf_fini(&found);
}

static void read_copy(struct copy *c, const char *directory)
{
    struct buf content = {0};
    struct err e;
    c->path = file_join(directory, "registry.db");
    assert_int_equal(file_read(c->path, FILE_BYTES_MAX, &content, &e), 0);
    c->length = content.length;
    c->bytes = malloc(content.length);
    memcpy(c->bytes, content.data, content.length);
    buf_fini(&content);
    assert_null(look(c->path, &c->rows));
    assert_true(c->rows.length > 1000);
}

static void a_flipped_bit_never_serves_other_rows(void **state)
{
    struct place *p = *state;
    struct copy c = {0};
    fill(p->registry);
    registry_close(p->registry);
    p->registry = NULL;
    read_copy(&c, p->directory);
    for (size_t bit = 0; bit < HEADER_BITS; bit++)
        expect_harmless(&c, bit);
    unsigned seed = 5;
    for (int i = 0; i < RANDOM_BITS; i++)
        expect_harmless(&c, (size_t)rand_r(&seed) % (8 * c.length));
    assert_null(look(c.path, &c.rows));
    free(c.path);
    free(c.bytes);
    buf_fini(&c.rows);
}

/* ---- an older program's file ---- */

static void execute(sqlite3 *db, const char *sql)
{
    char *message = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", sql, message);
}

/* Run what a query answers, one statement a row. */
static void execute_each(sqlite3 *db, const char *query)
{
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_prepare_v2(db, query, -1, &statement, NULL), SQLITE_OK);
    while (sqlite3_step(statement) == SQLITE_ROW)
        execute(db, (const char *)sqlite3_column_text(statement, 0));
    sqlite3_finalize(statement);
}

/* The same rows, as a program that knows nothing of checksums writes them. */
static void copy_without_checksums(const char *path)
{
    char *attach = NULL, *aside = NULL;
    sqlite3 *db;
    assert_true(asprintf(&aside, "%s.aside", path) > 0);
    assert_true(asprintf(&attach, "ATTACH '%s' AS old", aside) > 0);
    assert_int_equal(rename(path, aside), 0);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    execute(db, attach);
    execute_each(db, "SELECT sql FROM old.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'");
    execute_each(db, "SELECT 'INSERT INTO ' || name || ' SELECT * FROM old.' || name FROM old.sqlite_schema"
                     " WHERE type = 'table' AND name NOT LIKE 'sqlite_%'");
    execute_each(db, "SELECT sql FROM old.sqlite_schema WHERE type <> 'table' AND sql IS NOT NULL");
    execute(db, "DELETE FROM sqlite_sequence; INSERT INTO sqlite_sequence SELECT * FROM old.sqlite_sequence");
    char mark[96];
    snprintf(mark, sizeof mark, "PRAGMA application_id = 0x61647064; PRAGMA user_version = %zu",
             migrations_count);
    execute(db, mark);
    sqlite3_close(db);
    unlink(aside);
    free(attach);
    free(aside);
}

static uint8_t reserved_bytes(const char *path)
{
    uint8_t value = 0xff;
    int fd = open(path, O_RDONLY);
    assert_int_equal(pread(fd, &value, 1, 20), 1);
    close(fd);
    return value;
}

static void what_has_no_checksums_gets_them(void **state)
{
    struct place *p = *state;
    char *path = file_join(p->directory, "registry.db");
    struct buf before = {0}, after = {0};
    fill(p->registry);
    registry_close(p->registry);
    p->registry = NULL;
    assert_null(look(path, &before));
    assert_int_equal(reserved_bytes(path), 8);
    copy_without_checksums(path);
    assert_int_equal(reserved_bytes(path), 0);
    assert_null(look(path, &after));
    assert_int_equal(reserved_bytes(path), 8);
    assert_int_equal(before.length, after.length);
    assert_memory_equal(before.data, after.data, after.length);
    char *copy = file_join(p->directory, "registry.db.upgrade");
    assert_false(file_exists(copy));
    free(copy);
    p->registry = place_open(p->directory);
    place_publish(p->registry, "t0", "c", 9, true, true);
    buf_fini(&before);
    buf_fini(&after);
    free(path);
}

/* An index that no longer leads to a row would let a start sweep the row's blob away. */
static void an_index_that_lost_an_entry_is_refused_before_anything_is_swept(void **state)
{
    struct place *p = *state;
    char *path = file_join(p->directory, "registry.db");
    sqlite3 *db;
    fill(p->registry);
    registry_close(p->registry);
    p->registry = NULL;
    size_t blobs = scratch_count(p->directory, "blobs");
    copy_without_checksums(path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 0, (int *)NULL);
    /* The row is written while the schema hides its index. */
    static const char hide[] =
        "PRAGMA writable_schema = ON; CREATE TEMP TABLE kept AS SELECT rowid AS place, * FROM sqlite_schema"
        " WHERE name = 'versions_by_weights_blob';"
        "DELETE FROM sqlite_schema WHERE name = 'versions_by_weights_blob'; PRAGMA writable_schema = RESET;";
    static const char change[] =
        "UPDATE versions SET weights_blob = (SELECT weights_blob FROM versions WHERE number = 1)"
        " WHERE number = 2;";
    static const char show[] =
        "PRAGMA writable_schema = ON; INSERT INTO sqlite_schema SELECT type, name, tbl_name, rootpage, sql"
        " FROM kept; PRAGMA writable_schema = RESET;";
    execute(db, hide);
    execute(db, change);
    execute(db, show);
    sqlite3_close(db);
    struct registry *r;
    struct err e;
    assert_int_equal(registry_open(&r, p->directory, &e), -1);
    assert_string_equal(e.code, "registry_malformed");
    assert_non_null(strstr(e.message, "index"));
    assert_non_null(strstr(e.hint, "adapterctl restore"));
    assert_int_equal(scratch_count(p->directory, "blobs"), blobs);
    free(path);
}

/* ---- another program ---- */

static void remove_file(const char *path)
{
    assert_int_equal(unlink(path), 0);
}

static void replace_file(const char *path)
{
    struct err e;
    struct buf content = {0};
    assert_int_equal(file_read(path, FILE_BYTES_MAX, &content, &e), 0);
    assert_int_equal(file_replace(path, content.data, content.length, 0600, &e), 0);
    buf_fini(&content);
}

/* cp FILE registry.db keeps the inode. */
static void write_over_file(const char *path)
{
    struct err e;
    struct buf content = {0};
    assert_int_equal(file_read(path, FILE_BYTES_MAX, &content, &e), 0);
    int fd = open(path, O_WRONLY | O_TRUNC);
    assert_int_equal(file_write_all(fd, content.data, content.length, &e), 0);
    close(fd);
    buf_fini(&content);
}

static void remove_journal(const char *path)
{
    char *journal = NULL;
    assert_true(asprintf(&journal, "%s-journal", path) > 0);
    remove_file(journal);
    free(journal);
}

static void a_file_that_is_not_ours_any_more_takes_no_changes(void **state)
{
    (void)state;
    static void (*const harm[])(const char *path) = {remove_file, replace_file, write_over_file,
                                                     remove_journal};
    for (size_t i = 0; i < sizeof harm / sizeof *harm; i++) {
        char *directory = scratch_new(), *path = file_join(directory, "registry.db");
        struct registry *r = place_open(directory);
        struct tenant_row row;
        struct err e;
        uint32_t acme = place_tenant(r, "acme");
        place_publish(r, "acme", "a", 1, true, true);
        registry_look(r);
        assert_false(registry_replaced(r));
        harm[i](path);
        assert_int_equal(registry_tenant_create(r, "late", NULL, &row, &e), -1);
        assert_string_equal(e.code, "registry_replaced");
        registry_look(r);
        assert_true(registry_replaced(r));
        assert_false(registry_failed(r));
        place_expect_content(r, acme, "a", 1); /* the rest goes on */
        registry_close(r);
        free(path);
        scratch_remove(directory);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_PLACE(a_flipped_bit_never_serves_other_rows),
        IN_PLACE(what_has_no_checksums_gets_them),
        IN_PLACE(an_index_that_lost_an_entry_is_refused_before_anything_is_swept),
        cmocka_unit_test(a_file_that_is_not_ours_any_more_takes_no_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

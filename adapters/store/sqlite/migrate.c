#include "adapters/store/sqlite/migrate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "adapters/store/sqlite/migrations.h"

enum { APPLICATION_ID = 0x61647064 }; /* "adpd", in the header of the file */

static int foreign(const char *path, uint32_t application, struct err *e)
{
    err_set(e, "registry_malformed",
            "%s is a database of another program: application id 0x%08x, expected 0x%08x", path, application,
            APPLICATION_ID);
    return err_hint(e, "if adapterd wrote it, it is damaged: " CONNECTION_DAMAGED_HINT);
}

static int check_schema(const char *path, int64_t schema, struct err *e)
{
    int64_t newest = (int64_t)migrations_count;
    if (schema <= newest)
        return 0;
    err_set(e, "registry_newer", "%s has schema version %lld, this adapterd knows up to %lld", path,
            (long long)schema, (long long)newest);
    return err_hint(e, "start the newer adapterd that wrote it, or restore a backup");
}

/* ---- by the header (the database file format is fixed: "The Database Header" in SQLite's documentation)
 * ---- */

enum { HEADER_BYTES = 100, USER_VERSION_AT = 60, APPLICATION_ID_AT = 68 };

static uint32_t big_endian(const uint8_t *b)
{
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

int migrate_look(const char *path, struct err *e)
{
    uint8_t header[HEADER_BYTES] = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? 0 : err_errno(e, "cannot open %s", path);
    ssize_t count = pread(fd, header, sizeof header, 0);
    close(fd);
    if (count != HEADER_BYTES || memcmp(header, "SQLite format 3", 16) != 0)
        return 0;
    uint32_t application = big_endian(header + APPLICATION_ID_AT),
             schema = big_endian(header + USER_VERSION_AT);
    if (application == 0 && schema == 0)
        return 0;
    return application == APPLICATION_ID ? check_schema(path, schema, e) : foreign(path, application, e);
}

/* ---- as SQLite reads it ---- */

int migrate_owner(struct connection *c, const char *path, int64_t *schema, struct err *e)
{
    int64_t application, objects;
    if (connection_integer(c, "PRAGMA application_id", &application, e) != 0 ||
        connection_integer(c, "PRAGMA user_version", schema, e) != 0 ||
        connection_integer(c, "SELECT count(*) FROM sqlite_schema", &objects, e) != 0)
        return -1;
    bool empty = application == 0 && *schema == 0 && objects == 0;
    if (!empty && (application != APPLICATION_ID || *schema < 1))
        return foreign(path, (uint32_t)application, e);
    return check_schema(path, *schema, e);
}

static int apply(struct connection *c, const struct migration *m, struct err *e)
{
    char mark[96];
    snprintf(mark, sizeof mark, "PRAGMA application_id = %d; PRAGMA user_version = %d", APPLICATION_ID,
             m->number);
    if (sqlite3_exec(c->sqlite, m->sql, NULL, NULL, NULL) != SQLITE_OK)
        return connection_error(c, m->name, e);
    return connection_execute(c, mark, e);
}

int migrate_from(struct connection *c, int64_t schema, struct err *e)
{
    struct database *d = &c->database;
    if ((size_t)schema >= migrations_count)
        return 0;
    if (d->methods->begin(d, e) != 0)
        return -1;
    for (size_t i = (size_t)schema; i < migrations_count; i++) {
        if (apply(c, &migrations[i], e) != 0) {
            d->methods->rollback(d);
            return -1;
        }
    }
    return d->methods->commit(d, e);
}

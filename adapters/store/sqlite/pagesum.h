/* A checksum in every page of the database's file, so that a flipped bit anywhere in it is an error where it
 * is read and never another row. An SQLite VFS above the system's own: it fills the last PAGESUM_BYTES of
 * each page that is written and compares them where a page is read. Stateless but for its registration; any
 * thread.
 *
 * The bytes are those that a page's header reserves ("bytes of unused reserved space", byte 20 of the file).
 * A file that reserves none, as programs before this one wrote it, is read and written as it is. */
#pragma once
#include <stdbool.h>

#include <sqlite3.h>

enum { PAGESUM_BYTES = 8 };

/* The name of the VFS, for sqlite3_open_v2; NULL: no memory. */
const char *pagesum_vfs(void);
/* Let a database that is made, or the next VACUUM INTO, reserve the bytes. */
void pagesum_reserve(sqlite3 *connection);
/* Do the pages of this database have checksums? Once something was read from it. */
bool pagesum_on(sqlite3 *connection);
/* Did one of them not match? */
bool pagesum_damaged(sqlite3 *connection);

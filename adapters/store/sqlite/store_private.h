/* What the store's files share: store.c, store_proofs.c and store_metadata.c (statements), query.c (running
 * them), store_open.c (connection, migrations). Nobody else includes it. */
#pragma once
#include <sqlite3.h>

#include "adapters/store/store.h"

enum {
    STORE_STATEMENTS_PROOFS = 48,   /* the first slot of store_proofs.c; those below are store.c's */
    STORE_STATEMENTS_METADATA = 52, /* of store_metadata.c */
    STORE_STATEMENTS_MAX = 64
};

struct store {
    sqlite3 *connection;
    sqlite3_stmt *statements[STORE_STATEMENTS_MAX]; /* prepared on first use */
    bool failed;
};

/* The connection's present error as an err; sets `failed` where the state of the disk is in doubt. */
int store_error(struct store *s, const char *doing, struct err *e);
int store_execute(struct store *s, const char *sql, struct err *e);

/* Counts what tenants use, in memory, and writes it down every LEDGER_FLUSH_MS in one transaction, and when
 * it is closed. What was written is forgotten in the same moment, and what could not be written is kept: a
 * crash loses the last seconds, nothing is counted twice. Owns a thread; any thread may count, which never
 * waits for the disk.
 *
 * Each request makes its entry before anything can be refused for want of memory, and hands it over when it
 * ends. */
#pragma once
#include <stdbool.h>

#include "adapters/table.h"
#include "adapters/usage.h"

enum { LEDGER_FLUSH_MS = 2000, LEDGER_ENTRIES_MAX = 65536 };

struct ledger;

struct ledger_entry {
    struct table_link link;
    struct usage_row row; /* the day is filled in when it is counted */
};

/* `write` adds all rows in one transaction, or none; registry_usage_add. It is called without rows, too, for
 * what else is to be written from time to time. */
typedef int ledger_write(void *arg, const struct usage_row *rows, size_t count, struct err *e);
int ledger_new(struct ledger **out, ledger_write *write, void *arg, struct err *e);
/* Writes what is left; -1 when that failed and counts are lost. Frees in any case; NULL is fine. */
int ledger_free(struct ledger *l, struct err *e);

struct ledger_entry *ledger_entry_new(uint32_t tenant, const char *tenant_id); /* NULL: out of memory */
/* Takes the entry over. */
void ledger_count(struct ledger *l, struct ledger_entry *entry);
/* Write what was counted so far. For threads that may block. */
int ledger_flush(struct ledger *l, struct err *e);
/* So much waits for a disk that does not take it that nothing new should be begun. */
bool ledger_full(struct ledger *l);

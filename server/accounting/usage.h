/* Counts what tenants use, in memory, and writes it down every USAGE_FLUSH_MS in one transaction, and when
 * it is closed. What was written is forgotten in the same moment, and what could not be written is kept: a
 * crash loses the last seconds, nothing is counted twice. Owns a thread; any thread may count, which never
 * waits for the disk.
 *
 * Each request makes its entry before anything can be refused for want of memory, and hands it over when it
 * ends. */
#pragma once
#include <stdbool.h>

#include "core/base/hashtable.h"
#include "adapters/types/usage.h"

enum { USAGE_FLUSH_MS = 2000, USAGE_ENTRIES_MAX = 65536 };

struct usage;

struct usage_entry {
    struct hashtable_link link;
    struct usage_row row; /* the day is filled in when it is counted */
};

/* `write` adds all rows in one transaction, or none; registry_usage_add. It is called without rows, too, for
 * what else is to be written from time to time. */
typedef int usage_write(void *arg, const struct usage_row *rows, size_t count, struct err *e);
MUST_USE int usage_new(struct usage **out, usage_write *write, void *arg, struct err *e);
/* Writes what is left; -1 when that failed and counts are lost. Frees in any case; NULL is fine. */
MUST_USE int usage_free(struct usage *l, struct err *e);

struct usage_entry *usage_entry_new(uint32_t tenant, const char *tenant_id); /* NULL: out of memory */
/* Takes the entry over. */
void usage_count(struct usage *l, struct usage_entry *entry);
/* Write what was counted so far. For threads that may block. */
MUST_USE int usage_flush(struct usage *l, struct err *e);
/* So much waits for a disk that does not take it that nothing new should be begun. */
bool usage_full(struct usage *l);

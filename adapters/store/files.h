/* The rows of files: see store.h, of which this is a part. */
#pragma once
#include "adapters/store/store.h"
#include "adapters/types/files.h"

/* Gives the row its number. */
MUST_USE int store_file_insert(struct store *s, struct file_row *row, struct err *e);
/* One of the tenant's that has not ended at `now_ms`; number 0: there is none. */
MUST_USE int store_file_find(struct store *s, uint32_t tenant, const char *id, int64_t now_ms,
                             struct file_row *out, struct err *e);
MUST_USE int store_file_delete(struct store *s, int64_t number, struct err *e);
/* All of the tenant's that have this one's purpose and name; none is no error. */
MUST_USE int store_file_delete_named(struct store *s, const struct file_row *like, struct err *e);
/* Those that have ended. How many they were is not told: none is no error. */
MUST_USE int store_file_delete_ended(struct store *s, int64_t now_ms, struct err *e);
MUST_USE int store_file_list(struct store *s, const struct file_query *query, struct file_row *out,
                             size_t *count, bool *more, struct err *e);
/* Of all that the tenant has, ended or not: what is on the disk. */
MUST_USE int store_file_usage(struct store *s, uint32_t tenant, uint64_t *bytes, size_t *count,
                              struct err *e);
/* Call back for every file there is. */
typedef int store_file_function(void *arg, const struct file_row *row, struct err *e);
MUST_USE int store_file_each(struct store *s, store_file_function *visit, void *arg, struct err *e);

/* ---- blobs of deleted files that may still be on the disk ---- */
/* One of them; "": there is none behind `after`, in the order of digests. */
MUST_USE int store_file_gone(struct store *s, const char *after, char out[SHA256_HEX + 1], struct err *e);
MUST_USE int store_file_forget(struct store *s, const char *blob, struct err *e);

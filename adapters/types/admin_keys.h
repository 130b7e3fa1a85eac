/* The admin keys: a file with one key on each line and, behind it, who holds it. Only their hashes are kept.
 * Reads the file and nothing else; what was read is the caller's. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/base/sha256.h"

enum { ADMIN_KEYS_MAX = 16, ADMIN_KEY_BYTES_MIN = 32, ADMIN_KEY_BYTES_MAX = 95, ADMIN_NAME_BYTES_MAX = 17 };

struct admin_key {
    uint8_t hash[SHA256_BYTES];
    char name[ADMIN_NAME_BYTES_MAX + 1]; /* "": it has none */
};
struct admin_keys {
    struct admin_key key[ADMIN_KEYS_MAX];
    size_t count;
};

/* Lines "KEY" or "KEY NAME"; empty ones and those that begin with # do not count. Errors, which never show a
 * key: "admin_key_malformed" (also without any key), "io_error", "file_too_large". */
MUST_USE int admin_keys_read(struct admin_keys *out, const char *path, struct err *e);
/* Compares with all, in constant time. NULL: none of them. */
const struct admin_key *admin_keys_find(const struct admin_keys *k, const uint8_t hash[SHA256_BYTES]);

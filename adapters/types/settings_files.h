/* The settings that an adapter may bring beside its weights: files that say how it is talked to, as tools
 * write them into the directory of an adapter. Their bytes are kept as they came. No SQL, no I/O; one thread.
 */
#pragma once
#include <stdbool.h>

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/base/sha256.h"

enum { SETTINGS_FILE_BYTES_MAX = 2 << 20 }; /* each */
enum settings_file {
    SETTINGS_TOKENIZER_CONFIG,
    SETTINGS_CHAT_TEMPLATE,
    SETTINGS_GENERATION_CONFIG,
    SETTINGS_ADDED_TOKENS,
    SETTINGS_FILES
};
extern const char *const settings_file_names[SETTINGS_FILES];

struct settings_files { /* zero-initialize; settings_files_fini */
    bool has[SETTINGS_FILES];
    struct buf text[SETTINGS_FILES];
};
bool settings_files_any(const struct settings_files *f);
/* Append one file's next bytes. Errors: "body_too_large", "out_of_memory". */
MUST_USE int settings_files_add(struct settings_files *f, enum settings_file which, const void *bytes,
                                size_t length, struct err *e);
void settings_files_fini(struct settings_files *f);

/* All of them as one JSON object, name to content, and back. Errors: "config_malformed" where a file is not
 * UTF-8, or `bytes` is not such an object; "out_of_memory". */
MUST_USE int settings_files_encode(const struct settings_files *f, struct buf *out, struct err *e);
MUST_USE int settings_files_decode(struct settings_files *out, const void *bytes, size_t length,
                                   struct err *e);
/* SHA-256 of what settings_files_encode makes, hexadecimal. */
void settings_files_digest(const struct buf *encoded, char out[SHA256_HEX + 1]);

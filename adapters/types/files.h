/* What the two files of an adapter may measure; and files that a tenant keeps here to train with, or that a
 * job left, as values with the bounds of what may be kept: beyond them "body_too_large" and "limit_reached".
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/sha256.h"

enum { ADAPTER_CONFIG_BYTES_MAX = 1 << 20 };
#define ADAPTER_WEIGHTS_BYTES_MAX (UINT64_C(4) << 30)

enum { FILE_ID_BYTES = 40, FILE_NAME_BYTES = 256, FILE_PURPOSE_BYTES = 32, TENANT_FILES_MAX = 10000 };
#define TRAINING_FILE_BYTES_MAX (UINT64_C(1) << 30)
#define FILE_PURPOSE_TRAINING "fine-tune"
#define FILE_PURPOSE_RESULTS "fine-tune-results"

struct file_row {
    int64_t number;
    char id[FILE_ID_BYTES]; /* "file-..." */
    uint32_t tenant;
    char name[FILE_NAME_BYTES]; /* UTF-8 */
    char purpose[FILE_PURPOSE_BYTES];
    char blob[SHA256_HEX + 1]; /* SHA-256 of its bytes */
    uint64_t bytes;
    int64_t examples;
    int64_t created_ms, expires_ms; /* 0: never */
};

struct file_query {
    uint32_t tenant;
    int64_t now_ms; /* what ended before is not there */
    int64_t after;  /* rows behind this one in the order asked for; 0: from its beginning */
    bool newest_first;
    const char *purpose; /* NULL: any */
    size_t limit;
};

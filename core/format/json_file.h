/* Reads JSON files of others: of bounded size, no key twice, no zero byte; a byte order mark is passed over,
 * and a file that is something else altogether is named (filetype.h). Owns nothing; any thread. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/base/err.h"

/* How one file is read. */
struct json_file {
    const char *name; /* for messages, and in its directory */
    const char *code; /* of what is wrong with its content */
    size_t bytes_max;
    size_t flags; /* jansson's, beside JSON_REJECT_DUPLICATES */
};

/* Any JSON value. */
MUST_USE int json_file_parse(const struct json_file *f, const char *text, size_t length, json_t **out,
                             struct err *e);
/* An object. *out is NULL where there is no such file and it is not required. Errors also: file_read's. */
MUST_USE int json_file_read(const struct json_file *f, const char *directory, bool required, json_t **out,
                            struct err *e);

/* The digest of a model's weights: SHA-256 over name, type, shape and every byte of each tensor, in the order
 * of names. How they are spread over files, and what else stands in those, does not enter.
 *
 * Where it is remembered, in a directory that the process owns: for files of the same names, sizes, inodes
 * and times as then (of the last writing and of the last change of anything, to the nanosecond), so that the
 * next start of an unchanged model need not read them. Files that changed while the memory was made, or
 * within two seconds before, are not remembered: the next change might bear the same time. */
#pragma once
#include <stdbool.h>

#include "core/base/sha256.h"
#include "core/model/weights.h"

/* `directory` of the memory, NULL: none. False where it is not known. */
bool digest_recall(const struct weights *w, const char *directory, const char *model,
                   uint8_t out[SHA256_BYTES]);
/* begun_s: when the reading began, seconds since 1970. What cannot be written is no error: it is found
 * again. */
void digest_remember(const struct weights *w, const char *directory, const char *model, int64_t begun_s,
                     const uint8_t digest[SHA256_BYTES]);

/* Canonical composition (Unicode normalization form C), as the `tokenizers` library does it: with the data of
 * Unicode 9, so that combining characters added later stay where they are. Owns nothing; any thread. */
#pragma once
#include <stddef.h>

#include "core/base/buf.h"
#include "core/base/err.h"

/* Append the composed form of valid UTF-8. Linear time. Error: "out_of_memory". */
MUST_USE int nfc_append(const char *text, size_t length, struct buf *out, struct err *e);

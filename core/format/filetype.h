/* What a file is that is not what it should be: a Git LFS pointer or a web page in the place of weights, a
 * pickle, an archive. Known by its first bytes or its name. Owns nothing; any thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "core/base/err.h"

enum { FILETYPE_BYTES = 512 }; /* as many of a file's first bytes are enough */

/* Refuse a file whose first bytes show what else it is: 0, where they do not. The message is
 * "SUBJECT a Git LFS pointer, not WANTED", as in "the weights are", "a safetensors file"; the hint says what
 * to do. `text`: what is wanted is a text itself. Errors: `code`; "pickle_refused". */
int filetype_refuse(const void *start, size_t length, bool text, const char *subject, const char *wanted,
                    const char *code, struct err *e);

/* Does the name end as those of pickles do? */
bool filetype_is_pickle(const char *name);
/* Error: "pickle_refused"; the message begins with `what`. */
int filetype_refuse_pickle(const char *what, struct err *e);

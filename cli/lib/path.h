/* Request paths from outside text: every part is percent-encoded, so that no name can become a slash or a
 * query. The caller's buffer. */
#pragma once
#include <stdbool.h>

#include "core/base/buf.h"
#include "core/base/err.h"

/* Append "/" and the encoded segment. 0, or -1 when memory ran out. */
int path_segment(struct buf *b, const char *text);
/* Append "/adapters/NAME", or "/adapters/NAME/versions/VERSION" where there is a version. */
int path_adapter(struct buf *b, const char *name, const char *version);
/* Append "?name=value", or "&name=value" behind the first. */
int path_query(struct buf *b, const char *name, const char *value);

/* A version without the "sha256:" before its digits; NULL gives NULL. */
const char *path_digits(const char *version);
/* Can it be the name of an adapter, the id of a tenant or of a key? */
bool path_name_valid(const char *name);
/* "invalid_name" unless it can; `what` is "an adapter". What cannot would be an address that does not
 * exist. */
MUST_USE int path_check_name(const char *what, const char *name, struct err *e);
/* Cut NAME or NAME@VERSION apart: a copy of it, which is the name and the caller's to free; *version are
 * digits in it, or NULL where there are none. "invalid_name" or "version_not_found" for what is neither. */
MUST_USE int path_reference(const char *text, char **name, const char **version, struct err *e);

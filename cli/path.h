/* Request paths from outside text: every part is percent-encoded, so that no name can become a slash or a
 * query. The caller's buffer. */
#pragma once
#include "core/base/buf.h"

/* Append "/" and the encoded segment. 0, or -1 when memory ran out. */
int path_segment(struct buf *b, const char *text);
/* Append "/adapters/NAME", or "/adapters/NAME/versions/VERSION" where there is a version. */
int path_adapter(struct buf *b, const char *name, const char *version);
/* Append "?name=value", or "&name=value" behind the first. */
int path_query(struct buf *b, const char *name, const char *value);

/* A version without the "sha256:" before its digits; NULL gives NULL. */
const char *path_digits(const char *version);
/* Cut NAME@VERSION apart, in place; the digits of the version, or NULL where there is only a name. */
const char *path_cut_version(char *reference);

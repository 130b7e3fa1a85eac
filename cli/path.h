/* Request paths from outside text: every part is percent-encoded, so that no name can become a slash or a
 * query. The caller's buffer. */
#pragma once
#include "core/base/buf.h"

/* Append "/" and the encoded segment. 0, or -1 when memory ran out. */
int path_segment(struct buf *b, const char *text);
/* Append "?name=value", or "&name=value" behind the first. */
int path_query(struct buf *b, const char *name, const char *value);

/* The form of POST /adapters while it arrives: its parts go to disk as they come, in slices, on a job thread,
 * while the connection waits. At most one slice of it is in memory. */
#pragma once
#include <microhttpd.h>

#include "server/http/request.h"

enum { UPLOAD_SLICE_BYTES = 256 << 10, UPLOAD_FIELD_BYTES_MAX = 256 };

/* HTTP thread, before the body. Error: "multipart_malformed". */
MUST_USE int upload_form_begin(struct request *r, struct MHD_Connection *connection, struct err *e);
/* HTTP thread: r->body has grown. May pass the request to a job thread (then it is pending). */
void upload_form_more(struct request *r);
/* The route's handler, on a job thread: the body is complete. */
void upload_form_accept(struct request *r);

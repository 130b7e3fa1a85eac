/* Who is calling, decided from the headers before any body is read. HTTP threads; never logs or keeps a
 * key. */
#pragma once
#include "server/http/request.h"

/* Without keys: does the request come from this machine, and from no web page but those that were allowed to?
 * "forbidden" */
MUST_USE int auth_check_browser(const struct request *r, struct MHD_Connection *connection, struct err *e);
/* Fills r->caller. Errors: "unauthorized", "forbidden" (a role that may not, or a tenant that is not the
 * key's). */
MUST_USE int auth_check(struct request *r, struct MHD_Connection *connection, struct err *e);

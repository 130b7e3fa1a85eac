/* Who is calling, decided from the headers before any body is read. HTTP threads; never logs or keeps a key.
 */
#pragma once
#include "server/http/request.h"

/* Fills r->caller. Errors: "unauthorized", "forbidden" (a role that may not, or a tenant that is not the
 * key's). */
int auth_check(struct request *r, struct MHD_Connection *connection, struct err *e);

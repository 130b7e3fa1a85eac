/* What is decided about a request before its body is read: framing, route, key, query, media type, size, and
 * whether there is room. HTTP threads. */
#pragma once
#include "server/http/request.h"

/* 0: go on and read the body. -1: answer with the error. Sets r->reply.close where the connection cannot be
 * used any more, and r->reply.allow. */
MUST_USE int admission_check(struct request *r, struct MHD_Connection *connection, const char *version,
                             struct err *e);
/* More of the body came in: is it still within the limits? */
MUST_USE int admission_body(struct request *r, size_t length, struct err *e);
/* No more than so many bytes of what came of it are in memory still. */
void admission_body_shrinks(struct request *r, uint64_t left);
/* Nothing of it is. */
void admission_body_gone(struct request *r);

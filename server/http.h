/* The HTTP side: libmicrohttpd, its callbacks, and the way of a request from its first byte to its answer.
 * The only file with admission.c, auth.c and framing.c that touches a connection. Started and stopped by
 * main. */
#pragma once
#include "server/http/server.h"

struct http;

/* Serves the listening socket `fd` (taken over, also on failure). */
MUST_USE int http_start(struct http **out, struct server *s, int fd, struct err *e);
/* Take no new connections; requests on those that are open get 503 "shutting_down". Running ones go on. */
void http_quiesce(struct http *h);
/* After http_quiesce: cancel what runs, wait for the threads that still work for a request, close
 * everything. */
void http_stop(struct http *h);

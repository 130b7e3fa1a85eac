/* The listening socket and the address it got. Used by main before and after the model is loaded. */
#pragma once
#include <stddef.h>

#include "core/base/err.h"

enum { LISTEN_URL_BYTES = 96 };

/* A bound socket that does not listen yet, so that a wrong or taken address is known before the model is
 * loaded. `loopback_only`: refuse every other address. Errors: "address_unusable". */
MUST_USE int listen_bind(const char *host, const char *port, int loopback_only, int *fd, struct err *e);
/* Begin to accept, and say where: "http://127.0.0.1:43210". */
MUST_USE int listen_start(int fd, char url[LISTEN_URL_BYTES], struct err *e);

/* The same numbers by the names of vLLM, which its dashboards and the endpoint pickers of the Gateway API
 * inference extension read; behind an option, since the names of adapters that are in use are among them.
 * Looks, and counts nothing. Any thread; waits for no run. */
#pragma once
#include "core/base/buf.h"
#include "server/http/server.h"

/* Append them. -1: memory ran out. */
int metrics_vllm_print(struct server *s, struct buf *out);

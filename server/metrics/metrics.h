/* How the daemon is, in numbers, for GET /metrics: the text format of Prometheus, version 0.0.4. Owns nothing
 * and counts nothing: it looks at what engine, cache, registry and counters.h have in memory. Any thread;
 * waits for no disk and no run. */
#pragma once
#include "core/base/buf.h"
#include "server/http/server.h"

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Append all metrics. -1: memory ran out. */
int metrics_print(struct server *s, struct buf *out);

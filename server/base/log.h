/* Log lines on standard error, text or JSON. Any thread; a line is written whole. Never keys, never prompts.
 *
 * Who logs never waits: lines go into memory, LOG_BUFFER_BYTES of it, and a thread writes them. Where
 * standard error takes none for so long that they fill it, lines are dropped and counted, and the log says
 * how many as soon as it is read again. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"

enum { LOG_BUFFER_BYTES = 256 << 10, LOG_FLUSH_MS = 1000 };

/* Lines before log_open are written at once. */
MUST_USE int log_open(struct err *e);
/* Waits until what is there was written, LOG_FLUSH_MS at most. */
void log_flush(void);
void log_set_json(bool json);
/* `level` is "info", "warning" or "error". */
void log_message(const char *level, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* As it is, with a line feed behind it. */
void log_text(const char *format, ...) __attribute__((format(printf, 1, 2)));

struct log_request {
    const char *id, *method, *path, *tenant, *trace; /* tenant, trace "": none */
    int status;                                      /* 0: the client left before there was an answer */
    double ms;
};
void log_request(const struct log_request *l);

/* Lines that were dropped since the start. */
uint64_t log_dropped(void);

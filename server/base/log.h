/* Log lines on standard error, text or JSON. Any thread; a line is written whole. Never keys, never prompts.
 */
#pragma once
#include <stdbool.h>

void log_set_json(bool json);
/* `level` is "info", "warning" or "error". */
void log_message(const char *level, const char *format, ...) __attribute__((format(printf, 2, 3)));

struct log_request {
    const char *id, *method, *path, *tenant; /* tenant "": none */
    int status;                              /* 0: the client left before there was an answer */
    double ms;
};
void log_request(const struct log_request *l);

/* A progress bar on standard error; nothing at all when that is no terminal. The caller's storage; one
 * thread. */
#pragma once
#include <stdint.h>

struct progress {
    int shown; /* standard error is a terminal */
    double began_ms, drawn_ms;
};

void progress_begin(struct progress *p);
/* Called often with what is sent so far; draws ten times a second. `arg` is the struct progress. */
void progress_show(void *arg, uint64_t sent, uint64_t total);
/* Take the bar away. */
void progress_end(struct progress *p);

/* What the scripts of a history are made of. The same thread as the history's. */
#pragma once
#include "core/base/err.h"
#include "tests/fault/power/history.h"

char *life_data(const struct history *h); /* the caller's */
int life_open(struct history *h, struct err *e);
int life_close(struct history *h, struct err *e);
/* One change, which must succeed: recorded as begun and done, with what is held afterwards. */
void life_change(struct history *h, int (*change)(struct history *h, struct err *e));
/* The same, but the process dies at its operation number `after`, and is started again. Afterwards the change
 * happened or not. False: it was over before. */
bool life_kill(struct history *h, int (*change)(struct history *h, struct err *e), int after);
/* A tenant's files and jobs, appended to what is told of it. */
int training_describe(struct registry *r, const char *directory, uint32_t tenant, struct buf *out,
                      struct err *e);

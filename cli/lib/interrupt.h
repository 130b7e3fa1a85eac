/* Ctrl-C and its kin for commands that have something to put away before they end: a flag instead of the end.
 * For the whole process, one thread; commands that do not ask for it end at once, as programs do. */
#pragma once
#include "core/base/err.h"

/* From now on SIGINT, SIGTERM and SIGHUP are remembered, where they are not ignored. */
void interrupt_catch(void);
/* -1 and "interrupted" once one came. */
MUST_USE int interrupt_check(struct err *e);
/* The end that it would have been; returns where none came. */
void interrupt_pass_on(void);

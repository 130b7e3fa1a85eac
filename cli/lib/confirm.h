/* A question before what cannot be undone. One thread. */
#pragma once
#include <stdbool.h>

#include "core/base/err.h"

/* Would a question be seen and answered? Both standard input and standard error are a terminal. */
bool confirm_possible(void);
/* Asks on standard error and reads a line: 0 after "y" or "yes", else -1 and the code "not_confirmed". The
 * text passes through print_text. */
MUST_USE int confirm(const char *question, struct err *e);

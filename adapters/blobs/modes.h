/* Who may read what is stored: below the data directory, its owner alone. */
#pragma once
#include "core/base/err.h"

/* Take from everything below the directory what others may do, as older programs, or another umask, left it.
 * Follows no links; what belongs to somebody else stays as it is. Before anybody else works there. */
MUST_USE int modes_tighten(const char *directory, struct err *e);

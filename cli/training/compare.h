/* Two texts side by side, for people. One thread. */
#pragma once
#include <jansson.h>
#include <stdio.h>

#include "core/base/err.h"

/* Each of {"prompt", "expected", "base", "adapter"}: what the base and what the new adapter `name` answers.
 */
void compare_print(FILE *out, const json_t *samples, const char *name, int width);

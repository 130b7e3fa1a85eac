/* Names of tenants and adapters. */
#pragma once
#include <stdbool.h>

enum { NAME_MAX_BYTES = 64 };

/* [a-z0-9][a-z0-9._-]{0,63}; false for anything else. */
bool name_valid(const char *name);

/* Names of tenants and adapters. */
#pragma once
#include <stdbool.h>

#include "core/base/err.h"

enum { NAME_MAX_BYTES = 64 };

/* [a-z0-9][a-z0-9._-]{0,63}; false for anything else. */
bool name_valid(const char *name);
/* Says so: "invalid_name" about `what` ("the name of an adapter") in the field `param`. -1 */
int name_refuse(const char *what, const char *param, struct err *e);

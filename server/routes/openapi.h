/* The description of the HTTP interface, compiled in from server/routes/openapi.json by openapi.awk.
 * Read-only. */
#pragma once
#include <stddef.h>

extern const char openapi_json[];
extern const size_t openapi_json_length;

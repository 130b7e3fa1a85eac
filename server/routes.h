/* The table of all routes; static data. main hands it to the server, which asks it alone. */
#pragma once
#include "server/http/route.h"

const struct route *routes_all(size_t *count);

/* How it goes, as the caller may see it: an admin the whole daemon, a tenant what is its own. Any thread;
 * waits for no disk and no run. */
#pragma once
#include <jansson.h>

struct request;

json_t *status_json(struct request *r); /* a new reference; NULL: memory ran out */

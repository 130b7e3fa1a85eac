/* The form of POST /v1/files, as OpenAI's clients send it: a file that goes to disk as it comes, and is
 * checked line by line on the way. */
#pragma once
#include "server/http/request.h"

extern const struct route_body file_form;
/* The route's handler, on a job thread: the body is complete. */
void file_form_accept(struct request *r);

/* The form of POST /adapters: its two files go to disk as they come. */
#pragma once
#include "server/http/request.h"

extern const struct route_body upload_form;
/* The route's handler, on a job thread: the body is complete. */
void upload_form_accept(struct request *r);

/* The handlers of the routes of training; the table in server/routes.c names them. Each gets a request with
 * its body complete, its caller known and its role checked. */
#pragma once
struct request;

/* file_form.c has the upload; route_training_files.c the rest. */
void route_training_files_list(struct request *r);
void route_training_files_show(struct request *r);
void route_training_files_delete(struct request *r);
void route_training_files_content(struct request *r);

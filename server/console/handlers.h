/* The handlers of the console's routes; the table in server/routes.c names them. Each gets a request whose
 * caller is known and whose role is checked. */
#pragma once
struct request;

void route_console_page(struct request *r);
void route_console_file(struct request *r);
void route_console_status(struct request *r);
void route_console_history(struct request *r);
void route_console_preview(struct request *r);

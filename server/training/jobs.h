/* The handlers of the routes of training jobs, on job threads; the table in server/routes.c names them. */
#pragma once
#include <stdint.h>

struct request;
struct server;

void route_jobs_create(struct request *r);
void route_jobs_list(struct request *r);
void route_jobs_show(struct request *r);
void route_jobs_events(struct request *r);
void route_jobs_checkpoints(struct request *r);
void route_jobs_cancel(struct request *r);
void route_jobs_pause(struct request *r);
void route_jobs_resume(struct request *r);
void route_jobs_estimate(struct request *r);

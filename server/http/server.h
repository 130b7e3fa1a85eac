/* Everything the daemon consists of. Made by main, borrowed by every request; the members do their own
 * locking. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "adapters/serving/settings.h"
#include "adapters/serving/version_load.h"
#include "adapters/registry/registry.h"
#include "core/engine/engine.h"
#include "core/model/model.h"
#include "core/template/chat.h"
#include "core/tokenizer/tokenizer.h"
#include "server/base/config.h"
#include "server/base/counters.h"
#include "core/system/jobs.h"
#include "server/accounting/upload_slots.h"

enum { BODY_MEMORY_MAX = 256 << 20, BODY_MEMORY_TENANT_MAX = 64 << 20 };

struct activity;
struct connections;
struct gate;
struct grammars;
struct job_streams;
struct route;
struct runner;
struct turns;
struct ratelimit;
struct pulse;
struct status_streams;
struct usage;

struct server {
    struct config config;
    struct model *model;
    const struct model_info *info;
    struct tokenizer *tokenizer; /* NULL for a numeric model */
    struct chat *chat;           /* NULL for a numeric model */
    struct grammars *grammars;   /* NULL for a numeric model */
    struct pooling pooling;
    char model_name[128];
    int64_t model_created_s; /* since 1970: when its config.json was written */
    struct registry *registry;
    struct version_loader loader; /* where the cache has them from */
    struct cache *cache;
    struct settings_base settings_base; /* what adapters' own settings are read on */
    struct settings_cache *settings;
    struct engine *engine;
    struct gate *gate; /* between the engine and training; NULL: nobody trains */
    struct engine_options engine_options;
    struct turns *turns;             /* parsing, templates, tokens: what takes time and no disk */
    struct jobs *disk_jobs;          /* the registry's writers, uploads */
    struct runner *runner;           /* of training jobs; NULL: nobody trains */
    struct job_streams *job_streams; /* who follows them */
    struct connections *connections;
    struct ratelimit *ratelimit;           /* what each tenant has under way */
    struct usage *usage;                   /* and what it used */
    struct activity *activity;             /* and what of it people see who look now */
    struct pulse *pulse;                   /* how the daemon is doing, second by second */
    struct status_streams *status_streams; /* who looks at that */
    const struct route *routes;            /* [route_count], static */
    size_t route_count;
    struct counters counters;
    int64_t started_ms; /* wall clock */
    atomic_bool draining;
    atomic_int active;           /* requests between their headers and the end of their answer */
    atomic_int connection_count; /* open */
    int connection_limit;
    atomic_int suspended; /* connections that wait for other threads */
    struct upload_slots uploads;
    atomic_uint_least64_t body_bytes; /* JSON bodies in memory, BODY_MEMORY_MAX at most */
    atomic_size_t combined_bytes;     /* deltas that requests combined, config.adapter_bytes at most */
};

/* Model, tokenizer and chat template of s->config. A failure leaves what server_close takes back, as
 * below. */
MUST_USE int server_open_model(struct server *s, struct err *e);
/* Fills the sizes that the configuration left open; after server_open_model. */
void server_size_memory(struct server *s);
/* Registry, engine, cache, threads: everything but the HTTP side. */
MUST_USE int server_open(struct server *s, struct err *e);
/* From the file, now and whenever it has changed; after an error those before stay in force. */
MUST_USE int server_read_admin_keys(struct server *s, struct err *e);
void server_close(struct server *s);

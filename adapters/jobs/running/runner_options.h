/* What a runner works with and counts. Types only. */
#pragma once
#include "adapters/serving/cache.h"
#include "core/engine/engine.h"
#include "core/system/gate.h"
#include "core/template/chat.h"

/* Requests that read files, all of them together: each has a thread of the caller's for as long. */
enum { RUNNER_READING_MAX = 4 };

struct runner_options {
    struct registry *registry;
    struct cache *cache;
    struct engine *engine;
    const struct model *model;
    const struct tokenizer *tokenizer; /* NULL for a numeric model, as is */
    const struct chat *chat;
    struct gate *gate;
    const char *directory; /* DATA/training, made when missing; copied */
    const char *base;      /* fingerprint of the base; copied */
    size_t memory;         /* bytes for all that trains */
    uint64_t turn_us;      /* a job runs so long before it makes room for a tenant that has none running */
    int threads;           /* of the pool; 0: as many as the process may use */
    void (*log)(void *arg, const char *level, const char *line);
    /* Something about the job with this number has changed: its row, or its events. On whatever thread
     * changed it, without a lock. */
    void (*changed)(void *arg, int64_t job);
    void *arg;
};

struct runner_stats {
    size_t waiting, running; /* jobs */
    uint64_t passes, steps, tokens, checkpoints, succeeded, failed;
    uint64_t busy_us;     /* in passes */
    size_t bytes, memory; /* taken now; at most */
};

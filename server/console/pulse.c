#include "server/console/pulse.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/system/clock.h"
#include "server/accounting/activity.h"
#include "server/base/process.h"
#include "server/http/server.h"

enum {
    SECONDS = PULSE_WINDOW_S + 1,
    BUCKETS = HISTOGRAM_BOUNDS_MAX + 1,
    HOUR_POINTS = 360,
    DAY_POINTS = 288
};

/* What only grows, as of one moment. */
struct counts {
    uint64_t us, decode, prefill, requests, errors;
    uint64_t first[BUCKETS], next[BUCKETS];
};

enum column {
    DECODE,
    PREFILL,
    REQUESTS,
    ERRORS,
    RUNNING,
    WAITING,
    FIRST_P50,
    FIRST_P99,
    NEXT_P50,
    NEXT_P99,
    RESIDENT,
    COLUMNS
};
static const char *const column_names[COLUMNS] = {"decode_tokens_per_s",
                                                  "prefill_tokens_per_s",
                                                  "requests_per_s",
                                                  "errors_per_s",
                                                  "running",
                                                  "waiting",
                                                  "first_token_ms_p50",
                                                  "first_token_ms_p99",
                                                  "between_tokens_ms_p50",
                                                  "between_tokens_ms_p99",
                                                  "resident_bytes"};

struct ring {
    int every_s, size, count, at; /* `at`: the next to be written */
    int64_t end_ms;               /* of the newest; since 1970 */
    struct counts since;          /* where the point that is being made began */
    double running, waiting;      /* sums of its seconds */
    int seconds;
    float (*points)[COLUMNS];
};

struct pulse {
    struct server *server;
    void (*beaten)(struct server *s);
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stop;
    struct counts seconds[SECONDS]; /* a ring */
    int second, second_count;
    int turn; /* seconds since the activity's last slot began */
    struct pulse_now now;
    struct ring hour, day;
    float hour_points[HOUR_POINTS][COLUMNS], day_points[DAY_POINTS][COLUMNS];
};

/* ---- counting ---- */

static uint64_t read_counter(const atomic_uint_least64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void count(struct server *s, const struct engine_stats *engine, struct counts *out)
{
    const struct counters *c = &s->counters;
    *out = (struct counts){.us = clock_us(),
                           .decode = engine->tokens_decode,
                           .prefill = engine->tokens_prefill,
                           .requests = read_counter(&c->usage[USAGE_REQUESTS]),
                           .errors = read_counter(&c->usage[USAGE_ERRORS])};
    for (int i = 0; i < BUCKETS; i++) {
        out->first[i] = read_counter(&c->first_token_us.bucket[i]);
        out->next[i] = read_counter(&c->next_token_us.bucket[i]);
    }
}

static double rate(uint64_t from, uint64_t to, double seconds)
{
    return seconds > 0 ? (double)(to - from) / seconds : 0;
}

/* -1 where nothing was counted in between. */
static void quantiles(const uint64_t from[BUCKETS], const uint64_t to[BUCKETS], double *p50, double *p99,
                      uint64_t *all)
{
    uint64_t between[BUCKETS];
    *all = 0;
    for (int i = 0; i < BUCKETS; i++)
        *all += between[i] = to[i] - from[i];
    *p50 = *all ? histogram_quantile(between, &histogram_times, 0.5) / 1000 : -1;
    *p99 = *all ? histogram_quantile(between, &histogram_times, 0.99) / 1000 : -1;
}

static void rates(const struct counts *from, const struct counts *to, struct pulse_now *out)
{
    double seconds = (double)(to->us - from->us) / 1e6;
    out->decode = rate(from->decode, to->decode, seconds);
    out->prefill = rate(from->prefill, to->prefill, seconds);
    out->requests = rate(from->requests, to->requests, seconds);
    out->errors = rate(from->errors, to->errors, seconds);
}

static void latencies(const struct counts *from, const struct counts *to, struct pulse_now *out)
{
    quantiles(from->first, to->first, &out->first_p50, &out->first_p99, &out->first_count);
    quantiles(from->next, to->next, &out->next_p50, &out->next_p99, &out->next_count);
}

/* ---- the rings ---- */

static void ring_init(struct ring *r, int every_s, int size, float (*points)[COLUMNS])
{
    *r = (struct ring){.every_s = every_s, .size = size, .points = points};
}

static void ring_add(struct ring *r, const struct counts *to, uint64_t resident)
{
    struct pulse_now n;
    rates(&r->since, to, &n);
    latencies(&r->since, to, &n);
    const double values[COLUMNS] = {[DECODE] = n.decode,
                                    [PREFILL] = n.prefill,
                                    [REQUESTS] = n.requests,
                                    [ERRORS] = n.errors,
                                    [RUNNING] = r->running / r->seconds,
                                    [WAITING] = r->waiting / r->seconds,
                                    [FIRST_P50] = n.first_p50,
                                    [FIRST_P99] = n.first_p99,
                                    [NEXT_P50] = n.next_p50,
                                    [NEXT_P99] = n.next_p99,
                                    [RESIDENT] = (double)resident};
    for (int i = 0; i < COLUMNS; i++)
        r->points[r->at][i] = (float)values[i];
    r->at = (r->at + 1) % r->size;
    r->count += r->count < r->size;
    r->end_ms = clock_unix_ms();
}

static void ring_tick(struct ring *r, const struct counts *to, const struct engine_stats *engine,
                      uint64_t resident)
{
    if (r->since.us == 0)
        r->since = *to;
    r->running += engine->running;
    r->waiting += engine->waiting;
    if (++r->seconds < r->every_s)
        return;
    ring_add(r, to, resident);
    r->since = *to;
    r->running = r->waiting = r->seconds = 0;
}

static int print_number(float value, struct buf *out)
{
    return value < 0 ? buf_append_string(out, "null") : buf_printf(out, "%.4g", (double)value);
}

static int print_column(const struct ring *r, int column, struct buf *out)
{
    int failed = buf_printf(out, "\"%s\":[", column_names[column]);
    for (int i = 0; i < r->count && !failed; i++) {
        int at = (r->at - r->count + i + r->size) % r->size;
        failed = (i && buf_append_string(out, ",") != 0) || print_number(r->points[at][column], out) != 0;
    }
    return failed || buf_append_string(out, "]") != 0 ? -1 : 0;
}

static int print_ring(const struct ring *r, const char *name, struct buf *out)
{
    int failed = buf_printf(out, "\"%s\":{\"every_s\":%d,\"points\":%d,\"end\":%lld.%03d,\"columns\":{", name,
                            r->every_s, r->count, (long long)(r->end_ms / 1000), (int)(r->end_ms % 1000));
    for (int i = 0; i < COLUMNS && !failed; i++)
        failed = (i && buf_append_string(out, ",") != 0) || print_column(r, i, out) != 0;
    return failed || buf_append_string(out, "}}") != 0 ? -1 : 0;
}

int pulse_print(struct pulse *p, struct buf *out)
{
    pthread_mutex_lock(&p->lock);
    int failed = buf_append_string(out, "{") != 0 || print_ring(&p->hour, "hour", out) != 0 ||
                 buf_append_string(out, ",") != 0 || print_ring(&p->day, "day", out) != 0 ||
                 buf_append_string(out, "}\n") != 0;
    pthread_mutex_unlock(&p->lock);
    return failed ? -1 : 0;
}

/* ---- every second ---- */

static const struct counts *seconds_ago(const struct pulse *p, int seconds)
{
    if (seconds > p->second_count - 1)
        seconds = p->second_count - 1;
    return &p->seconds[(p->second - seconds + SECONDS) % SECONDS];
}

static void beat_locked(struct pulse *p)
{
    struct engine_stats engine;
    struct process process;
    engine_stats(p->server->engine, &engine);
    process_look(&process);
    p->second = (p->second + 1) % SECONDS;
    p->second_count += p->second_count < SECONDS;
    struct counts *to = &p->seconds[p->second];
    count(p->server, &engine, to);
    rates(seconds_ago(p, PULSE_RATE_S), to, &p->now);
    latencies(seconds_ago(p, PULSE_WINDOW_S), to, &p->now);
    p->now.resident_bytes = process.resident_bytes;
    ring_tick(&p->hour, to, &engine, process.resident_bytes);
    ring_tick(&p->day, to, &engine, process.resident_bytes);
}

static void beat(struct pulse *p)
{
    beat_locked(p);
    if (++p->turn == ACTIVITY_SLOT_MS / 1000) {
        activity_turn(p->server->activity);
        p->turn = 0;
    }
    pthread_mutex_unlock(&p->lock);
    p->beaten(p->server);
    pthread_mutex_lock(&p->lock);
}

static void *run(void *arg)
{
    struct pulse *p = arg;
    struct timespec due;
    clock_gettime(CLOCK_MONOTONIC, &due);
    pthread_mutex_lock(&p->lock);
    while (!p->stop) {
        beat(p);
        due.tv_sec++;
        while (!p->stop && pthread_cond_timedwait(&p->changed, &p->lock, &due) == 0)
            ;
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

int pulse_new(struct pulse **out, struct server *s, void (*beaten)(struct server *s), struct err *e)
{
    struct pulse *p = calloc(1, sizeof *p);
    pthread_condattr_t attributes;
    if (!p)
        return err_memory(e);
    p->server = s;
    p->beaten = beaten;
    ring_init(&p->hour, PULSE_HOUR_S, HOUR_POINTS, p->hour_points);
    ring_init(&p->day, PULSE_DAY_S, DAY_POINTS, p->day_points);
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&p->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    if (pthread_create(&p->thread, NULL, run, p) != 0) {
        pthread_cond_destroy(&p->changed);
        pthread_mutex_destroy(&p->lock);
        free(p);
        return err_set(e, "out_of_memory", "cannot start a thread");
    }
    *out = p;
    return 0;
}

void pulse_free(struct pulse *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_signal(&p->changed);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

void pulse_look(struct pulse *p, struct pulse_now *out)
{
    pthread_mutex_lock(&p->lock);
    *out = p->now;
    pthread_mutex_unlock(&p->lock);
}

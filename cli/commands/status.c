#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/lib/commands.h"
#include "core/system/clock.h"

/* `member`: what adapterd's answer has. */
static int fetch(struct context *c, const char *path, const char *member, struct answer *answer,
                 struct err *e)
{
    if (client_send(c->client, "GET", path, NULL, answer, e) != 0)
        return -1;
    if (json_is_string(json_object_get(answer->json, member)))
        return 0;
    answer_fini(answer);
    err_set(e, "not_adapterd", "%s%s did not answer as adapterd does", client_url(c->client), path);
    return err_hint(e, "is that address an adapterd?");
}

/* ---- how busy it is: of GET /metrics, which answers admins ---- */

enum { METRICS_BYTES_MAX = 1 << 20 };

/* Of the metrics, those without labels that status shows. */
enum { RUNNING, RUNNING_MAX, WAITING, WAITING_MAX, RESIDENT, BYTES, BUDGET, PINNED, METRICS };
static const char *const metric[METRICS] = {
    "adapterd_sequences_running",          "adapterd_sequences_running_max",  "adapterd_sequences_waiting",
    "adapterd_sequences_waiting_max",      "adapterd_adapter_cache_resident", "adapterd_adapter_cache_bytes",
    "adapterd_adapter_cache_budget_bytes", "adapterd_adapters_pinned"};

static int collect(void *text, const char *data, size_t length, struct err *e)
{
    struct buf *b = text;
    if (b->length + length > METRICS_BYTES_MAX)
        return err_set(e, "too_large", "the metrics have more than %d bytes", METRICS_BYTES_MAX);
    return buf_append(b, data, length) == 0 ? 0 : err_memory(e);
}

/* "NAME NUMBER" */
static void read_line(const char *line, json_t *out)
{
    size_t length = strcspn(line, " ");
    for (int i = 0; i < METRICS; i++)
        if (strlen(metric[i]) == length && strncmp(line, metric[i], length) == 0)
            json_object_set_new(out, metric[i], json_integer(strtoll(line + length, NULL, 10)));
}

/* {"adapterd_sequences_running": 3, ...}; NULL for keys that may not know it, and daemons that do not say
 * it. */
static json_t *fetch_metrics(struct context *c)
{
    struct err ignored;
    struct buf text = {0};
    json_t *out = json_object();
    int failed = client_fetch(c->client, "/metrics", collect, &text, &ignored) != 0 || !text.data;
    char *rest = NULL;
    for (char *line = failed ? NULL : strtok_r(text.data, "\n", &rest); line;
         line = strtok_r(NULL, "\n", &rest))
        read_line(line, out);
    buf_fini(&text);
    if (json_object_size(out) == METRICS)
        return out;
    json_decref(out);
    return NULL;
}

static long long number_of(const json_t *metrics, int which)
{
    return json_integer_value(json_object_get(metrics, metric[which]));
}

static void add_share(struct table *t, const char *title, const json_t *metrics, int which, int most)
{
    char text[64];
    snprintf(text, sizeof text, "%lld of %lld", number_of(metrics, which), number_of(metrics, most));
    table_add(t, title);
    table_add(t, text);
}

static void add_metrics(struct table *t, const json_t *metrics)
{
    char text[128], used[PRINT_BYTES_SIZE], budget[PRINT_BYTES_SIZE];
    add_share(t, "running", metrics, RUNNING, RUNNING_MAX);
    add_share(t, "waiting", metrics, WAITING, WAITING_MAX);
    print_bytes((double)number_of(metrics, BYTES), used);
    print_bytes((double)number_of(metrics, BUDGET), budget);
    snprintf(text, sizeof text, "%lld in memory, %s of %s", number_of(metrics, RESIDENT), used, budget);
    table_add(t, "adapters");
    table_add(t, text);
    snprintf(text, sizeof text, "%lld", number_of(metrics, PINNED));
    table_add(t, "pinned");
    table_add(t, text);
}

/* ---- what is printed; `metrics`: NULL, where they are not known ---- */

static int print_table(struct context *c, const json_t *version, int ready, const json_t *metrics,
                       struct err *e)
{
    static const char *const member[] = {"version",   "model",          "family",
                                         "precision", "context_length", "fingerprint"};
    struct table t;
    table_init(&t, "STATUS|");
    t.columns = 2;
    table_add(&t, ready ? "ready" : "not ready");
    table_add(&t, "url");
    table_add(&t, client_url(c->client));
    for (size_t i = 0; i < sizeof member / sizeof *member; i++) {
        table_add(&t, member[i]);
        table_add_member(&t, version, member[i]);
    }
    if (metrics)
        add_metrics(&t, metrics);
    return table_print(&t, e);
}

static int print_status(struct context *c, const struct answer *ready, const struct answer *version,
                        json_t *metrics, struct err *e)
{
    if (!c->json)
        return print_table(c, version->json, ready->status == 200, metrics, e);
    json_t *all = json_pack("{s:b, s:O, s:O, s:O*}", "ready", ready->status == 200, "readyz", ready->json,
                            "version", version->json, "metrics", metrics);
    int result = all ? print_json(all, e) : err_memory(e);
    json_decref(all);
    return result;
}

/* Is it there and ready? Anything else is waited for, until the time is up: then the command says what is the
 * matter. */
static bool is_ready(struct context *c)
{
    struct answer answer = {0};
    struct err ignored;
    bool ready = fetch(c, "/readyz", "status", &answer, &ignored) == 0 && answer.status == 200;
    answer_fini(&answer);
    return ready;
}

static void wait_ready(struct context *c, long long seconds)
{
    uint64_t end_us = clock_us() + 1000000 * (uint64_t)seconds;
    while (!is_ready(c) && clock_us() < end_us)
        nanosleep(&(struct timespec){.tv_nsec = 100 * 1000 * 1000}, NULL);
}

int status_show(struct context *c, const struct args *a, struct err *e)
{
    struct answer ready = {0}, version = {0};
    int wait, result = -1;
    long long seconds = 0;
    if (args_integer(a, "--wait", 1, 86400, &wait, &seconds, e) != 0)
        return -1;
    if (wait)
        wait_ready(c, seconds);
    if (fetch(c, "/readyz", "status", &ready, e) == 0 && fetch(c, "/version", "version", &version, e) == 0) {
        json_t *metrics = fetch_metrics(c);
        result = print_status(c, &ready, &version, metrics, e);
        json_decref(metrics);
    }
    if (result == 0 && ready.status != 200)
        result = err_set(e, "not_ready", "adapterd at %s is not ready", client_url(c->client));
    answer_fini(&ready);
    answer_fini(&version);
    return result;
}

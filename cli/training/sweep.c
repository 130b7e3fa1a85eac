/* adapterctl train --sweep: the table by rank and modules of the LoRA paper (Hu et al. 2021, table 6), of
 * one's own data. The jobs run side by side, so that they share their passes over the base. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/lib/interrupt.h"
#include "cli/lib/path.h"
#include "cli/training/exact.h"
#include "cli/training/follow.h"
#include "cli/training/train_request.h"
#include "cli/training/training.h"

enum { SWEEP_MAX = 64, CHOICES_MAX = 16, NAME_BYTES = 64, LOOK_SECONDS = 1, EVENTS_LOOKED_AT = 50 };

struct entry {
    const char *targets;
    long long rank;
    char name[NAME_BYTES + 1]; /* of its adapter */
    char job[NAME_BYTES + 1];  /* "": not started */
    json_t *over;              /* the job, once it is over; owned */
};

struct sweep {
    struct context *context;
    const struct args *args;
    const char *tenant, *valid_path;
    char *targets_text; /* owned, cut at its commas */
    const char *targets[CHOICES_MAX];
    long long ranks[CHOICES_MAX];
    size_t target_count, rank_count;
    struct entry entry[SWEEP_MAX];
    size_t count, started, over;
    double base_parameters, base_bytes; /* 0: not known */
};

static void sweep_fini(struct sweep *s)
{
    for (size_t i = 0; i < s->count; i++)
        json_decref(s->entry[i].over);
    free(s->targets_text);
}

/* ---- what is asked for ---- */

static int wrong(struct err *e)
{
    return err_set(e, "usage", "--sweep takes ranks=1,2,4 targets=q,qv,all: %d of each and %d jobs at most",
                   CHOICES_MAX, SWEEP_MAX);
}

static int read_ranks(struct sweep *s, const char *text, struct err *e)
{
    if (strncmp(text, "ranks=", 6) != 0)
        return wrong(e);
    for (text += 5; *text; s->rank_count++) {
        char *end;
        long long rank = strtoll(text + 1, &end, 10);
        if (s->rank_count == CHOICES_MAX || end == text + 1 || (*end && *end != ',') || rank < 1 ||
            rank > 1024)
            return wrong(e);
        s->ranks[s->rank_count] = rank;
        text = end;
    }
    return s->rank_count > 0 ? 0 : wrong(e);
}

static int read_targets(struct sweep *s, const char *text, struct err *e)
{
    char *rest = NULL;
    if (strncmp(text, "targets=", 8) != 0)
        return wrong(e);
    s->targets_text = strdup(text + 8);
    if (!s->targets_text)
        return err_memory(e);
    for (char *one = strtok_r(s->targets_text, ",", &rest); one; one = strtok_r(NULL, ",", &rest)) {
        if (s->target_count == CHOICES_MAX)
            return wrong(e);
        s->targets[s->target_count++] = one;
    }
    return s->target_count > 0 ? 0 : wrong(e);
}

/* Modules with "+" between would be no name. */
static int add_entry(struct sweep *s, const char *targets, long long rank, struct err *e)
{
    struct entry *n = &s->entry[s->count++];
    *n = (struct entry){.targets = targets, .rank = rank};
    int length = snprintf(n->name, sizeof n->name, "%s-%s-r%lld", args_get(s->args, "--name"), targets, rank);
    for (char *at = n->name; *at; at++)
        if (*at == '+')
            *at = '.';
    if (length >= (int)sizeof n->name || !path_name_valid(n->name))
        return err_set(e, "usage", "\"%s\" is no name for an adapter: choose a shorter --name", n->name);
    return 0;
}

static int read_sweep(struct sweep *s, struct err *e)
{
    const struct given *given = NULL;
    for (size_t i = 0; i < s->args->given_count; i++)
        if (strcmp(s->args->given[i].option->name, "--sweep") == 0)
            given = &s->args->given[i];
    if (!given || read_ranks(s, given->value[0], e) != 0 || read_targets(s, given->value[1], e) != 0)
        return -1;
    if (s->rank_count * s->target_count > SWEEP_MAX)
        return wrong(e);
    for (size_t t = 0; t < s->target_count; t++)
        for (size_t r = 0; r < s->rank_count; r++)
            if (add_entry(s, s->targets[t], s->ranks[r], e) != 0)
                return -1;
    return 0;
}

/* ---- running ---- */

static int start_one(struct sweep *s, struct entry *n, json_t *request, struct err *e)
{
    struct answer answer;
    if (train_request_lora(request, n->rank, n->targets, e) != 0 ||
        json_object_set_new(request, "suffix", json_string(n->name)) != 0)
        return -1;
    if (client_call_long(s->context->client, "POST", "/v1/fine_tuning/jobs", request, &answer, e) != 0)
        return -1;
    const char *id = json_string_value(json_object_get(answer.json, "id"));
    snprintf(n->job, sizeof n->job, "%s", id ? id : "");
    answer_fini(&answer);
    return n->job[0] ? 0 : err_set(e, "not_adapterd", "the new job has no id");
}

/* As many as the tenant's quota takes at a time; the others follow. */
static int start_more(struct sweep *s, json_t *request, struct err *e)
{
    while (s->started < s->count) {
        if (start_one(s, &s->entry[s->started], request, e) == 0)
            s->started++;
        else
            return strcmp(e->code, "quota_exceeded") == 0 && s->over < s->started ? 0 : -1;
    }
    return 0;
}

static bool is_over(const json_t *job)
{
    const char *status = json_string_value(json_object_get(job, "status"));
    return status && (strcmp(status, "succeeded") == 0 || strcmp(status, "failed") == 0 ||
                      strcmp(status, "cancelled") == 0);
}

static int look(struct sweep *s, double *share, struct err *e)
{
    *share = 0;
    for (size_t i = 0; i < s->started; i++) {
        struct entry *n = &s->entry[i];
        json_t *job = NULL;
        if (!n->over && follow_job(s->context, n->job, s->tenant, &job, e) != 0)
            return -1;
        double steps = json_number_value(json_object_get(job, "steps"));
        *share += n->over ? 1 : steps > 0 ? json_number_value(json_object_get(job, "step")) / steps : 0;
        if (job && is_over(job)) {
            n->over = job;
            s->over++;
        } else {
            json_decref(job);
        }
    }
    *share /= (double)s->count;
    return 0;
}

static int wait_all(struct sweep *s, json_t *request, struct err *e)
{
    bool shown = isatty(STDERR_FILENO);
    double share;
    int result = 0;
    while (result == 0 && s->over < s->count) {
        result =
            start_more(s, request, e) != 0 || look(s, &share, e) != 0 || interrupt_check(e) != 0 ? -1 : 0;
        if (result == 0 && shown)
            fprintf(stderr, "\r%3.0f%%  %zu of %zu jobs are done\x1b[K", 100 * share, s->over, s->count);
        if (result == 0 && s->over < s->count)
            sleep(LOOK_SECONDS);
    }
    if (shown)
        fputs("\r\x1b[K", stderr);
    return result;
}

/* ---- the table ---- */

/* Of the newest event that tells it; NULL: none does. A new reference. */
static json_t *last_metric(const json_t *events, const char *name)
{
    size_t i;
    const json_t *event;
    json_array_foreach(json_object_get(events, "data"), i, event)
    {
        json_t *value = json_object_get(json_object_get(event, "data"), name);
        if (json_is_number(value))
            return json_incref(value);
    }
    return NULL;
}

static int get(struct sweep *s, const char *first, const char *id, const char *more, long limit, json_t **out,
               struct err *e)
{
    struct buf path = {0};
    struct answer answer;
    char number[24];
    snprintf(number, sizeof number, "%ld", limit);
    int result = buf_append_string(&path, first) != 0 || (id && path_segment(&path, id) != 0) ||
                         buf_append_string(&path, more) != 0 ||
                         (limit && path_query(&path, "limit", number) != 0) ||
                         (s->tenant && id && path_query(&path, "tenant", s->tenant) != 0)
                     ? err_memory(e)
                     : client_call(s->context->client, "GET", path.data, NULL, &answer, e);
    buf_fini(&path);
    if (result != 0)
        return -1;
    *out = json_incref(answer.json);
    answer_fini(&answer);
    return 0;
}

/* The version that the job made. Borrowed. */
static const json_t *find_version(const json_t *adapter, const json_t *job)
{
    size_t i;
    const json_t *v;
    json_array_foreach(
        json_object_get(adapter, "versions"), i,
        v) if (json_equal(json_object_get(v, "version"), json_object_get(job, "version"))) return v;
    return NULL;
}

static void set_share(json_t *row, const char *name, double part, double whole)
{
    if (whole > 0)
        json_object_set_new(row, name, json_real(100 * part / whole));
}

static int add_sizes(struct sweep *s, const struct entry *n, json_t *row, struct err *e)
{
    json_t *adapter = NULL;
    if (get(s, "/adapters", n->name, "", 0, &adapter, e) != 0)
        return -1;
    const json_t *v = find_version(adapter, n->over);
    json_t *parameters = json_object_get(v, "parameters"), *bytes = json_object_get(v, "bytes");
    if (json_is_integer(parameters) && json_is_integer(bytes)) {
        json_object_set(row, "parameters", parameters);
        json_object_set(row, "bytes", bytes);
        set_share(row, "parameters_percent", json_number_value(parameters), s->base_parameters);
        set_share(row, "bytes_percent", json_number_value(bytes), s->base_bytes);
    }
    json_decref(adapter);
    return 0;
}

static int add_losses(struct sweep *s, const struct entry *n, json_t *row, struct err *e)
{
    json_t *events = NULL;
    if (get(s, "/v1/fine_tuning/jobs", n->job, "/events", EVENTS_LOOKED_AT, &events, e) != 0)
        return -1;
    for (const char *const *name = (const char *const[]){"train_loss", "valid_loss", NULL}; *name; name++) {
        json_t *value = last_metric(events, *name);
        if (value)
            json_object_set_new(row, *name, value);
    }
    json_decref(events);
    return 0;
}

static int add_exact(struct sweep *s, const struct entry *n, json_t *row, struct err *e)
{
    int right = 0, all = 0;
    if (s->valid_path && exact_count(s->context, s->tenant, n->name, s->valid_path, &right, &all, e) != 0)
        return -1;
    if (all > 0) {
        json_object_set_new(row, "exact", json_integer(right));
        json_object_set_new(row, "asked", json_integer(all));
    }
    return 0;
}

/* What is known of one; a job that did not end well has its error instead. */
static int fill_row(struct sweep *s, const struct entry *n, json_t *row, struct err *e)
{
    double seconds = json_number_value(json_object_get(n->over, "finished_at")) -
                     json_number_value(json_object_get(n->over, "started_at"));
    json_object_set_new(row, "seconds", json_integer((json_int_t)seconds));
    if (json_is_string(json_object_get(n->over, "version")))
        return add_sizes(s, n, row, e) != 0 || add_losses(s, n, row, e) != 0 || add_exact(s, n, row, e) != 0
                   ? -1
                   : 0;
    json_t *error = json_object_get(n->over, "error");
    return json_object_set(row, "error",
                           json_is_object(error) ? error : json_object_get(n->over, "status")) == 0
               ? 0
               : err_memory(e);
}

static int make_rows(struct sweep *s, json_t *rows, struct err *e)
{
    for (size_t i = 0; i < s->count; i++) {
        const struct entry *n = &s->entry[i];
        json_t *row = json_pack("{s:s, s:I, s:s, s:s}", "targets", n->targets, "rank", (json_int_t)n->rank,
                                "adapter", n->name, "job", n->job);
        if (!row || json_array_append_new(rows, row) != 0)
            return err_memory(e);
        if (fill_row(s, n, row, e) != 0)
            return -1;
    }
    return 0;
}

static void add_decimals(struct table *t, const json_t *row, const char *name, int decimals)
{
    char text[32] = "";
    const json_t *value = json_object_get(row, name);
    if (json_is_number(value))
        snprintf(text, sizeof text, "%.*f", decimals, json_number_value(value));
    table_add(t, text);
}

static void add_answers(struct table *t, const json_t *row)
{
    char text[48];
    long long right = json_integer_value(json_object_get(row, "exact")),
              all = json_integer_value(json_object_get(row, "asked"));
    snprintf(text, sizeof text, "%lld/%lld", right, all);
    table_add(t, all > 0 ? text : NULL);
}

static int print_rows(const json_t *rows, struct err *e)
{
    struct table t;
    size_t i;
    const json_t *row;
    table_init(
        &t,
        "TARGETS|>RANK|>PARAMETERS|>% OF BASE|>BYTES|>% OF ITS|>LOSS|>VALID LOSS|>EXACT|>SECONDS|ADAPTER");
    json_array_foreach(rows, i, row)
    {
        const json_t *error = json_object_get(row, "error");
        table_add_member(&t, row, "targets");
        table_add_member(&t, row, "rank");
        table_add_member(&t, row, "parameters");
        add_decimals(&t, row, "parameters_percent", 3);
        table_add_bytes(&t, row, "bytes");
        add_decimals(&t, row, "bytes_percent", 3);
        add_decimals(&t, row, "train_loss", 4);
        add_decimals(&t, row, "valid_loss", 4);
        add_answers(&t, row);
        table_add_member(&t, row, "seconds");
        table_add(&t, json_string_value(json_object_get(json_is_object(error) ? error : row,
                                                        json_is_object(error) ? "message" : "adapter")));
    }
    return table_print(&t, e);
}

static int read_base(struct sweep *s, struct err *e)
{
    json_t *about = NULL;
    if (get(s, "/version", NULL, "", 0, &about, e) != 0)
        return -1;
    s->base_parameters = json_number_value(json_object_get(about, "parameters"));
    s->base_bytes = json_number_value(json_object_get(about, "weight_bytes"));
    json_decref(about);
    return 0;
}

int sweep_check(const struct args *a, struct err *e)
{
    struct sweep s = {.args = a};
    int result = args_get(a, "--sweep") ? read_sweep(&s, e) : 0;
    sweep_fini(&s);
    return result;
}

static int run(struct sweep *s, json_t *request, struct err *e)
{
    if (read_sweep(s, e) != 0 || read_base(s, e) != 0)
        return -1;
    interrupt_catch();
    if (wait_all(s, request, e) != 0)
        return s->started ? err_hint(e, "jobs that were started go on: adapterctl jobs list") : -1;
    json_t *rows = json_array();
    int result = rows ? make_rows(s, rows, e) : err_memory(e);
    if (result == 0)
        result = s->context->json ? print_json(rows, e) : print_rows(rows, e);
    json_decref(rows);
    return result;
}

int sweep_run(struct context *c, const struct args *a, json_t *request, const char *valid_path, struct err *e)
{
    struct sweep s = {.context = c, .args = a, .tenant = args_get(a, "--tenant"), .valid_path = valid_path};
    int result = run(&s, request, e);
    sweep_fini(&s);
    return result;
}

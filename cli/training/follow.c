#include "cli/training/follow.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/lib/interrupt.h"
#include "cli/lib/path.h"
#include "cli/lib/sse.h"
#include "core/system/clock.h"

enum { BAR_WIDTH = 24, RETRIES = 30, RETRY_SECONDS = 1 };

struct stream {
    struct follow *follow;
    struct sse sse;
    char last[96]; /* id of the last event */
    bool shown;    /* standard error is a terminal */
    bool drawn, done;
};

static int job_path(struct buf *path, const char *id, const char *more, const char *tenant, struct err *e)
{
    if (buf_append_string(path, "/v1/fine_tuning/jobs") != 0 || path_segment(path, id) != 0 ||
        buf_append_string(path, more) != 0 || (tenant && path_query(path, "tenant", tenant) != 0))
        return err_memory(e);
    return 0;
}

int follow_job(struct context *c, const char *id, const char *tenant, json_t **job, struct err *e)
{
    struct buf path = {0};
    struct answer answer;
    int result = job_path(&path, id, "", tenant, e);
    if (result == 0)
        result = client_call(c->client, "GET", path.data, NULL, &answer, e);
    buf_fini(&path);
    if (result != 0)
        return -1;
    *job = json_incref(answer.json);
    answer_fini(&answer);
    return 0;
}

/* ---- the bar ---- */

static double number(const json_t *o, const char *name)
{
    return json_number_value(json_object_get(o, name));
}

static void print_left(double seconds)
{
    long left = seconds > 0 ? (long)seconds : 0;
    if (left >= 3600)
        fprintf(stderr, "%ld:%02ld:%02ld left", left / 3600, left / 60 % 60, left % 60);
    else
        fprintf(stderr, "%ld:%02ld left", left / 60, left % 60);
}

static void draw(struct stream *s, const json_t *data)
{
    double step = number(data, "step"), steps = number(data, "total_steps");
    char bar[BAR_WIDTH + 1];
    if (!s->shown || steps <= 0)
        return;
    int filled = (int)(step / steps * BAR_WIDTH);
    for (int i = 0; i < BAR_WIDTH; i++)
        bar[i] = i < filled ? '#' : '.';
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "\r[%s] %3.0f%%  step %.0f/%.0f  loss %.4f  %.0f tokens/s  ", bar, 100 * step / steps,
            step, steps, number(data, "train_loss"), number(data, "tokens_per_second"));
    if (json_is_integer(json_object_get(data, "estimated_finish")))
        print_left(number(data, "estimated_finish") - (double)time(NULL));
    fputs("\x1b[K", stderr);
    fflush(stderr);
    s->drawn = true;
}

static void clear_bar(struct stream *s)
{
    if (s->drawn)
        fputs("\r\x1b[K", stderr);
    s->drawn = false;
}

/* What a job says in words: to a person while it runs, warnings and errors to everybody. */
static void tell(struct stream *s, const json_t *event)
{
    const json_t *message = json_object_get(event, "message");
    const char *level = json_string_value(json_object_get(event, "level"));
    bool serious = level && strcmp(level, "info") != 0;
    if (!json_is_string(message) || (!s->shown && !serious))
        return;
    clear_bar(s);
    print_text(stderr, json_string_value(message), json_string_length(message), 0);
    fputc('\n', stderr);
}

/* ---- events ---- */

static int take_metrics(struct stream *s, const json_t *data, struct err *e)
{
    struct follow *f = s->follow;
    int64_t step = (int64_t)json_integer_value(json_object_get(data, "step"));
    const json_t *training = json_object_get(data, "train_loss"),
                 *valid = json_object_get(data, "valid_loss");
    if (json_is_number(training)) {
        draw(s, data);
        if (curve_add(&f->training, step, json_number_value(training), e) != 0)
            return -1;
    }
    if (!json_is_number(valid))
        return 0;
    f->accuracy = number(data, "valid_mean_token_accuracy");
    return curve_add(&f->validation, step, json_number_value(valid), e);
}

static int take_event(struct stream *s, const json_t *event, struct err *e)
{
    const char *id = json_string_value(json_object_get(event, "id"));
    const char *type = json_string_value(json_object_get(event, "type"));
    json_t *data = json_object_get(event, "data"), *samples = json_object_get(data, "samples");
    if (id)
        snprintf(s->last, sizeof s->last, "%s", id);
    if (json_is_array(samples)) {
        json_decref(s->follow->samples);
        s->follow->samples = json_incref(samples);
    }
    if (type && strcmp(type, "metrics") == 0)
        return take_metrics(s, data, e);
    tell(s, event);
    return 0;
}

static int on_event(void *arg, const char *name, const char *text, size_t length, struct err *e)
{
    struct stream *s = arg;
    (void)name;
    if (length == 6 && memcmp(text, "[DONE]", 6) == 0) {
        s->done = true;
        return 0;
    }
    json_t *event = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    int result = json_is_object(event)
                     ? take_event(s, event, e)
                     : err_set(e, "not_json", "an event of the stream is not a JSON object");
    json_decref(event);
    return result;
}

static int on_data(void *arg, const char *data, size_t length, struct err *e)
{
    struct stream *s = arg;
    return sse_feed(&s->sse, data, length, on_event, s, e);
}

static int read_stream(struct stream *s, struct err *e)
{
    struct follow *f = s->follow;
    struct buf path = {0};
    int result = job_path(&path, f->job, "/events", f->tenant, e);
    if (result == 0 && (path_query(&path, "stream", "true") != 0 ||
                        (s->last[0] && path_query(&path, "after", s->last) != 0)))
        result = err_memory(e);
    if (result == 0)
        result = client_fetch(f->context->client, path.data, on_data, s, e);
    buf_fini(&path);
    sse_fini(&s->sse);
    return result;
}

/* A daemon that is started again goes on with the job; so does who watches it. */
static bool may_come_back(const struct err *e)
{
    return strcmp(e->code, "unreachable") == 0 || strcmp(e->code, "transport") == 0 ||
           strcmp(e->code, "shutting_down") == 0;
}

static int read_all(struct stream *s, struct err *e)
{
    for (int tries = 0; !s->done; tries++) {
        char before[sizeof s->last];
        strcpy(before, s->last);
        int result = read_stream(s, e);
        if (interrupt_check(e) != 0)
            return err_hint(e, "the job goes on: adapterctl jobs show %.64s", s->follow->job);
        if (result != 0 && (!may_come_back(e) || tries == RETRIES))
            return -1;
        if (strcmp(before, s->last) != 0)
            tries = 0;
        if (!s->done && tries == RETRIES)
            return err_set(e, "stream_broken", "the stream of events ends again and again before its end");
        if (!s->done)
            sleep(RETRY_SECONDS);
    }
    return 0;
}

int follow_run(struct follow *f, json_t **job, struct err *e)
{
    struct stream s = {.follow = f, .shown = isatty(STDERR_FILENO)};
    f->accuracy = -1;
    f->began_ms = clock_ms();
    interrupt_catch();
    int result = read_all(&s, e);
    clear_bar(&s);
    return result == 0 ? follow_job(f->context, f->job, f->tenant, job, e) : -1;
}

void follow_fini(struct follow *f)
{
    curve_fini(&f->training);
    curve_fini(&f->validation);
    json_decref(f->samples);
}

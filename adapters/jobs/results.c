#include "adapters/jobs/results.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "adapters/files/files.h"

enum { PAGE = 256 };

/* One line of the table: a step, and the evaluation behind it. */
struct table {
    struct files_upload *out;
    int64_t step; /* of the line in hand; -1: none */
    char train[64], valid[64];
};

static int put(struct table *t, const char *text, struct err *e)
{
    return files_upload_write(t->out, text, strlen(text), e);
}

static int end_line(struct table *t, struct err *e)
{
    char line[192];
    if (t->step < 0)
        return 0;
    snprintf(line, sizeof line, "%lld,%s,%s\n", (long long)t->step, t->train[0] ? t->train : ",",
             t->valid[0] ? t->valid : ",");
    t->step = -1;
    t->train[0] = t->valid[0] = '\0';
    return put(t, line, e);
}

static void print_pair(char out[64], const json_t *data, const char *first, const char *second)
{
    snprintf(out, 64, "%.9g,%.9g", json_number_value(json_object_get(data, first)),
             json_number_value(json_object_get(data, second)));
}

static int add_event(struct table *t, const struct job_event *v, struct err *e)
{
    json_t *data = v->data.length ? json_loads(v->data.data, 0, NULL) : NULL;
    const json_t *step = json_object_get(data, "step");
    int result = 0;
    if (json_is_integer(step) && strcmp(v->type, "metrics") == 0) {
        if (json_integer_value(step) != t->step)
            result = end_line(t, e);
        t->step = json_integer_value(step);
        if (json_object_get(data, "valid_loss"))
            print_pair(t->valid, data, "valid_loss", "valid_mean_token_accuracy");
        else
            print_pair(t->train, data, "train_loss", "train_accuracy");
    }
    json_decref(data);
    return result;
}

static int add_page(struct registry *r, const struct job_row *j, struct table *t, int64_t *place, bool *more,
                    struct err *e)
{
    struct job_event events[PAGE];
    size_t count = 0;
    if (job_rows_events(r, j, *place, false, PAGE, events, &count, more, e) != 0)
        return -1;
    int result = 0;
    for (size_t i = 0; i < count; i++) {
        *place = events[i].place;
        if (result == 0)
            result = add_event(t, &events[i], e);
        job_event_fini(&events[i]);
    }
    return result;
}

static int write_all(struct registry *r, const struct job_row *j, struct table *t, struct err *e)
{
    int64_t place = 0;
    bool more = true;
    if (put(t, "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n", e) != 0)
        return -1;
    while (more)
        if (add_page(r, j, t, &place, &more, e) != 0)
            return -1;
    return end_line(t, e);
}

int results_write(struct registry *r, const struct job_row *j, char id[FILE_ID_BYTES], struct err *e)
{
    char name[JOB_ID_BYTES + 16];
    struct table t = {.step = -1};
    struct file_row row;
    snprintf(name, sizeof name, "%s.csv", j->id);
    const struct files_new new = {
        .tenant = j->tenant, .name = name, .purpose = FILE_PURPOSE_RESULTS, .replaces = true};
    if (files_upload_new(&t.out, r, false, e) != 0)
        return -1;
    if (write_all(r, j, &t, e) != 0) {
        files_upload_free(t.out);
        return -1;
    }
    if (files_upload_accept(t.out, &new, &row, e) != 0)
        return -1;
    strcpy(id, row.id);
    return 0;
}

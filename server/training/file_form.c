#include "server/training/file_form.h"

#include <stdlib.h>
#include <string.h>

#include "adapters/files/files.h"
#include "core/base/utf8.h"
#include "core/system/clock.h"
#include "server/http/reply.h"
#include "server/training/file_json.h"
#include "server/transfer/form.h"

enum { EXPIRES_SECONDS_MIN = 3600, EXPIRES_SECONDS_MAX = 30 * 86400 };

enum part { PART_TENANT, PART_PURPOSE, PART_ANCHOR, PART_SECONDS, PART_FILE, PARTS };

static const struct form_part parts[PARTS] = {
    [PART_TENANT] = {"tenant", FORM_TEXT_BYTES_MAX},
    [PART_PURPOSE] = {"purpose", FORM_TEXT_BYTES_MAX},
    [PART_ANCHOR] = {"expires_after[anchor]", FORM_TEXT_BYTES_MAX},
    [PART_SECONDS] = {"expires_after[seconds]", FORM_TEXT_BYTES_MAX},
    [PART_FILE] = {"file", 0},
};

struct file_upload_form {
    struct form form;            /* first */
    struct files_upload *upload; /* owned */
    char name[MULTIPART_NAME_MAX + 1];
};

static void form_free(void *arg)
{
    struct file_upload_form *f = arg;
    form_fini(&f->form);
    files_upload_free(f->upload);
    free(f);
}

/* ---- parts ---- */

/* Whoever is over the quota anyway learns it before the file is sent. */
static int foresee(const struct request *r, struct err *e)
{
    if (!r->tenant.number || r->coming.content_length <= FORM_OVERHEAD_BYTES_MAX)
        return 0;
    return files_foresee(r->server->registry, r->tenant.number,
                         (uint64_t)r->coming.content_length - FORM_OVERHEAD_BYTES_MAX, e);
}

static int part_begin(struct form *form, int part, const char *filename, struct err *e)
{
    struct file_upload_form *f = (struct file_upload_form *)form;
    if (part != PART_FILE)
        return 0;
    if (!utf8_valid(filename, strlen(filename)))
        return form_error(e, "invalid_part", "file", "has a name that is not UTF-8");
    strcpy(f->name, *filename ? filename : "file");
    return foresee(form->request, e) == 0
               ? files_upload_new(&f->upload, form->request->server->registry, true, e)
               : -1;
}

static int part_data(struct form *form, int part, const void *bytes, size_t length, struct err *e)
{
    struct file_upload_form *f = (struct file_upload_form *)form;
    return files_upload_write(f->upload, bytes, length, e) == 0 ? 0 : err_param(e, parts[part].name);
}

static int part_end(struct form *form, int part, struct err *e)
{
    if (part == PART_PURPOSE && strcmp(form_text(form, part), FILE_PURPOSE_TRAINING) != 0)
        return form_error(e, "invalid_part", "purpose",
                          "must be fine-tune: files are kept to train with, for nothing else");
    return 0;
}

static int begin(struct request *r, struct MHD_Connection *connection, struct err *e)
{
    static const struct form_kind kind = {
        .parts = parts, .count = PARTS, .begin = part_begin, .data = part_data, .end = part_end};
    struct file_upload_form *f = calloc(1, sizeof *f);
    if (!f)
        return err_memory(e);
    r->task = f;
    r->task_free = form_free;
    return form_begin(&f->form, &kind, r, connection, e);
}

const struct route_body file_form = {
    .kind = ROUTE_BODY_FORM,
    .bytes_max = TRAINING_FILE_BYTES_MAX + FORM_OVERHEAD_BYTES_MAX,
    .hint = "curl -F purpose=fine-tune -F file=@examples.jsonl",
    .begin = begin,
    .more = form_more,
};

/* ---- the complete form ---- */

static int read_expiry(const struct form *f, int64_t *expires_ms, struct err *e)
{
    const char *anchor = form_text(f, PART_ANCHOR), *text = form_text(f, PART_SECONDS);
    *expires_ms = 0;
    if (!anchor && !text)
        return 0;
    if (!anchor || strcmp(anchor, "created_at") != 0)
        return form_error(e, "invalid_part", parts[PART_ANCHOR].name, "must be created_at");
    size_t digits = text ? strspn(text, "0123456789") : 0;
    long seconds = digits > 0 && digits < 10 && !text[digits] ? strtol(text, NULL, 10) : 0;
    if (seconds < EXPIRES_SECONDS_MIN || seconds > EXPIRES_SECONDS_MAX)
        return form_error(e, "invalid_part", parts[PART_SECONDS].name,
                          "must be a number from 3600 to 2592000");
    *expires_ms = clock_unix_ms() + 1000 * (int64_t)seconds;
    return 0;
}

static int read_fields(struct request *r, struct file_upload_form *f, struct files_new *n, struct err *e)
{
    static const enum part required[] = {PART_PURPOSE, PART_FILE};
    for (size_t i = 0; i < sizeof required / sizeof *required; i++)
        if (!f->form.seen[required[i]])
            return form_error(e, "missing_part", parts[required[i]].name, "is missing");
    *n = (struct files_new){.name = f->name, .purpose = form_text(&f->form, PART_PURPOSE)};
    if (read_expiry(&f->form, &n->expires_ms, e) != 0 ||
        request_tenant(r, form_text(&f->form, PART_TENANT), e) != 0)
        return -1;
    n->tenant = r->tenant.number;
    return 0;
}

static int accept_form(struct request *r, struct file_row *out, struct err *e)
{
    struct file_upload_form *f = r->task;
    struct files_new n;
    if (form_finish(&f->form, e) != 0 || read_fields(r, f, &n, e) != 0)
        return -1;
    struct files_upload *upload = f->upload;
    f->upload = NULL; /* consumed, whatever happens */
    if (files_upload_accept(upload, &n, out, e) == 0)
        return 0;
    return strcmp(e->code, "invalid_training_file") == 0 ? err_param(e, "file") : -1;
}

void file_form_accept(struct request *r)
{
    struct err e;
    struct file_row row;
    if (accept_form(r, &row, &e) != 0)
        reply_error(r, &e);
    else
        reply_json(r, 200, file_json(&row));
}

#include "server/transfer/form.h"

#include <stdio.h>
#include <string.h>

#include "server/http/reply.h"

int form_error(struct err *e, const char *code, const char *name, const char *problem)
{
    err_set(e, code, "the part \"%.64s\" %s", name, problem);
    return err_param(e, name);
}

/* ---- parts ---- */

static int part_begin(void *arg, const char *name, const char *filename, struct err *e)
{
    struct form *f = arg;
    int part = 0;
    while (part < f->kind->count && strcmp(f->kind->parts[part].name, name) != 0)
        part++;
    if (part == f->kind->count)
        return form_error(e, "unknown_part", name, "is not known");
    if (f->seen[part])
        return form_error(e, "duplicate_part", name, "was given twice");
    f->seen[part] = true;
    f->part = part;
    if (f->kind->parts[part].text_max && buf_append(&f->text[part], "", 0) != 0)
        return err_memory(e);
    return f->kind->begin ? f->kind->begin(f, part, filename, e) : 0;
}

static int part_data(void *arg, const void *bytes, size_t length, struct err *e)
{
    struct form *f = arg;
    const struct form_part *p = &f->kind->parts[f->part];
    struct buf *text = &f->text[f->part];
    if (!p->text_max)
        return f->kind->data(f, f->part, bytes, length, e);
    if (text->length + length > p->text_max) {
        char problem[48];
        snprintf(problem, sizeof problem, "may have %zu bytes at most", p->text_max);
        return form_error(e, "invalid_part", p->name, problem);
    }
    return buf_append(text, bytes, length) == 0 ? 0 : err_memory(e);
}

static int part_end(void *arg, struct err *e)
{
    struct form *f = arg;
    const struct buf *text = &f->text[f->part];
    if (text->data && strlen(text->data) != text->length)
        return form_error(e, "invalid_part", f->kind->parts[f->part].name, "holds a NUL");
    return f->kind->end ? f->kind->end(f, f->part, e) : 0;
}

/* ---- slices ---- */

int form_begin(struct form *f, const struct form_kind *kind, struct request *r,
               struct MHD_Connection *connection, struct err *e)
{
    f->kind = kind;
    f->request = r;
    struct multipart_handler handler = {.begin = part_begin, .data = part_data, .end = part_end, .arg = f};
    return multipart_init(
        &f->parser, MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Type"), &handler, e);
}

void form_fini(struct form *f)
{
    multipart_fini(&f->parser);
    for (int i = 0; i < FORM_PARTS_MAX; i++)
        buf_fini(&f->text[i]);
}

static int feed(struct form *f, struct err *e)
{
    struct buf *body = &f->request->body;
    int result = multipart_feed(&f->parser, body->data, body->length, e);
    buf_clear(body);
    return result;
}

static void take_slice(struct request *r)
{
    struct err e;
    if (feed(r->task, &e) == 0)
        request_wake(r);
    else
        reply_error(r, &e);
}

void form_more(struct request *r)
{
    struct err e;
    if (r->body.length < FORM_SLICE_BYTES || request_defer(r, r->server->disk_jobs, take_slice) == 0)
        return;
    err_set(&e, "overloaded", "too much work of this kind is waiting");
    reply_error(r, &e);
}

int form_finish(struct form *f, struct err *e)
{
    return feed(f, e) == 0 ? multipart_finish(&f->parser, e) : -1;
}

/* ---- the complete form ---- */

const char *form_text(const struct form *f, int part)
{
    return f->seen[part] ? f->text[part].data : NULL;
}

int form_switch(const struct form *f, int part, bool *out, struct err *e)
{
    const char *text = form_text(f, part);
    if (!text)
        return 0;
    if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
        return form_error(e, "invalid_part", f->kind->parts[part].name, "must be true or false");
    *out = text[0] == 't';
    return 0;
}

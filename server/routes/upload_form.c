#include "server/routes/upload_form.h"

#include <stdlib.h>
#include <string.h>

#include "adapters/serving/upload.h"
#include "adapters/types/files.h"
#include "core/format/filetype.h"
#include "core/format/gguf.h"
#include "core/format/multipart.h"
#include "server/http/adapter_json.h"
#include "server/http/reply.h"

enum part {
    PART_TENANT,
    PART_NAME,
    PART_ACTIVATE,
    PART_ALLOW_NO_EFFECT,
    PART_PROOF_PROMPT,
    PART_CONFIG,
    PART_WEIGHTS,
    PART_SETTINGS, /* and those behind it, in the order of enum settings_file */
    PARTS = PART_SETTINGS + SETTINGS_FILES,
    FIELDS = PART_CONFIG /* the parts before it are short texts */
};

static const char *const part_names[PARTS] = {
    "tenant", "name",    "activate",         "allow_no_effect", "proof_prompt",
    "config", "weights", "tokenizer_config", "chat_template",   "generation_config"};

struct upload_form {
    struct multipart parser;
    struct registry *registry;
    struct staged *staged; /* owned */
    struct settings_files settings;
    bool seen[PARTS];
    enum part part;          /* the one that is arriving */
    struct buf text[FIELDS]; /* NUL-terminated once the part has begun */
};

static void form_free(void *arg)
{
    struct upload_form *f = arg;
    multipart_fini(&f->parser);
    staged_free(f->staged);
    settings_files_fini(&f->settings);
    for (int i = 0; i < FIELDS; i++)
        buf_fini(&f->text[i]);
    free(f);
}

/* ---- parts ---- */

static int part_error(struct err *e, const char *code, const char *name, const char *problem)
{
    err_set(e, code, "the part \"%.64s\" %s", name, problem);
    return err_param(e, name);
}

static int part_begin(void *arg, const char *name, const char *filename, struct err *e)
{
    struct upload_form *f = arg;
    int part = 0;
    while (part < PARTS && strcmp(part_names[part], name) != 0)
        part++;
    if (part == PARTS)
        return part_error(e, "unknown_part", name, "is not known");
    if (f->seen[part])
        return part_error(e, "duplicate_part", name, "was given twice");
    f->seen[part] = true;
    f->part = (enum part)part;
    if (part == PART_WEIGHTS && filetype_is_pickle(filename)) {
        filetype_refuse_pickle(filename, e);
        return err_param(e, "weights");
    }
    if (part < FIELDS && buf_append(&f->text[part], "", 0) != 0)
        return err_memory(e);
    if (part >= PART_SETTINGS) /* an empty file is one, too */
        f->settings.has[part - PART_SETTINGS] = true;
    return f->staged ? 0 : staged_new(&f->staged, f->registry, e);
}

static int file_data(struct upload_form *f, const void *bytes, size_t length, struct err *e)
{
    if (f->part >= PART_SETTINGS) {
        enum settings_file which = (enum settings_file)(f->part - PART_SETTINGS);
        return settings_files_add(&f->settings, which, bytes, length, e) == 0
                   ? 0
                   : err_param(e, part_names[f->part]);
    }
    bool config = f->part == PART_CONFIG;
    return staged_write(f->staged, config ? STAGED_CONFIG : STAGED_WEIGHTS, bytes, length, e);
}

static int part_data(void *arg, const void *bytes, size_t length, struct err *e)
{
    struct upload_form *f = arg;
    if (f->part >= FIELDS)
        return file_data(f, bytes, length, e);
    bool prompt = f->part == PART_PROOF_PROMPT;
    struct buf *text = &f->text[f->part];
    if (text->length + length > (prompt ? PROOF_PROMPT_BYTES_MAX : UPLOAD_FIELD_BYTES_MAX))
        return part_error(e, "invalid_part", part_names[f->part],
                          prompt ? "may have 4096 bytes at most" : "may have 256 bytes at most");
    return buf_append(text, bytes, length) == 0 ? 0 : err_memory(e);
}

static int part_end(void *arg, struct err *e)
{
    struct upload_form *f = arg;
    if (f->part < FIELDS && strlen(f->text[f->part].data) != f->text[f->part].length)
        return part_error(e, "invalid_part", part_names[f->part], "holds a NUL");
    /* Said at once, not behind gigabytes of weights. */
    if (f->part == PART_NAME && !name_valid(f->text[PART_NAME].data))
        return name_refuse("the name of an adapter", "name", e);
    return 0;
}

/* ---- slices ---- */

int upload_form_begin(struct request *r, struct MHD_Connection *connection, struct err *e)
{
    struct upload_form *f = calloc(1, sizeof *f);
    if (!f)
        return err_memory(e);
    f->registry = r->server->registry;
    r->task = f;
    r->task_free = form_free;
    struct multipart_handler handler = {.begin = part_begin, .data = part_data, .end = part_end, .arg = f};
    return multipart_init(
        &f->parser, MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Type"), &handler, e);
}

static int feed(struct request *r, struct err *e)
{
    struct upload_form *f = r->task;
    int result = multipart_feed(&f->parser, r->body.data, r->body.length, e);
    buf_clear(&r->body);
    return result;
}

static void store_slice(struct request *r)
{
    struct err e;
    if (feed(r, &e) == 0)
        request_wake(r);
    else
        reply_error(r, &e);
}

void upload_form_more(struct request *r)
{
    struct err e;
    if (r->body.length < UPLOAD_SLICE_BYTES || request_defer(r, r->server->disk_jobs, store_slice) == 0)
        return;
    err_set(&e, "overloaded", "too much work of this kind is waiting");
    reply_error(r, &e);
}

/* ---- the complete form ---- */

static int read_switch(const struct upload_form *f, enum part part, bool *out, struct err *e)
{
    if (!f->seen[part])
        return 0;
    const char *text = f->text[part].data;
    if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
        return part_error(e, "invalid_part", part_names[part], "must be true or false");
    *out = text[0] == 't';
    return 0;
}

/* A GGUF file has its configuration in itself. */
static int check_parts(const struct upload_form *f, struct err *e)
{
    static const enum part required[] = {PART_NAME, PART_WEIGHTS, PART_CONFIG};
    bool gguf = f->seen[PART_WEIGHTS] && gguf_is(staged_fd(f->staged, STAGED_WEIGHTS));
    for (size_t i = 0; i < sizeof required / sizeof *required; i++)
        if (!f->seen[required[i]] && !(gguf && required[i] == PART_CONFIG))
            return part_error(e, "missing_part", part_names[required[i]], "is missing");
    if (gguf && f->seen[PART_CONFIG])
        return part_error(e, "invalid_part", part_names[PART_CONFIG], "does not belong to a GGUF file");
    return 0;
}

static int read_prompt(const struct server *s, const struct upload_form *f, struct upload *u, struct err *e)
{
    if (!f->seen[PART_PROOF_PROMPT])
        return 0;
    u->proof_prompt = f->text[PART_PROOF_PROMPT].data;
    u->tokenizer = s->tokenizer;
    if (!u->tokenizer) {
        err_set(e, "input_unsupported", "the model \"%s\" takes rows of numbers and answers no prompts",
                s->model_name);
        return err_param(e, part_names[PART_PROOF_PROMPT]);
    }
    return *u->proof_prompt ? 0 : part_error(e, "invalid_part", part_names[PART_PROOF_PROMPT], "is empty");
}

static int read_fields(const struct server *s, const struct upload_form *f, struct upload *u, struct err *e)
{
    if (check_parts(f, e) != 0)
        return -1;
    *u = (struct upload){.name = f->text[PART_NAME].data, .activate = true};
    if (read_switch(f, PART_ACTIVATE, &u->activate, e) != 0)
        return -1;
    if (read_switch(f, PART_ALLOW_NO_EFFECT, &u->allow_no_effect, e) != 0)
        return -1;
    return read_prompt(s, f, u, e);
}

static int accept_form(struct request *r, struct upload_result *out, struct err *e)
{
    struct server *s = r->server;
    struct upload_form *f = r->task;
    struct upload u;
    if (feed(r, e) != 0 || multipart_finish(&f->parser, e) != 0 || read_fields(s, f, &u, e) != 0 ||
        request_tenant(r, f->seen[PART_TENANT] ? f->text[PART_TENANT].data : NULL, e) != 0)
        return -1;
    u.tenant = r->tenant.number;
    u.settings = &f->settings;
    u.settings_base = &s->settings_base;
    struct staged *staged = f->staged;
    f->staged = NULL; /* consumed, whatever happens */
    return upload_accept(s->registry, s->cache, s->engine, s->model, staged, &u, out, e);
}

static json_t *warnings_json(const struct warnings *w)
{
    json_t *list = json_array();
    int failed = !list;
    for (size_t i = 0; i < w->count && !failed; i++)
        failed = json_array_append_new(list, json_string(w->texts[i]));
    if (w->dropped && !failed)
        failed = json_array_append_new(list, json_sprintf("%zu more warnings", w->dropped));
    if (!failed)
        return list;
    json_decref(list);
    return NULL;
}

/* As a version is shown, since it may have been there before. */
static json_t *answer_json(const struct upload_result *u)
{
    json_t *body = adapter_json_upload(u->version);
    if (body && adapter_json_add_proof(body, &u->proof) == 0 &&
        json_object_set_new(body, "warnings", warnings_json(&u->warnings)) == 0)
        return body;
    json_decref(body);
    return NULL;
}

void upload_form_accept(struct request *r)
{
    struct err e;
    struct upload_result result;
    if (accept_form(r, &result, &e) != 0) {
        reply_error(r, &e);
        return;
    }
    adapter_json_header(r, result.version);
    reply_json(r, result.created ? 201 : 200, answer_json(&result));
    proof_fini(&result.proof);
    warnings_fini(&result.warnings);
    version_unref(result.version);
}

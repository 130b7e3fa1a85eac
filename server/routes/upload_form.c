#include "server/routes/upload_form.h"

#include <stdlib.h>
#include <string.h>

#include "adapters/serving/upload.h"
#include "adapters/types/files.h"
#include "core/format/filetype.h"
#include "core/format/gguf.h"
#include "server/http/adapter_json.h"
#include "server/http/reply.h"
#include "server/transfer/form.h"

enum part {
    PART_TENANT,
    PART_NAME,
    PART_ACTIVATE,
    PART_ALLOW_NO_EFFECT,
    PART_PROOF_PROMPT,
    PART_CONFIG,
    PART_WEIGHTS,
    PART_SETTINGS, /* and those behind it, in the order of enum settings_file */
    PARTS = PART_SETTINGS + SETTINGS_FILES
};

static const struct form_part parts[PARTS] = {
    [PART_TENANT] = {"tenant", FORM_TEXT_BYTES_MAX},
    [PART_NAME] = {"name", FORM_TEXT_BYTES_MAX},
    [PART_ACTIVATE] = {"activate", FORM_TEXT_BYTES_MAX},
    [PART_ALLOW_NO_EFFECT] = {"allow_no_effect", FORM_TEXT_BYTES_MAX},
    [PART_PROOF_PROMPT] = {"proof_prompt", PROOF_PROMPT_BYTES_MAX},
    [PART_CONFIG] = {"config", 0},
    [PART_WEIGHTS] = {"weights", 0},
    [PART_SETTINGS + SETTINGS_TOKENIZER_CONFIG] = {"tokenizer_config", 0},
    [PART_SETTINGS + SETTINGS_CHAT_TEMPLATE] = {"chat_template", 0},
    [PART_SETTINGS + SETTINGS_GENERATION_CONFIG] = {"generation_config", 0},
    [PART_SETTINGS + SETTINGS_ADDED_TOKENS] = {"added_tokens", 0},
};

struct adapter_form {
    struct form form;      /* first */
    struct staged *staged; /* owned */
    struct settings_files settings;
};

static void form_free(void *arg)
{
    struct adapter_form *f = arg;
    form_fini(&f->form);
    staged_free(f->staged);
    settings_files_fini(&f->settings);
    free(f);
}

/* ---- parts ---- */

static int part_begin(struct form *form, int part, const char *filename, struct err *e)
{
    struct adapter_form *f = (struct adapter_form *)form;
    if (part == PART_WEIGHTS && filetype_is_pickle(filename)) {
        filetype_refuse_pickle(filename, e);
        return err_param(e, "weights");
    }
    if (part >= PART_SETTINGS) /* an empty file is one, too */
        f->settings.has[part - PART_SETTINGS] = true;
    return f->staged ? 0 : staged_new(&f->staged, form->request->server->registry, e);
}

static int part_data(struct form *form, int part, const void *bytes, size_t length, struct err *e)
{
    struct adapter_form *f = (struct adapter_form *)form;
    if (part >= PART_SETTINGS) {
        enum settings_file which = (enum settings_file)(part - PART_SETTINGS);
        return settings_files_add(&f->settings, which, bytes, length, e) == 0
                   ? 0
                   : err_param(e, parts[part].name);
    }
    return staged_write(f->staged, part == PART_CONFIG ? STAGED_CONFIG : STAGED_WEIGHTS, bytes, length, e);
}

static int part_end(struct form *form, int part, struct err *e)
{
    /* Said at once, not behind gigabytes of weights. */
    if (part == PART_NAME && !name_valid(form_text(form, PART_NAME)))
        return name_refuse("the name of an adapter", "name", e);
    return 0;
}

static int begin(struct request *r, struct MHD_Connection *connection, struct err *e)
{
    static const struct form_kind kind = {
        .parts = parts, .count = PARTS, .begin = part_begin, .data = part_data, .end = part_end};
    struct adapter_form *f = calloc(1, sizeof *f);
    if (!f)
        return err_memory(e);
    r->task = f;
    r->task_free = form_free;
    return form_begin(&f->form, &kind, r, connection, e);
}

static int foresee(struct request *r, uint64_t least, uint64_t most, struct err *e)
{
    return registry_quota_foresee(r->server->registry, r->tenant.number, least, most, e);
}

const struct route_body upload_form = {
    .kind = ROUTE_BODY_FORM,
    /* Both files, and room for the other fields, boundaries and part headers. */
    .bytes_max = ADAPTER_WEIGHTS_BYTES_MAX + ADAPTER_CONFIG_BYTES_MAX + FORM_OVERHEAD_BYTES_MAX,
    .hint = "curl -F name=NAME -F config=@adapter_config.json -F weights=@adapter_model.safetensors",
    .foresee = foresee,
    .begin = begin,
    .more = form_more,
};

/* ---- the complete form ---- */

/* A GGUF file has its configuration in itself. */
static int check_parts(const struct adapter_form *f, struct err *e)
{
    static const enum part required[] = {PART_NAME, PART_WEIGHTS, PART_CONFIG};
    const bool *seen = f->form.seen;
    bool gguf = seen[PART_WEIGHTS] && gguf_is(staged_fd(f->staged, STAGED_WEIGHTS));
    for (size_t i = 0; i < sizeof required / sizeof *required; i++)
        if (!seen[required[i]] && !(gguf && required[i] == PART_CONFIG))
            return form_error(e, "missing_part", parts[required[i]].name, "is missing");
    if (gguf && seen[PART_CONFIG])
        return form_error(e, "invalid_part", parts[PART_CONFIG].name, "does not belong to a GGUF file");
    return 0;
}

static int read_prompt(const struct server *s, const struct adapter_form *f, struct upload *u, struct err *e)
{
    u->proof_prompt = form_text(&f->form, PART_PROOF_PROMPT);
    if (!u->proof_prompt)
        return 0;
    u->tokenizer = s->tokenizer;
    if (!u->tokenizer) {
        err_set(e, "input_unsupported", "the model \"%s\" takes rows of numbers and answers no prompts",
                s->model_name);
        return err_param(e, parts[PART_PROOF_PROMPT].name);
    }
    return *u->proof_prompt ? 0 : form_error(e, "invalid_part", parts[PART_PROOF_PROMPT].name, "is empty");
}

static int read_fields(const struct server *s, const struct adapter_form *f, struct upload *u, struct err *e)
{
    if (check_parts(f, e) != 0)
        return -1;
    *u = (struct upload){.name = form_text(&f->form, PART_NAME), .activate = true};
    if (form_switch(&f->form, PART_ACTIVATE, &u->activate, e) != 0 ||
        form_switch(&f->form, PART_ALLOW_NO_EFFECT, &u->allow_no_effect, e) != 0)
        return -1;
    return read_prompt(s, f, u, e);
}

static int accept_form(struct request *r, struct upload_result *out, struct err *e)
{
    struct server *s = r->server;
    struct adapter_form *f = r->task;
    struct upload u;
    if (form_finish(&f->form, e) != 0 || read_fields(s, f, &u, e) != 0 ||
        request_tenant(r, form_text(&f->form, PART_TENANT), e) != 0)
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

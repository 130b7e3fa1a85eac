/* Opening tokenizer.json: reading it, checking it as a whole, and handing each component to its loader. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"
#include "core/format/filetype.h"
#include "core/system/file.h"
#include "core/tokenizer/load/component.h"
#include "core/tokenizer/load/tokenizer_class.h"
#include "core/tokenizer/load/tokenizer_parts.h"
#include "core/tokenizer/tokenizer.h"

enum { FILE_BYTES_MAX = 64 * 1024 * 1024 };

static int refuse_set(json_t *json, const char *name, struct err *e)
{
    json_t *value = json_object_get(json, name);
    return !value || json_is_null(value)
               ? 0
               : err_set(e, "tokenizer_unsupported", "%s: only null is supported", name);
}

static int check_template_ids(const struct tokenizer *t, const struct token_list *ids, struct err *e)
{
    size_t length;
    for (size_t i = 0; i < ids->count; i++)
        if (!tokenizer_string(t, ids->ids[i], &length))
            return err_set(e, "tokenizer_malformed", "post_processor: there is no token %d", ids->ids[i]);
    return 0;
}

static int load(struct tokenizer *t, json_t *json, const struct model_text *text, struct err *e)
{
    static const char *const known[] = {
        "version",       "truncation",     "padding", "added_tokens", "normalizer",
        "pre_tokenizer", "post_processor", "decoder", "model",        NULL};
    json_t *version = json_object_get(json, "version");
    if (component_check(json, "the file", known, e) != 0 || refuse_set(json, "truncation", e) != 0 ||
        refuse_set(json, "padding", e) != 0)
        return -1;
    if (version && !(json_is_string(version) && strcmp(json_string_value(version), "1.0") == 0))
        return err_set(e, "tokenizer_unsupported", "version: only \"1.0\" is supported");
    if (tokenizer_load_model(t, json_object_get(json, "model"), text, e) != 0 ||
        tokenizer_load_normalizer(&t->normalizer, json_object_get(json, "normalizer"), e) != 0 ||
        tokenizer_load_added(t, json_object_get(json, "added_tokens"), e) != 0 ||
        tokenizer_load_pretokenizer(&t->pretokenizer, json_object_get(json, "pre_tokenizer"), e) != 0 ||
        tokenizer_load_postprocessor(t, json_object_get(json, "post_processor"), e) != 0 ||
        tokenizer_load_decoder(&t->decoder, json_object_get(json, "decoder"), e) != 0)
        return -1;
    return check_template_ids(t, &t->prefix, e) != 0 ? -1 : check_template_ids(t, &t->suffix, e);
}

/* What is wrong with a component, said with the file that it stands in. */
static int in_file(const char *path, struct err *e)
{
    const struct err inner = *e;
    err_set(e, inner.code, "%s: %s", path, inner.message);
    return inner.hint[0] ? err_hint(e, "%s", inner.hint) : -1;
}

/* The small rest of the file is parsed as JSON; the vocabulary and the merges are read where they stand.
 * NULL: error; otherwise *text is to be freed, too. */
static json_t *parse(const struct buf *file, const char *path, struct model_text *text, struct err *e)
{
    json_error_t error;
    char subject[300];
    snprintf(subject, sizeof subject, "%s is", path);
    if (filetype_refuse(file->data, file->length, true, subject, "JSON", "tokenizer_malformed", e) != 0)
        return NULL;
    if (!utf8_valid(file->data, file->length)) {
        err_set(e, "tokenizer_malformed", "%s is not valid UTF-8", path);
        return NULL;
    }
    if (model_scan_cut(file->data, file->length, text, e) != 0) {
        in_file(path, e);
        return NULL;
    }
    json_t *json =
        json_loadb(text->rest.data, text->rest.length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!json) {
        err_set(e, "tokenizer_malformed", "%s: %s", path, error.text);
        model_text_fini(text);
    }
    return json;
}

struct place { /* of what is opened, and how */
    const char *directory, *path;
    enum tokenizer_pipeline pipeline;
};

static int load_text(struct tokenizer *t, const struct buf *file, const struct place *p, struct err *e)
{
    struct model_text text;
    json_t *json = parse(file, p->path, &text, e);
    if (!json)
        return -1;
    int result = tokenizer_class_apply(json, file, p->directory, p->pipeline, &t->disputed, e);
    if (result == 0 && load(t, json, &text, e) != 0)
        result = in_file(p->path, e);
    json_decref(json);
    model_text_fini(&text);
    return result;
}

static int load_file(struct tokenizer *t, const struct place *p, struct err *e)
{
    struct buf file = {0};
    int result = file_read(p->path, FILE_BYTES_MAX, &file, e);
    if (result == 0)
        result = load_text(t, &file, p, e);
    buf_fini(&file);
    return result;
}

int tokenizer_open(struct tokenizer **out, const char *directory, enum tokenizer_pipeline pipeline,
                   struct err *e)
{
    struct tokenizer *t = calloc(1, sizeof *t);
    char *path = file_join(directory, "tokenizer.json");
    const struct place p = {directory, path, pipeline};
    int result = t && path ? load_file(t, &p, e) : err_memory(e);
    free(path);
    if (result != 0) {
        tokenizer_close(t);
        return -1;
    }
    *out = t;
    return 0;
}

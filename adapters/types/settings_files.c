#include "adapters/types/settings_files.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

const char *const settings_file_names[SETTINGS_FILES] = {"tokenizer_config.json", "chat_template.jinja",
                                                         "generation_config.json", "added_tokens.json"};

bool settings_files_any(const struct settings_files *f)
{
    bool any = false;
    for (int i = 0; i < SETTINGS_FILES; i++)
        any = any || f->has[i];
    return any;
}

int settings_files_add(struct settings_files *f, enum settings_file which, const void *bytes, size_t length,
                       struct err *e)
{
    f->has[which] = true;
    if (f->text[which].length + length > SETTINGS_FILE_BYTES_MAX)
        return err_set(e, "body_too_large", "%s has more than %d bytes", settings_file_names[which],
                       SETTINGS_FILE_BYTES_MAX);
    return buf_append(&f->text[which], bytes, length) == 0 ? 0 : err_memory(e);
}

void settings_files_fini(struct settings_files *f)
{
    for (int i = 0; i < SETTINGS_FILES; i++)
        buf_fini(&f->text[i]);
    *f = (struct settings_files){0};
}

/* ---- as one text ---- */

static int add_file(json_t *object, const struct settings_files *f, int i, struct err *e)
{
    const struct buf *text = &f->text[i];
    if (!f->has[i])
        return 0;
    if (json_object_set_new(object, settings_file_names[i],
                            json_stringn(text->length ? text->data : "", text->length)) == 0)
        return 0;
    err_set(e, "config_malformed", "%s is not valid UTF-8", settings_file_names[i]);
    return err_param(e, settings_file_names[i]);
}

int settings_files_encode(const struct settings_files *f, struct buf *out, struct err *e)
{
    json_t *object = json_object();
    int result = object ? 0 : err_memory(e);
    for (int i = 0; i < SETTINGS_FILES && result == 0; i++)
        result = add_file(object, f, i, e);
    char *text = result == 0 ? json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(object);
    if (result == 0 && (!text || buf_append_string(out, text) != 0))
        result = err_memory(e);
    free(text);
    return result;
}

static int take_file(struct settings_files *out, const json_t *object, int i, struct err *e)
{
    const json_t *text = json_object_get(object, settings_file_names[i]);
    return !text ? 0
                 : settings_files_add(out, (enum settings_file)i, json_string_value(text),
                                      json_string_length(text), e);
}

int settings_files_decode(struct settings_files *out, const void *bytes, size_t length, struct err *e)
{
    json_t *object = json_loadb(bytes, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    int result = 0;
    *out = (struct settings_files){0};
    if (!json_is_object(object))
        result = err_set(e, "config_malformed", "the settings that were kept cannot be read");
    for (int i = 0; i < SETTINGS_FILES && result == 0; i++)
        result = take_file(out, object, i, e);
    json_decref(object);
    if (result != 0)
        settings_files_fini(out);
    return result;
}

void settings_files_digest(const struct buf *encoded, char out[SHA256_HEX + 1])
{
    uint8_t digest[SHA256_BYTES];
    sha256_of(encoded->data, encoded->length, digest);
    hex_encode(digest, sizeof digest, out);
}

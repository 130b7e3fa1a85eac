#include "core/format/json_file.h"

#include <stdlib.h>
#include <string.h>

#include "core/format/filetype.h"
#include "core/system/file.h"

static bool begins(const char *text, size_t length, const char *mark, size_t size)
{
    return length >= size && memcmp(text, mark, size) == 0;
}

static int refuse_utf16(const struct json_file *f, struct err *e)
{
    err_set(e, f->code, "%s is encoded in UTF-16 (it begins with that byte order mark), not UTF-8", f->name);
    return err_hint(e, "Save it as UTF-8, without a byte order mark (BOM).");
}

int json_file_parse(const struct json_file *f, const char *text, size_t length, json_t **out, struct err *e)
{
    char subject[128];
    snprintf(subject, sizeof subject, "%s is", f->name);
    if (begins(text, length, "\xff\xfe", 2) || begins(text, length, "\xfe\xff", 2))
        return refuse_utf16(f, e);
    if (filetype_refuse(text, length, true, subject, "JSON", f->code, e) != 0)
        return -1;
    size_t mark = begins(text, length, "\xef\xbb\xbf", 3) ? 3 : 0;
    if (mark && mark == length)
        return err_set(e, f->code, "%s holds a byte order mark (BOM) and nothing behind it", f->name);
    if (memchr(text, '\0', length)) /* the parser would skip one behind a number */
        return err_set(e, f->code, "%s contains a zero byte", f->name);
    json_error_t error;
    json_t *value = json_loadb(text + mark, length - mark, JSON_REJECT_DUPLICATES | f->flags, &error);
    if (!value)
        return err_set(e, f->code, "%s is not valid JSON%s: %s (line %d, column %d)", f->name,
                       mark ? " behind its byte order mark" : "", error.text, error.line, error.column);
    *out = value;
    return 0;
}

static int parse_object(const struct json_file *f, const struct buf *text, json_t **out, struct err *e)
{
    json_t *value;
    if (json_file_parse(f, text->data ? text->data : "", text->length, &value, e) != 0)
        return -1;
    if (json_is_object(value)) {
        *out = value;
        return 0;
    }
    json_decref(value);
    return err_set(e, f->code, "%s is not a JSON object", f->name);
}

int json_file_read(const struct json_file *f, const char *directory, bool required, json_t **out,
                   struct err *e)
{
    char *path = file_join(directory, f->name);
    if (!path)
        return err_memory(e);
    struct buf text = {0};
    bool there = required || file_exists(path);
    int result = there ? file_read(path, f->bytes_max, &text, e) : 0;
    free(path);
    *out = NULL;
    if (result == 0 && there)
        result = parse_object(f, &text, out, e);
    buf_fini(&text);
    return result;
}

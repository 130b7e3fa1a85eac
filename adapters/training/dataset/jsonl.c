#include "adapters/training/dataset/jsonl.h"

#include <stdbool.h>
#include <string.h>

int jsonl_error(struct err *e, size_t number)
{
    if (strcmp(e->code, "invalid_training_file") == 0) {
        struct err inner = *e;
        err_set(e, "invalid_training_file", "line %zu: %s", number, inner.message);
        if (inner.hint[0])
            err_hint(e, "%s", inner.hint);
    }
    return -1;
}

static int too_long(const struct jsonl *j, struct err *e)
{
    err_set(e, "invalid_training_file", "a line may have %d bytes at most", JSONL_LINE_BYTES_MAX);
    err_hint(e, "one example a line: is this one JSON document, or another kind of file?");
    return jsonl_error(e, j->ended + 1);
}

static bool is_blank(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r')
            return false;
    return true;
}

static int hand_out(struct jsonl *j, const char *text, size_t length, struct err *e)
{
    size_t number = ++j->ended;
    if (number == 1 && length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        text += 3;
        length -= 3;
    }
    if (length > 0 && text[length - 1] == '\r')
        length--;
    return is_blank(text, length) ? 0 : j->line(j->arg, number, text, length, e);
}

/* Of a line that began before these bytes. */
static int keep(struct jsonl *j, const char *bytes, size_t length, struct err *e)
{
    if (length > JSONL_LINE_BYTES_MAX - j->rest.length)
        return too_long(j, e);
    return buf_append(&j->rest, bytes, length) == 0 ? 0 : err_memory(e);
}

static int end_line(struct jsonl *j, const char *bytes, size_t length, struct err *e)
{
    if (j->rest.length == 0)
        return length > JSONL_LINE_BYTES_MAX ? too_long(j, e) : hand_out(j, bytes, length, e);
    if (keep(j, bytes, length, e) != 0)
        return -1;
    int result = hand_out(j, j->rest.data, j->rest.length, e);
    buf_clear(&j->rest);
    return result;
}

int jsonl_feed(struct jsonl *j, const void *bytes, size_t length, struct err *e)
{
    const char *at = bytes, *end = at + length, *line_end;
    while (at < end && (line_end = memchr(at, '\n', (size_t)(end - at)))) {
        if (end_line(j, at, (size_t)(line_end - at), e) != 0)
            return -1;
        at = line_end + 1;
    }
    return at < end ? keep(j, at, (size_t)(end - at), e) : 0;
}

int jsonl_finish(struct jsonl *j, struct err *e)
{
    return j->rest.length > 0 ? end_line(j, "", 0, e) : 0;
}

void jsonl_fini(struct jsonl *j)
{
    buf_fini(&j->rest);
}

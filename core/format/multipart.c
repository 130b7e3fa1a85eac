#include "core/format/multipart.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static int malformed(struct err *e, const char *problem)
{
    return err_set(e, "multipart_malformed", "the form is malformed: %s", problem);
}

/* The value of `; name=value` or `; name="value"` in a header; false where it is absent, too long or not well
 * formed. */
static bool parameter(const char *header, const char *name, char *out, size_t size)
{
    size_t length = strlen(name);
    for (const char *p = strchr(header, ';'); p;) {
        p += 1 + strspn(p + 1, " \t");
        bool match = strncasecmp(p, name, length) == 0 && p[length] == '=';
        const char *value = p + strcspn(p, "=;");
        if (*value == ';' || !*value) {
            p = *value ? value : NULL;
            continue;
        }
        bool quoted = *++value == '"';
        size_t used = 0;
        for (value += quoted; *value && (quoted ? *value != '"' : !strchr("; \t", *value)); value++) {
            value += quoted && *value == '\\' && value[1];
            if (match && used + 1 >= size)
                return false;
            if (match)
                out[used++] = *value;
        }
        if (quoted && *value != '"')
            return false;
        if (match) {
            out[used] = '\0';
            return true;
        }
        p = strchr(value, ';');
    }
    return false;
}

int multipart_init(struct multipart *m, const char *content_type, const struct multipart_handler *h,
                   struct err *e)
{
    char boundary[MULTIPART_BOUNDARY_MAX + 1];
    *m = (struct multipart){.handler = *h};
    if (!content_type || !parameter(content_type, "boundary", boundary, sizeof boundary) || !boundary[0])
        return malformed(e, "Content-Type has no boundary of 1 to 70 characters");
    m->delimiter_length = (size_t)snprintf(m->delimiter, sizeof m->delimiter, "\r\n--%s", boundary);
    /* The first delimiter may stand at the very beginning, as if a line had ended before it. */
    return buf_append(&m->pending, "\r\n", 2) == 0 ? 0 : err_memory(e);
}

void multipart_fini(struct multipart *m)
{
    buf_fini(&m->pending);
}

/* Each step looks at pending bytes from *at on, moves *at past what it used and returns 1; 0: it needs more
 * bytes. */

static int step_text(struct multipart *m, size_t *at, struct err *e)
{
    const char *bytes = m->pending.data + *at;
    size_t length = m->pending.length - *at, keep = m->delimiter_length - 1;
    const char *hit = memmem(bytes, length, m->delimiter, m->delimiter_length);
    size_t text = hit ? (size_t)(hit - bytes) : length > keep ? length - keep : 0;
    bool body = m->state == MULTIPART_BODY;
    if (body && text && m->handler.data(m->handler.arg, bytes, text, e) != 0)
        return -1;
    *at += text;
    if (!hit)
        return 0;
    if (body && m->handler.end(m->handler.arg, e) != 0)
        return -1;
    *at += m->delimiter_length;
    m->state = MULTIPART_DELIMITER;
    return 1;
}

/* Behind a delimiter: "--" ends the form, otherwise the line ends, perhaps after blanks. */
static int step_delimiter(struct multipart *m, size_t *at, struct err *e)
{
    const char *bytes = m->pending.data + *at;
    size_t length = m->pending.length - *at, blanks = strspn(bytes, " \t");
    if (blanks > 64)
        return malformed(e, "blanks behind a boundary");
    if (length < blanks + 2)
        return 0;
    if (blanks == 0 && memcmp(bytes, "--", 2) == 0) {
        m->state = MULTIPART_DONE;
        return 1;
    }
    if (memcmp(bytes + blanks, "\r\n", 2) != 0)
        return malformed(e, "a boundary is followed by something else than a line end");
    *at += blanks + 2;
    m->state = MULTIPART_HEADERS;
    m->header_bytes = 0;
    m->named = false;
    m->name[0] = m->filename[0] = '\0';
    return 1;
}

static int read_header(struct multipart *m, const char *line, struct err *e)
{
    if (*line == ' ' || *line == '\t' || !strchr(line, ':'))
        return malformed(e, "a part's header line has no name");
    const char *value = strchr(line, ':') + 1;
    value += strspn(value, " \t");
    if (strncasecmp(line, "Content-Transfer-Encoding:", 26) == 0 && strcasecmp(value, "binary") != 0 &&
        strcasecmp(value, "8bit") != 0 && strcasecmp(value, "7bit") != 0)
        return malformed(e, "a part's Content-Transfer-Encoding is neither binary nor 8bit nor 7bit");
    if (strncasecmp(line, "Content-Disposition:", 20) != 0)
        return 0;
    if (m->named)
        return malformed(e, "a part has two Content-Dispositions");
    if (strncasecmp(value, "form-data", 9) != 0 || !strchr("; \t", value[9]) ||
        !parameter(value, "name", m->name, sizeof m->name))
        return malformed(e, "a part's Content-Disposition is not form-data with a name");
    if (!parameter(value, "filename", m->filename, sizeof m->filename))
        m->filename[0] = '\0';
    m->named = true;
    return 0;
}

static int step_header(struct multipart *m, size_t *at, struct err *e)
{
    char line[MULTIPART_HEADERS_MAX + 1];
    const char *bytes = m->pending.data + *at;
    size_t length = m->pending.length - *at;
    const char *end = memmem(bytes, length, "\r\n", 2);
    size_t count = end ? (size_t)(end - bytes) : length;
    if (m->header_bytes + count > MULTIPART_HEADERS_MAX)
        return malformed(e, "the headers of a part have more than 4096 bytes");
    if (!end)
        return 0;
    *at += count + 2;
    m->header_bytes += count + 2;
    if (count) {
        if (memchr(bytes, '\0', count))
            return malformed(e, "a part's header holds a NUL");
        memcpy(line, bytes, count);
        line[count] = '\0';
        return read_header(m, line, e) == 0 ? 1 : -1;
    }
    if (!m->named)
        return malformed(e, "a part has no Content-Disposition");
    m->state = MULTIPART_BODY;
    return m->handler.begin(m->handler.arg, m->name, m->filename, e) == 0 ? 1 : -1;
}

static int step(struct multipart *m, size_t *at, struct err *e)
{
    switch (m->state) {
    case MULTIPART_DELIMITER:
        return step_delimiter(m, at, e);
    case MULTIPART_HEADERS:
        return step_header(m, at, e);
    case MULTIPART_DONE:
        *at = m->pending.length; /* what follows the closing delimiter is to be ignored (RFC 2046) */
        return 0;
    default:
        return step_text(m, at, e);
    }
}

int multipart_feed(struct multipart *m, const void *bytes, size_t length, struct err *e)
{
    if (buf_append(&m->pending, bytes, length) != 0)
        return err_memory(e);
    size_t at = 0;
    int result;
    do {
        result = step(m, &at, e);
    } while (result > 0);
    buf_consume(&m->pending, at);
    return result;
}

int multipart_finish(struct multipart *m, struct err *e)
{
    if (m->state != MULTIPART_DONE)
        return malformed(e, "the body ends before the closing boundary");
    return 0;
}

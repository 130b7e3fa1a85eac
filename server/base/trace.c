#include "server/base/trace.h"

#include <string.h>

/* version-trace-parent-flags, each of so many digits. */
enum { VERSION = 2, PARENT = 16, FLAGS = 2, LENGTH = VERSION + TRACE_ID_DIGITS + PARENT + FLAGS + 3 };

static bool is_hex(const char *text, size_t length)
{
    return strspn(text, "0123456789abcdef") >= length;
}

static bool is_zero(const char *text, size_t length)
{
    return strspn(text, "0") >= length;
}

static bool has_fields(const char *text)
{
    static const size_t lengths[] = {VERSION, TRACE_ID_DIGITS, PARENT, FLAGS};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        if (!is_hex(text, lengths[i]))
            return false;
        text += lengths[i];
        if (i + 1 < sizeof lengths / sizeof *lengths && *text++ != '-')
            return false;
    }
    return true;
}

/* Later versions may have more behind it. */
static bool ends_well(const char *text)
{
    bool first = memcmp(text, "00", VERSION) == 0;
    return text[LENGTH] == '\0' || (!first && text[LENGTH] == '-');
}

void trace_read(const char *header, struct trace *out)
{
    const char *id = header + VERSION + 1;
    out->id[0] = '\0';
    if (strlen(header) < LENGTH || !has_fields(header) || !ends_well(header) ||
        memcmp(header, "ff", VERSION) == 0)
        return;
    if (is_zero(id, TRACE_ID_DIGITS) || is_zero(id + TRACE_ID_DIGITS + 1, PARENT))
        return;
    memcpy(out->id, id, TRACE_ID_DIGITS);
    out->id[TRACE_ID_DIGITS] = '\0';
}

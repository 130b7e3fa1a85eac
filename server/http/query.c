#include "server/http/query.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/registry/registry.h"
#include "adapters/types/usage.h"
#include "core/base/hex.h"

/* A value is no longer than what it may mean: %-escapes of a label, at most. */
enum { NAME_BYTES_MAX = 31, VALUE_BYTES_MAX = 511 };

static bool limit_valid(const char *text)
{
    return *text && strlen(text) <= 4 && strspn(text, "0123456789") == strlen(text) && atoi(text) >= 1 &&
           atoi(text) <= PAGE_MAX;
}

static bool day_valid(const char *text)
{
    static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int month, day;
    for (int i = 0; i < DAY_BYTES - 1; i++)
        if (i == 4 || i == 7 ? text[i] != '-' : !isdigit((unsigned char)text[i]))
            return false;
    month = 10 * (text[5] - '0') + text[6] - '0';
    day = 10 * (text[8] - '0') + text[9] - '0';
    return !text[DAY_BYTES - 1] && month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1];
}

static bool switch_valid(const char *text)
{
    return strcmp(text, "true") == 0 || strcmp(text, "false") == 0;
}

static bool order_valid(const char *text)
{
    return strcmp(text, "oldest") == 0 || strcmp(text, "newest") == 0 || strcmp(text, "asc") == 0 ||
           strcmp(text, "desc") == 0;
}

static bool label_valid(const char *text)
{
    struct buf ignored = {0};
    bool valid = labels_pattern(text, &ignored) == 0;
    buf_fini(&ignored);
    return valid;
}

static const struct parameter {
    const char *name;
    unsigned takes; /* of enum { QUERY_... } */
    bool (*valid)(const char *value);
    const char *expected;
} parameters[] = {
    {"tenant", QUERY_TENANT, name_valid, "a tenant's id, [a-z0-9][a-z0-9._-]{0,63}"},
    {"after", QUERY_PAGE, name_valid, "a cursor as \"next\" gave it"},
    {"adapter", QUERY_USAGE, name_valid, "an adapter's name, [a-z0-9][a-z0-9._-]{0,63}"},
    {"from", QUERY_USAGE, day_valid, "a day, YYYY-MM-DD"},
    {"to", QUERY_USAGE, day_valid, "a day, YYYY-MM-DD"},
    {"force", QUERY_FORCE, switch_valid, "true or false"},
    {"label", QUERY_LABEL, label_valid, "key:value"},
    {"order", QUERY_ORDER, order_valid, "oldest or asc, newest or desc: what comes first"},
    {"purpose", QUERY_PURPOSE, name_valid, "what files are for, such as fine-tune"},
    {"stream", QUERY_STREAM, switch_valid, "true or false"},
    {"limit", QUERY_PAGE, limit_valid, "a number from 1 to 1000"},
};
_Static_assert(sizeof parameters / sizeof *parameters == QUERY_PARAMETERS, "each has its value");

static int find(const char *name)
{
    int i = 0;
    while (i < QUERY_PARAMETERS && strcmp(name, parameters[i].name) != 0)
        i++;
    return i;
}

int query_init(struct query *q, const char *raw, struct err *e)
{
    *q = (struct query){.limit = PAGE_DEFAULT};
    q->text = raw ? strdup(raw) : NULL;
    return raw && !q->text ? err_memory(e) : 0;
}

void query_fini(struct query *q)
{
    free(q->text);
}

const char *query_text(const struct query *q, const char *name)
{
    int i = find(name);
    assert(i < QUERY_PARAMETERS);
    return q->value[i];
}

bool query_newest_first(const struct query *q, bool otherwise)
{
    const char *order = query_text(q, "order");
    return order ? strcmp(order, "newest") == 0 || strcmp(order, "desc") == 0 : otherwise;
}

/* ---- reading ---- */

/* Decode %XX in place: what comes out is never longer. -1 for a bad escape or a NUL. */
static int decode(char *text, size_t max)
{
    const char *from = text, *end = text + strlen(text);
    char *to = text;
    while (from < end) {
        int c = (unsigned char)*from++;
        if (c == '%') {
            int high = end - from >= 2 ? hex_digit(from[0]) : -1;
            int low = high >= 0 ? hex_digit(from[1]) : -1;
            if (low < 0)
                return -1;
            c = 16 * high + low;
            from += 2;
        }
        if (c == 0 || (size_t)(to - text) == max)
            return -1;
        *to++ = (char)c;
    }
    *to = '\0';
    return 0;
}

static int bad_parameter(struct err *e, const char *name, const char *expected)
{
    err_set(e, "invalid_parameter", "the query parameter \"%s\" must be %s", name, expected);
    return err_param(e, name);
}

static int set_parameter(struct query *q, const char *name, const char *value, unsigned takes, struct err *e)
{
    int i = find(name);
    if (i == QUERY_PARAMETERS || !(takes & parameters[i].takes)) {
        err_set(e, "unknown_parameter", "unknown query parameter \"%s\"", name);
        return err_param(e, name);
    }
    if (q->value[i])
        return bad_parameter(e, name, "given once");
    if (!parameters[i].valid(value))
        return bad_parameter(e, name, parameters[i].expected);
    q->value[i] = value;
    return 0;
}

int query_read(struct query *q, unsigned takes, struct err *e)
{
    char *rest = q->text, *name;
    while ((name = strsep(&rest, "&"))) {
        char *value = name + strcspn(name, "=");
        if (*value)
            *value++ = '\0';
        if (decode(name, NAME_BYTES_MAX) != 0 || decode(value, VALUE_BYTES_MAX) != 0)
            return err_set(e, "invalid_parameter",
                           "the query cannot be decoded, or a part of it is too long");
        if ((*name || *value || rest) && set_parameter(q, name, value, takes, e) != 0)
            return -1;
    }
    const char *limit = query_text(q, "limit");
    q->limit = limit ? (size_t)atoi(limit) : takes & QUERY_WHOLE ? PAGE_MAX : PAGE_DEFAULT;
    return 0;
}

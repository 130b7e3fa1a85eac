#include "server/http/route.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "core/base/least.h"
#include "server/base/fields.h"

const struct route_body route_body_none = {.kind = ROUTE_BODY_NONE};
const struct route_body route_body_json = {.kind = ROUTE_BODY_JSON, .bytes_max = JSON_BODY_BYTES_MAX};

static size_t segment_length(const char *text)
{
    return strcspn(text, "/");
}

static bool is_model(const char *pattern)
{
    return strncmp(pattern, "{model}", 7) == 0;
}

static bool take_parameter(const char *pattern, const char *segment, size_t length,
                           char out[ROUTE_PARAMETER_BYTES_MAX + 1])
{
    if (length > ROUTE_PARAMETER_BYTES_MAX)
        return false;
    memcpy(out, segment, length);
    out[length] = '\0';
    if (is_model(pattern))
        return length > 0 && !strchr(out, '%');
    bool version = strncmp(pattern, "{version}", 9) == 0 && strncmp(out, "sha256:", 7) == 0;
    return name_valid(version ? out + 7 : out);
}

static bool path_matches(const char *pattern, const char *path, struct route_match *out)
{
    size_t used = 0;
    while (*pattern == '/' && *path == '/') {
        size_t wanted = segment_length(++pattern), found = segment_length(++path);
        if (is_model(pattern)) /* it comes last, and may have a slash: OWNER/NAME */
            found = strlen(path);
        if (*pattern == '{') {
            if (used == ROUTE_PARAMETERS_MAX || !take_parameter(pattern, path, found, out->parameter[used++]))
                return false;
        } else if (wanted != found || memcmp(pattern, path, wanted) != 0) {
            return false;
        }
        pattern += wanted;
        path += found;
    }
    return !*pattern && !*path;
}

static bool method_matches(const struct route *route, const char *method)
{
    return strcmp(method, route->method) == 0 ||
           (strcmp(method, "HEAD") == 0 && strcmp(route->method, "GET") == 0);
}

static void allow(struct route_match *out, const char *method)
{
    size_t used = strlen(out->allow);
    snprintf(out->allow + used, sizeof out->allow - used, "%s%s%s", used ? ", " : "", method,
             strcmp(method, "GET") == 0 ? ", HEAD" : "");
}

enum route_result route_find(const struct route *routes, size_t count, const char *method, const char *path,
                             struct route_match *out)
{
    *out = (struct route_match){0};
    for (size_t i = 0; i < count; i++) {
        if (!path_matches(routes[i].pattern, path, out))
            continue;
        if (method_matches(&routes[i], method)) {
            out->route = &routes[i];
            out->place = (int)i + 1;
            return ROUTE_FOUND;
        }
        allow(out, routes[i].method);
    }
    return out->allow[0] ? ROUTE_WRONG_METHOD : ROUTE_UNKNOWN;
}

/* ---- what was meant ---- */

enum { NEAR_BYTES_MAX = 64, NEAR_EDITS_MAX = 2 };

static bool leads_somewhere(const struct route *routes, size_t count, const char *path)
{
    struct route_match ignored;
    return route_find(routes, count, "", path, &ignored) == ROUTE_WRONG_METHOD;
}

/* One slash between segments, none at the end, small letters. -1: it is too long to be anything here. */
static int tidy(const char *path, char out[NEAR_BYTES_MAX + 1])
{
    size_t used = 0;
    for (; *path && used < NEAR_BYTES_MAX; path++)
        if (*path != '/' || used == 0 || out[used - 1] != '/')
            out[used++] = (char)tolower((unsigned char)*path);
    while (used > 1 && out[used - 1] == '/')
        used--;
    out[used] = '\0';
    return *path ? -1 : 0;
}

/* Letters to insert, drop or replace. (Wagner and Fischer 1974, one row.) */
static int edits_between(const char *a, const char *b)
{
    int row[NEAR_BYTES_MAX + 1], width = (int)strlen(b);
    for (int j = 0; j <= width; j++)
        row[j] = j;
    for (int i = 1; a[i - 1]; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= width; j++) {
            int above = row[j];
            row[j] = least(least(row[j - 1], above) + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[width];
}

static const char *spelled_nearly(const struct route *routes, size_t count, const char *path)
{
    const char *best = NULL;
    int least_edits = NEAR_EDITS_MAX + 1;
    for (size_t i = 0; i < count; i++) {
        const char *pattern = routes[i].pattern;
        if (strchr(pattern, '{') || strlen(pattern) > NEAR_BYTES_MAX || strlen(pattern) <= 2 * NEAR_EDITS_MAX)
            continue;
        int edits = edits_between(path, pattern);
        if (edits >= least_edits)
            continue;
        least_edits = edits;
        best = pattern;
    }
    return best;
}

bool route_near(const struct route *routes, size_t count, const char *path, char *out, size_t size)
{
    char tidied[NEAR_BYTES_MAX + 1], with[NEAR_BYTES_MAX + 4];
    if (!path[0] || tidy(path, tidied) != 0)
        return false;
    snprintf(with, sizeof with, "/v1%s", tidied);
    const char *without = strncmp(tidied, "/v1/", 4) == 0 ? tidied + 3 : tidied;
    const char *tries[] = {tidied, with, without};
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++)
        if (leads_somewhere(routes, count, tries[i]))
            return snprintf(out, size, "%s", tries[i]) < (int)size;
    const char *nearly = spelled_nearly(routes, count, tidied);
    return nearly && snprintf(out, size, "%s", nearly) < (int)size;
}

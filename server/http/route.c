#include "server/http/route.h"

#include <stdio.h>
#include <string.h>

#include "adapters/types/files.h"
#include "server/base/fields.h"

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
            return ROUTE_FOUND;
        }
        allow(out, routes[i].method);
    }
    return out->allow[0] ? ROUTE_WRONG_METHOD : ROUTE_UNKNOWN;
}

uint64_t route_body_limit(const struct route *route)
{
    /* A form: both files, and room for its other fields, boundaries and part headers. */
    if (route->body == BODY_FORM)
        return ADAPTER_WEIGHTS_BYTES_MAX + ADAPTER_CONFIG_BYTES_MAX + FORM_OVERHEAD_BYTES_MAX;
    return JSON_BODY_BYTES_MAX;
}

#include "server/base/counters.h"

#include <string.h>

/* What reply.c answers with; 0 is a client that left before there was an answer. */
static const struct {
    int status;
    const char *text;
} statuses[COUNTERS_STATUSES] = {{0, "0"},     {200, "200"}, {201, "201"}, {204, "204"}, {304, "304"},
                                 {400, "400"}, {401, "401"}, {403, "403"}, {404, "404"}, {405, "405"},
                                 {409, "409"}, {413, "413"}, {415, "415"}, {422, "422"}, {429, "429"},
                                 {500, "500"}, {501, "501"}, {503, "503"}, {507, "507"}, {-1, "other"}};

const char *counters_status(int i)
{
    return statuses[i].text;
}

static int prefix_length(const struct route *route)
{
    const char *brace = strstr(route->pattern, "/{");
    return brace ? (int)(brace - route->pattern) : (int)strlen(route->pattern);
}

static bool same_class(const struct route *a, const struct route *b)
{
    int length = prefix_length(a);
    return strcmp(a->method, b->method) == 0 && length == prefix_length(b) &&
           memcmp(a->pattern, b->pattern, (size_t)length) == 0;
}

/* The place of its class. */
static int class_of(const struct route *route)
{
    size_t count, i = 0;
    const struct route *routes = routes_all(&count);
    if (!route)
        return 0;
    while (!same_class(&routes[i], route))
        i++;
    return (int)i + 1;
}

bool counters_class(int i, struct counters_class *out)
{
    size_t count;
    const struct route *routes = routes_all(&count);
    *out = (struct counters_class){"other", "other", 5};
    if (i == 0)
        return true;
    if ((size_t)i > count || class_of(&routes[i - 1]) != i)
        return false;
    *out =
        (struct counters_class){routes[i - 1].method, routes[i - 1].pattern, prefix_length(&routes[i - 1])};
    return true;
}

void counters_answer(struct counters *c, const struct route *route, int status, uint64_t us)
{
    int class = class_of(route), i = 0;
    while (i + 1 < COUNTERS_STATUSES && statuses[i].status != status)
        i++;
    counters_add(&c->answers[class][i], 1);
    histogram_add(&c->request_us[class], &histogram_times, us);
}

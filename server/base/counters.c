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

static int prefix_length(const char *pattern)
{
    const char *brace = strstr(pattern, "/{");
    return brace ? (int)(brace - pattern) : (int)strlen(pattern);
}

static bool same_class(const struct counters_class *a, const struct counters_class *b)
{
    return a->prefix && b->prefix && strcmp(a->method, b->method) == 0 &&
           a->prefix_length == b->prefix_length &&
           memcmp(a->prefix, b->prefix, (size_t)a->prefix_length) == 0;
}

void counters_name(struct counters *c, int place, const char *method, const char *pattern)
{
    int first = 1;
    c->classes[place] = (struct counters_class){method, pattern, prefix_length(pattern)};
    while (!same_class(&c->classes[first], &c->classes[place]))
        first++;
    c->class_of[place] = first;
}

bool counters_class(const struct counters *c, int i, struct counters_class *out)
{
    *out = i ? c->classes[i] : (struct counters_class){"other", "other", 5};
    return out->prefix && c->class_of[i] == i;
}

void counters_answer(struct counters *c, int place, int status, uint64_t us)
{
    int class = c->class_of[place], i = 0;
    while (i + 1 < COUNTERS_STATUSES && statuses[i].status != status)
        i++;
    counters_add(&c->answers[class][i], 1);
    histogram_add(&c->request_us[class], &histogram_times, us);
}

#include "core/system/clock.h"

#include <stdio.h>
#include <time.h>

uint64_t clock_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

double clock_ms(void)
{
    return (double)clock_us() / 1000.0;
}

int64_t clock_unix_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void clock_format(int64_t unix_ms, char *out, size_t size)
{
    int rest = (int)(unix_ms % 1000);
    if (rest < 0) /* before 1970: round down */
        rest += 1000;
    time_t seconds = (time_t)(unix_ms / 1000 - (unix_ms % 1000 < 0));
    struct tm tm;
    gmtime_r(&seconds, &tm);
    char day[40] = "";
    strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out, size, "%s.%03dZ", day, rest);
}

/* The digits of `text` where the pattern has a 0; everything else as the pattern has it. */
static bool has_shape(const char *text, const char *pattern)
{
    for (; *pattern; pattern++, text++)
        if (*pattern == '0' ? *text < '0' || *text > '9' : *text != *pattern)
            return false;
    return !*text;
}

bool clock_parse(const char *text, int64_t *unix_ms)
{
    bool fraction = has_shape(text, "0000-00-00T00:00:00.000Z");
    struct tm tm = {0};
    int ms = 0;
    if (!fraction && !has_shape(text, "0000-00-00T00:00:00Z"))
        return false;
    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d.%3d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
               &tm.tm_min, &tm.tm_sec, &ms) < 6)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    struct tm given = tm; /* timegm moves what is out of range */
    int64_t seconds = timegm(&tm);
    if (tm.tm_year != given.tm_year || tm.tm_mon != given.tm_mon || tm.tm_mday != given.tm_mday ||
        tm.tm_hour != given.tm_hour || tm.tm_min != given.tm_min || tm.tm_sec != given.tm_sec)
        return false;
    *unix_ms = seconds * 1000 + ms;
    return true;
}

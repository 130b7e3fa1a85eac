#include "core/base/clock.h"

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

/* Time. Any thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint64_t clock_us(void);     /* monotonic, microseconds */
double clock_ms(void);       /* monotonic, milliseconds */
int64_t clock_unix_ms(void); /* wall clock, milliseconds since 1970 */
/* The other way round; the fraction may be missing. False for anything else, also for days that there are
 * not. */
bool clock_parse(const char *text, int64_t *unix_ms);
/* "2026-01-31T12:00:00.123Z" of a wall-clock time; `out` holds at least 25 bytes. */
void clock_format(int64_t unix_ms, char *out, size_t size);

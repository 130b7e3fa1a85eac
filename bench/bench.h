/* What the benchmarks share: tables as Markdown on standard output, medians, a fast generator, memory of this
 * process. The programs are tools: they end with a message where something fails. One thread. */
#pragma once
#include <stdint.h>
#include <stdnoreturn.h>

#include "core/base/err.h"

noreturn void bench_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Ends the program with the error's message unless `result` is 0. */
void bench_check(int result, const struct err *e);
/* A whole number from `low` to `high` after the option `name`, or the end. */
int bench_number(const char *name, const char *text, int low, int high);
/* "1,8,32" -> numbers, at most `room`; returns how many. */
int bench_numbers(const char *name, const char *text, int *out, int room);

/* ### heading, and a table below it: cells are separated by '|'. */
void bench_table(const char *title, const char *columns);
void bench_row(const char *format, ...) __attribute__((format(printf, 1, 2)));
void bench_note(const char *format, ...) __attribute__((format(printf, 1, 2))); /* a paragraph */

double bench_median(double *values, int count); /* sorts them */
double bench_percentile(double *values, int count, double share);

/* xorshift64* (Vigna 2016). */
struct bench_random {
    uint64_t state; /* not 0 */
};
static inline uint64_t bench_random(struct bench_random *r)
{
    r->state ^= r->state >> 12;
    r->state ^= r->state << 25;
    r->state ^= r->state >> 27;
    return r->state * UINT64_C(2685821657736338717);
}
/* A generator for the `index`-th thing made from `seed`. */
struct bench_random bench_seeded(uint64_t seed, uint64_t index);

/* A field of /proc/self/status ("VmRSS", "RssAnon"), in MiB. */
double bench_memory_mib(const char *field);

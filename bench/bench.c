#include "bench/bench.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS_MAX = 16, ROW_MAX = 1024 };
static int widths[COLUMNS_MAX], column_count;

noreturn void bench_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", program_invocation_short_name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

void bench_check(int result, const struct err *e)
{
    if (result != 0)
        bench_fail("%s: %s", e->code, e->message);
}

int bench_number(const char *name, const char *text, int low, int high)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (end == text || *end || errno || value < low || value > high)
        bench_fail("--%s %s: a number from %d to %d is wanted", name, text, low, high);
    return (int)value;
}

int bench_numbers(const char *name, const char *text, int *out, int room)
{
    int count = 0;
    char copy[256], *rest = copy, *item;
    snprintf(copy, sizeof copy, "%s", text);
    while ((item = strsep(&rest, ","))) {
        if (count == room)
            bench_fail("--%s: at most %d numbers", name, room);
        out[count++] = bench_number(name, item, 1, 1 << 20);
    }
    return count;
}

/* Cells of one row, as wide as their headings at least. */
static void print_row(char *cells)
{
    char *rest = cells, *cell;
    for (int i = 0; (cell = strsep(&rest, "|")) && i < COLUMNS_MAX; i++)
        printf("| %*s ", i == 0 ? -widths[i] : widths[i], cell);
    printf("|\n");
    fflush(stdout);
}

void bench_table(const char *title, const char *columns)
{
    char copy[ROW_MAX], *rest = copy, *cell;
    snprintf(copy, sizeof copy, "%s", columns);
    column_count = 0;
    while ((cell = strsep(&rest, "|")) && column_count < COLUMNS_MAX) {
        int length = (int)strlen(cell), least = column_count == 0 ? 24 : 6;
        widths[column_count++] = length > least ? length : least;
    }
    printf("\n### %s\n\n", title);
    snprintf(copy, sizeof copy, "%s", columns);
    print_row(copy);
    for (int i = 0; i < column_count; i++)
        printf(i == 0 ? "|:%.*s-" : "|-%.*s:", widths[i],
               "------------------------------------------------------------------------------------------");
    printf("|\n");
}

void bench_row(const char *format, ...)
{
    char row[ROW_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(row, sizeof row, format, arguments);
    va_end(arguments);
    print_row(row);
}

void bench_note(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    printf("\n");
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
    fflush(stdout);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_percentile(double *values, int count, double share)
{
    if (count == 0)
        return 0;
    qsort(values, (size_t)count, sizeof *values, by_value);
    int at = (int)(share * (double)count);
    return values[at < count ? at : count - 1];
}

double bench_median(double *values, int count)
{
    double upper = bench_percentile(values, count, 0.5);
    return count > 0 && count % 2 == 0 ? (upper + values[count / 2 - 1]) / 2 : upper;
}

struct bench_random bench_seeded(uint64_t seed, uint64_t index)
{
    struct bench_random r = {(seed + 1) * UINT64_C(0x9E3779B97F4A7C15) ^
                             (index + 1) * UINT64_C(0xBF58476D1CE4E5B9)};
    r.state += r.state == 0;
    for (int i = 0; i < 8; i++)
        bench_random(&r);
    return r;
}

double bench_memory_mib(const char *field)
{
    char line[256];
    size_t length = strlen(field);
    double kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, field, length) == 0 && line[length] == ':')
            kib = strtod(line + length + 1, NULL);
    if (f)
        fclose(f);
    return kib / 1024;
}

#include "cli/training/curve.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { HEIGHT = 12, WIDTH_MAX = 200, LABEL = 9 }; /* LABEL: what stands left of the curve */

int curve_add(struct curve *c, int64_t step, double loss, struct err *e)
{
    if (c->count == c->capacity) {
        size_t capacity = c->capacity ? 2 * c->capacity : 256;
        struct curve_point *points = reallocarray(c->points, capacity, sizeof *points);
        if (!points)
            return err_memory(e);
        c->points = points;
        c->capacity = capacity;
    }
    c->points[c->count++] = (struct curve_point){step, loss};
    return 0;
}

void curve_fini(struct curve *c)
{
    free(c->points);
    *c = (struct curve){0};
}

int curve_terminal_width(void)
{
    struct winsize w;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col >= 40 ? w.ws_col : 80;
}

/* ---- drawing ---- */

struct drawing {
    int width;
    int64_t first, last; /* steps */
    double low, high;
    char cell[HEIGHT][WIDTH_MAX];
};

static void widen(struct drawing *d, const struct curve *c)
{
    for (size_t i = 0; i < c->count; i++) {
        d->first = c->points[i].step < d->first ? c->points[i].step : d->first;
        d->last = c->points[i].step > d->last ? c->points[i].step : d->last;
        d->low = fmin(d->low, c->points[i].loss);
        d->high = fmax(d->high, c->points[i].loss);
    }
}

static int column_of(const struct drawing *d, int64_t step)
{
    return (int)((step - d->first) * (d->width - 1) / (d->last - d->first));
}

static int row_of(const struct drawing *d, double loss)
{
    return d->high > d->low ? (int)lround((d->high - loss) / (d->high - d->low) * (HEIGHT - 1)) : HEIGHT / 2;
}

static void draw(struct drawing *d, const struct curve *c, char mark)
{
    double sum[WIDTH_MAX] = {0};
    int count[WIDTH_MAX] = {0};
    for (size_t i = 0; i < c->count; i++) {
        if (!isfinite(c->points[i].loss))
            continue;
        int column = column_of(d, c->points[i].step);
        sum[column] += c->points[i].loss;
        count[column]++;
    }
    for (int x = 0; x < d->width; x++)
        if (count[x])
            d->cell[row_of(d, sum[x] / count[x])][x] = mark;
}

static void print_rows(FILE *out, const struct drawing *d)
{
    for (int y = 0; y < HEIGHT; y++) {
        bool labelled = y == 0 || y == HEIGHT / 2 || y == HEIGHT - 1;
        int length = d->width;
        while (length > 0 && d->cell[y][length - 1] == ' ')
            length--;
        if (labelled)
            fprintf(out, "%7.4f |", d->high - (d->high - d->low) * y / (HEIGHT - 1));
        else
            fprintf(out, "        |");
        fprintf(out, "%.*s\n", length, d->cell[y]);
    }
}

static void print_steps(FILE *out, const struct drawing *d, bool validated)
{
    char line[WIDTH_MAX + 1];
    memset(line, '-', (size_t)d->width);
    line[d->width] = '\0';
    fprintf(out, "        +%s\n         step %lld to %lld    * training%s\n", line, (long long)d->first,
            (long long)d->last, validated ? "  o validation" : "");
}

void curve_print(FILE *out, const struct curve *training, const struct curve *validation, int width)
{
    struct drawing d = {.first = INT64_MAX, .last = INT64_MIN, .low = INFINITY, .high = -INFINITY};
    d.width = width - LABEL < WIDTH_MAX ? width - LABEL : WIDTH_MAX;
    widen(&d, training);
    widen(&d, validation);
    if (d.first >= d.last || d.width < 2 || !isfinite(d.low) || !isfinite(d.high))
        return;
    memset(d.cell, ' ', sizeof d.cell);
    draw(&d, training, '*');
    draw(&d, validation, 'o');
    print_rows(out, &d);
    print_steps(out, &d, validation->count > 0);
}

#include "cli/lib/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "cli/lib/print.h"
#include "core/system/clock.h"

enum { BAR_WIDTH = 30, REDRAW_MS = 100 };

void progress_begin(struct progress *p)
{
    *p = (struct progress){.shown = isatty(STDERR_FILENO), .began_ms = clock_ms()};
}

static void draw(const struct progress *p, uint64_t sent, uint64_t total, double now)
{
    char bar[BAR_WIDTH + 1], have[PRINT_BYTES_SIZE], all[PRINT_BYTES_SIZE], speed[PRINT_BYTES_SIZE];
    int filled = (int)((double)sent / (double)total * BAR_WIDTH);
    for (int i = 0; i < BAR_WIDTH; i++)
        bar[i] = i < filled ? '#' : '.';
    bar[BAR_WIDTH] = '\0';
    print_bytes((double)sent, have);
    print_bytes((double)total, all);
    print_bytes((double)sent / (now - p->began_ms + 1) * 1000, speed);
    fprintf(stderr, "\r[%s] %3.0f%%  %s of %s  %s", bar, 100 * (double)sent / (double)total, have, all,
            sent < total ? speed : "validating");
    fprintf(stderr, "%s\x1b[K", sent < total ? "/s" : "");
    fflush(stderr);
}

void progress_show(void *arg, uint64_t sent, uint64_t total)
{
    struct progress *p = arg;
    double now = clock_ms();
    if (!p->shown || total == 0 || (p->drawn_ms > 0 && now - p->drawn_ms < REDRAW_MS))
        return;
    p->drawn_ms = now;
    draw(p, sent < total ? sent : total, total, now);
}

void progress_end(struct progress *p)
{
    if (p->drawn_ms > 0)
        fprintf(stderr, "\r\x1b[K");
}

#include "server/base/log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "core/system/clock.h"

enum { LINE_MAX_BYTES = 4096, BATCH_BYTES = PIPE_BUF };
_Static_assert(LINE_MAX_BYTES <= BATCH_BYTES, "a batch holds any line");

static bool json_lines;
static atomic_uint_least64_t dropped_lines;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t arrived, written;
    bool open, writing;
    size_t first, length; /* of whole lines in `bytes`, a ring */
    uint64_t unsaid;      /* lines that were dropped since the log said so last */
    char bytes[LOG_BUFFER_BYTES];
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER,
           .arrived = PTHREAD_COND_INITIALIZER,
           .written = PTHREAD_COND_INITIALIZER};

void log_set_json(bool json)
{
    json_lines = json;
}

/* Paths come from outside: everything that could forge a line or break JSON is escaped, in both formats. */
static void escape(char *out, size_t size, const char *text)
{
    size_t used = 0;
    for (; *text && used + 7 < size; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
            used += (size_t)snprintf(out + used, size - used, "\\u%04x", c);
        else
            out[used++] = (char)c;
    }
    out[used] = '\0';
}

static int format_message(char line[LINE_MAX_BYTES], const char *level, const char *text)
{
    char safe[2048], time[32];
    clock_format(clock_unix_ms(), time, sizeof time);
    if (!json_lines)
        return snprintf(line, LINE_MAX_BYTES, "%s %s: %s", time, level, text);
    escape(safe, sizeof safe, text);
    return snprintf(line, LINE_MAX_BYTES, "{\"time\":\"%s\",\"level\":\"%s\",\"message\":\"%s\"}", time,
                    level, safe);
}

/* The line feed, also of a line that did not fit or could not be printed. */
static size_t finish(char line[LINE_MAX_BYTES], int length)
{
    size_t count = length < 0 ? 0 : length > LINE_MAX_BYTES - 2 ? LINE_MAX_BYTES - 2 : (size_t)length;
    line[count] = '\n';
    return count + 1;
}

/* ---- the lines that wait ---- */

/* Whole lines only: with PIPE_BUF bytes at most in one write, those of several programs do not mix. */
static void write_all(const char *lines, size_t length)
{
    while (length > 0) {
        ssize_t count = write(STDERR_FILENO, lines, length);
        if (count < 0 && errno == EAGAIN) /* somebody else made it so; this thread may wait */
            poll(&(struct pollfd){.fd = STDERR_FILENO, .events = POLLOUT}, 1, -1);
        else if (count < 0 && errno != EINTR)
            return; /* nowhere left to say so */
        else if (count > 0)
            lines += count, length -= (size_t)count;
    }
}

/* As many lines as fit into `out`. */
static size_t take_locked(char out[BATCH_BYTES])
{
    size_t count = queue.length < BATCH_BYTES ? queue.length : BATCH_BYTES;
    for (size_t i = 0; i < count; i++)
        out[i] = queue.bytes[(queue.first + i) % LOG_BUFFER_BYTES];
    while (count > 0 && out[count - 1] != '\n')
        count--;
    queue.first = (queue.first + count) % LOG_BUFFER_BYTES;
    queue.length -= count;
    return count;
}

static void say_dropped(uint64_t count)
{
    char text[100], line[LINE_MAX_BYTES];
    snprintf(text, sizeof text, "%llu lines of the log were dropped here: nobody read it",
             (unsigned long long)count);
    write_all(line, finish(line, format_message(line, "warning", text)));
}

/* Signals are for others. */
static void *write_lines(void *arg)
{
    char lines[BATCH_BYTES];
    sigset_t all;
    (void)arg;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    pthread_mutex_lock(&queue.lock);
    for (;;) {
        while (queue.length == 0 && queue.unsaid == 0) {
            pthread_cond_signal(&queue.written);
            pthread_cond_wait(&queue.arrived, &queue.lock);
        }
        uint64_t dropped = queue.length == 0 ? queue.unsaid : 0;
        size_t count = take_locked(lines);
        if (dropped)
            queue.unsaid = 0;
        queue.writing = true;
        pthread_mutex_unlock(&queue.lock);
        write_all(lines, count);
        if (dropped)
            say_dropped(dropped);
        pthread_mutex_lock(&queue.lock);
        queue.writing = false;
    }
    return NULL;
}

static void push_locked(const char *line, size_t length)
{
    /* Behind a line that was dropped nothing is taken before the log says so. */
    if (queue.unsaid || length > LOG_BUFFER_BYTES - queue.length) {
        queue.unsaid++;
        atomic_fetch_add(&dropped_lines, 1);
        return;
    }
    for (size_t i = 0; i < length; i++)
        queue.bytes[(queue.first + queue.length + i) % LOG_BUFFER_BYTES] = line[i];
    queue.length += length;
}

static void emit(char *line, int length)
{
    size_t count = finish(line, length);
    pthread_mutex_lock(&queue.lock);
    bool open = queue.open;
    if (open) {
        push_locked(line, count);
        pthread_cond_signal(&queue.arrived);
    }
    pthread_mutex_unlock(&queue.lock);
    if (!open)
        write_all(line, count);
}

int log_open(struct err *e)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, write_lines, NULL) != 0)
        return err_set(e, "out_of_memory", "cannot start the thread \"log\"");
    pthread_setname_np(thread, "log");
    pthread_detach(thread); /* it may wait for ever */
    pthread_mutex_lock(&queue.lock);
    queue.open = true;
    pthread_mutex_unlock(&queue.lock);
    return 0;
}

void log_flush(void)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LOG_FLUSH_MS / 1000;
    int waited = 0;
    pthread_mutex_lock(&queue.lock);
    while (queue.open && (queue.length || queue.unsaid || queue.writing) && waited == 0)
        waited = pthread_cond_timedwait(&queue.written, &queue.lock, &until);
    pthread_mutex_unlock(&queue.lock);
}

uint64_t log_dropped(void)
{
    return atomic_load(&dropped_lines);
}

/* ---- lines ---- */

void log_message(const char *level, const char *format, ...)
{
    char text[1024], line[LINE_MAX_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    emit(line, format_message(line, level, text));
}

void log_text(const char *format, ...)
{
    char line[LINE_MAX_BYTES];
    va_list arguments;
    va_start(arguments, format);
    emit(line, vsnprintf(line, sizeof line, format, arguments));
    va_end(arguments);
}

void log_request(const struct log_request *l)
{
    char path[512], method[64], time[32], line[LINE_MAX_BYTES];
    escape(path, sizeof path, l->path);
    escape(method, sizeof method, l->method);
    clock_format(clock_unix_ms(), time, sizeof time);
    const char *before = !l->trace[0] ? ""
                         : json_lines ? ",\"trace_id\":\""
                                      : " trace=",
               *behind = l->trace[0] && json_lines ? "\"" : "";
    const char *form = json_lines ? "{\"time\":\"%s\",\"level\":\"info\",\"method\":\"%s\",\"path\":\"%s\","
                                    "\"status\":%d,\"ms\":%.1f,\"tenant\":\"%s\",\"id\":\"%s\"%s%s%s}"
                                  : "%s %s %s %d %.1fms tenant=%s id=%s%s%s%s";
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    emit(line, snprintf(line, sizeof line, form, time, method, path, l->status, l->ms, l->tenant, l->id,
                        before, l->trace, behind));
#pragma GCC diagnostic pop
}

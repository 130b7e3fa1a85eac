#include "server/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "core/system/clock.h"

enum { LINE_MAX_BYTES = 4096 };

static bool json_lines;

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

/* One write per line, so that lines of several threads do not mix. */
static void emit(char *line, int length)
{
    if (length < 0)
        return;
    if (length > LINE_MAX_BYTES - 2)
        length = LINE_MAX_BYTES - 2;
    line[length++] = '\n';
    if (write(STDERR_FILENO, line, (size_t)length) < 0)
        return; /* nowhere left to say so */
}

void log_message(const char *level, const char *format, ...)
{
    char text[1024], safe[2048], time[32], line[LINE_MAX_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    clock_format(clock_unix_ms(), time, sizeof time);
    if (!json_lines) {
        emit(line, snprintf(line, sizeof line, "%s %s: %s", time, level, text));
        return;
    }
    escape(safe, sizeof safe, text);
    emit(line, snprintf(line, sizeof line, "{\"time\":\"%s\",\"level\":\"%s\",\"message\":\"%s\"}", time,
                        level, safe));
}

void log_request(const struct log_request *l)
{
    char path[512], method[64], time[32], line[LINE_MAX_BYTES];
    escape(path, sizeof path, l->path);
    escape(method, sizeof method, l->method);
    clock_format(clock_unix_ms(), time, sizeof time);
    const char *form = json_lines ? "{\"time\":\"%s\",\"level\":\"info\",\"method\":\"%s\",\"path\":\"%s\","
                                    "\"status\":%d,\"ms\":%.1f,\"tenant\":\"%s\",\"id\":\"%s\"}"
                                  : "%s %s %s %d %.1fms tenant=%s id=%s";
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    emit(line, snprintf(line, sizeof line, form, time, method, path, l->status, l->ms, l->tenant, l->id));
#pragma GCC diagnostic pop
}

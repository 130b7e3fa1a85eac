#include "cli/lib/print.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The length of the UTF-8 character at `s` and its code point; 0 when there is none. */
static size_t decode(const unsigned char *s, size_t length, uint32_t *point)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t size = s[0] < 0x80                   ? 1
                  : s[0] >= 0xC2 && s[0] < 0xE0 ? 2
                  : (s[0] & 0xF0) == 0xE0       ? 3
                  : s[0] >= 0xF0 && s[0] < 0xF5 ? 4
                                                : 0;
    if (size == 0 || size > length)
        return 0;
    uint32_t c = size == 1 ? s[0] : s[0] & (0x7Fu >> size);
    for (size_t i = 1; i < size; i++) {
        if ((s[i] & 0xC0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3F);
    }
    if (c < smallest[size] || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000))
        return 0;
    *point = c;
    return size;
}

static int steers_terminal(uint32_t c)
{
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x200E || c == 0x200F || c == 0x061C ||
           (c >= 0x2028 && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
}

void print_text(FILE *out, const char *text, size_t length, int lines)
{
    const unsigned char *s = (const unsigned char *)text;
    while (length > 0) {
        uint32_t c = 0;
        size_t size = decode(s, length, &c);
        if (size == 0)
            fprintf(out, "\\x%02x", s[0]);
        else if (steers_terminal(c) && !(lines && (c == '\n' || c == '\t')))
            fprintf(out, "\\u%04x", c);
        else
            fwrite(s, 1, size, out);
        s += size ? size : 1;
        length -= size ? size : 1;
    }
}

void print_output(FILE *out, const char *text, size_t length)
{
    if (isatty(fileno(out)))
        print_text(out, text, length, 1);
    else
        fwrite(text, 1, length, out);
}

void print_answer(const struct answer *a)
{
    print_output(stdout, a->body.data ? a->body.data : "", a->body.length);
    if (a->body.length && a->body.data[a->body.length - 1] != '\n')
        putchar('\n');
}

int print_json(const json_t *value, struct err *e)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    if (!text)
        return err_memory(e);
    print_output(stdout, text, strlen(text));
    putchar('\n');
    free(text);
    return 0;
}

/* ---- CSV ---- */

static void print_csv_text(const char *text, size_t length)
{
    putchar('"');
    if (length && strchr("=+-@\t\r", text[0]))
        putchar('\'');
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '"')
            putchar('"');
        putchar(text[i]);
    }
    putchar('"');
}

static int print_csv_value(const json_t *value, struct err *e)
{
    if (json_is_string(value)) {
        print_csv_text(json_string_value(value), json_string_length(value));
        return 0;
    }
    if (!value || json_is_null(value)) {
        printf("\"\"");
        return 0;
    }
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    if (!text)
        return err_memory(e);
    printf("\"%s\"", text);
    free(text);
    return 0;
}

int print_csv(const json_t *rows, const char *const *members, size_t count, struct err *e)
{
    size_t i;
    const json_t *row;
    for (size_t c = 0; c < count; c++)
        printf("%s\"%s\"", c ? "," : "", members[c]);
    printf("\r\n");
    json_array_foreach(rows, i, row)
    {
        for (size_t c = 0; c < count; c++) {
            if (c)
                putchar(',');
            if (print_csv_value(json_object_get(row, members[c]), e) != 0)
                return -1;
        }
        printf("\r\n");
    }
    return 0;
}

/* ---- tables ---- */

void table_init(struct table *t, const char *titles)
{
    *t = (struct table){0};
    while (*titles) {
        char title[32];
        size_t length = strcspn(titles, "|");
        snprintf(title, sizeof title, "%.*s", (int)length, titles);
        table_add(t, title);
        t->columns++;
        titles += length + (titles[length] == '|');
    }
}

static char *safe_copy(const char *text, size_t length)
{
    char *copy = NULL;
    size_t size;
    FILE *memory = open_memstream(&copy, &size);
    if (!memory)
        return NULL;
    print_text(memory, text, length, 0);
    if (fclose(memory) == 0)
        return copy;
    free(copy);
    return NULL;
}

void table_add(struct table *t, const char *text)
{
    if (t->count == t->capacity) {
        size_t capacity = t->capacity ? 2 * t->capacity : 64;
        char **cell = realloc(t->cell, capacity * sizeof *cell);
        if (!cell) {
            t->failed = 1;
            return;
        }
        t->cell = cell;
        t->capacity = capacity;
    }
    text = text && *text ? text : "-";
    char *copy = safe_copy(text, strlen(text));
    if (copy)
        t->cell[t->count++] = copy;
    else
        t->failed = 1;
}

void table_add_member(struct table *t, const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    char number[32];
    if (json_is_integer(value))
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        snprintf(number, sizeof number, "%.4g", json_real_value(value));
    else if (json_is_boolean(value))
        snprintf(number, sizeof number, "%s", json_is_true(value) ? "yes" : "no");
    else
        number[0] = '\0';
    table_add(t, json_is_string(value) ? json_string_value(value) : number);
}

void table_add_digest(struct table *t, const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    char digest[20];
    snprintf(digest, sizeof digest, "%s", text ? text : "");
    table_add(t, digest);
}

void table_add_bytes(struct table *t, const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    char text[PRINT_BYTES_SIZE] = "";
    if (json_is_number(value))
        print_bytes(json_number_value(value), text);
    table_add(t, text);
}

void table_add_time(struct table *t, const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    char time[24];
    snprintf(time, sizeof time, "%s", text ? text : "");
    char *fraction = strchr(time, '.');
    if (fraction)
        strcpy(fraction, "Z");
    table_add(t, time);
}

/* Characters, not bytes; good enough without the locale's tables. */
static size_t width_of(const char *text)
{
    size_t width = 0;
    for (; *text; text++)
        width += (*text & 0xC0) != 0x80;
    return width;
}

static void print_row(const struct table *t, const size_t *width, size_t row)
{
    for (size_t c = 0; c < t->columns; c++) {
        const char *text = t->cell[row * t->columns + c], *title = t->cell[c];
        int right = title[0] == '>', last = c + 1 == t->columns;
        const char *shown = row == 0 && right ? text + 1 : text;
        int pad = (int)(width[c] - width_of(shown));
        printf("%*s%s%*s%s", right ? pad : 0, "", shown, right || last ? 0 : pad, "", last ? "\n" : "  ");
    }
}

int table_print(struct table *t, struct err *e)
{
    size_t width[TABLE_COLUMNS_MAX] = {0};
    int failed = t->failed || t->columns > TABLE_COLUMNS_MAX;
    for (size_t i = 0; !failed && i < t->count; i++) {
        size_t w = width_of(t->cell[i]) - (i < t->columns && t->cell[i][0] == '>');
        if (w > width[i % t->columns])
            width[i % t->columns] = w;
    }
    for (size_t row = 0; !failed && row < t->count / t->columns; row++)
        print_row(t, width, row);
    table_fini(t);
    return failed ? err_memory(e) : 0;
}

void table_fini(struct table *t)
{
    for (size_t i = 0; i < t->count; i++)
        free(t->cell[i]);
    free(t->cell);
    *t = (struct table){0};
}

void print_bytes(double bytes, char out[PRINT_BYTES_SIZE])
{
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t u = 0;
    for (; bytes >= 1024 && u < 4; u++)
        bytes /= 1024;
    snprintf(out, PRINT_BYTES_SIZE, u ? "%.1f %s" : "%.0f %s", bytes, unit[u]);
}

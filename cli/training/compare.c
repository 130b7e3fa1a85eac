#include "cli/training/compare.h"

#include <string.h>

#include "cli/lib/print.h"
#include "core/base/utf8.h"

enum { PROMPT_BYTES = 240 };

/* Characters, as a terminal counts most of them. */
static int characters(const char *text, size_t length)
{
    int count = 0;
    for (size_t i = 0; i < length; i++)
        count += ((unsigned char)text[i] & 0xC0) != 0x80;
    return count;
}

/* The end of what fits into `width` characters: at a line's end, else behind a space, else anywhere. */
static size_t line_length(const char *text, size_t length, int width)
{
    size_t space = 0, i = 0;
    for (int used = 0; i < length && text[i] != '\n'; i += utf8_size(text[i]), used++) {
        if (used == width)
            return space ? space : i;
        if (text[i] == ' ')
            space = i + 1;
    }
    return i;
}

struct column {
    const char *text;
    size_t length;
};

/* One line of it, padded; what follows stays for the next. */
static void print_line(FILE *out, struct column *c, int width, int pad)
{
    size_t length = line_length(c->text, c->length, width);
    print_text(out, c->text, length, 0);
    for (int i = characters(c->text, length); pad && i < width; i++)
        fputc(' ', out);
    c->text += length;
    c->length -= length;
    if (c->length > 0 && *c->text == '\n') {
        c->text++;
        c->length--;
    }
}

static struct column column_of(const json_t *sample, const char *name)
{
    const json_t *text = json_object_get(sample, name);
    const char *bytes = json_string_value(text);
    return (struct column){bytes ? bytes : "", bytes ? json_string_length(text) : 0};
}

static void print_block(FILE *out, const char *title, struct column c, int width)
{
    fprintf(out, "%s\n", title);
    while (c.length > 0) {
        fputs("  ", out);
        print_line(out, &c, width - 2, 0);
        fputc('\n', out);
    }
}

static void print_sample(FILE *out, const json_t *sample, const char *name, int width)
{
    struct column prompt = column_of(sample, "prompt"), base = column_of(sample, "base"),
                  adapter = column_of(sample, "adapter"), title = {"base", 4}, own = {name, strlen(name)};
    if (prompt.length > PROMPT_BYTES) { /* its end says most */
        size_t cut = utf8_before(prompt.text, prompt.length - PROMPT_BYTES + 1);
        prompt.text += cut;
        prompt.length -= cut;
    }
    int half = (width - 3) / 2;
    print_block(out, "prompt", prompt, width);
    print_block(out, "expected", column_of(sample, "expected"), width);
    print_line(out, &title, half, 1);
    fputs(" | ", out);
    print_line(out, &own, half, 0);
    fputc('\n', out);
    while (base.length > 0 || adapter.length > 0) {
        print_line(out, &base, half, 1);
        fputs(" | ", out);
        print_line(out, &adapter, half, 0);
        fputc('\n', out);
    }
}

void compare_print(FILE *out, const json_t *samples, const char *name, int width)
{
    size_t i;
    const json_t *sample;
    json_array_foreach(samples, i, sample)
    {
        fputc('\n', out);
        print_sample(out, sample, name, width);
    }
}

#include "cli/lib/args.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const struct option args_global_options[] = {
    {"--url", "URL", "the daemon's address (default: $ADAPTERD_URL, or http://127.0.0.1:8080)", 0},
    {"--key-file", "FILE", "read the API key from FILE (default: the key in $ADAPTERD_KEY)", 0},
    {"--json", NULL, "print the daemon's JSON", 0},
    {"--help", NULL, "show this help", 0},
    {"--version", NULL, "show the version", 0},
    {0},
};

static const struct option *find_option(const struct option *list, const char *name, size_t length)
{
    for (; list && list->name; list++)
        if (strlen(list->name) == length && memcmp(list->name, name, length) == 0)
            return list;
    return NULL;
}

static int is_group(const struct command *commands, const char *word)
{
    for (; commands->group; commands++)
        if (commands->name && strcmp(commands->group, word) == 0)
            return 1;
    return 0;
}

static const struct command *find_command(const struct command *commands, const char *group, const char *name)
{
    for (; commands->group; commands++)
        if (strcmp(commands->group, group) == 0 &&
            (commands->name ? name && strcmp(commands->name, name) == 0 : !name))
            return commands;
    return NULL;
}

static int take_word(struct args *a, const struct command *commands, const char *word, struct err *e)
{
    if (a->command) {
        if (a->operand_count >= a->command->operand_count)
            return err_set(e, "usage", "unexpected argument \"%s\"", word);
        a->operand[a->operand_count++] = word;
        return 0;
    }
    if (a->group) {
        a->command = find_command(commands, a->group, word);
        return a->command ? 0 : err_set(e, "usage", "unknown command \"%s\"", word);
    }
    a->command = find_command(commands, word, NULL);
    if (!a->command && !is_group(commands, word))
        return err_set(e, "usage", "unknown command \"%s\"", word);
    a->group = word;
    return 0;
}

static size_t values_of(const struct option *o)
{
    return !o->value ? 0 : strchr(o->value, ' ') ? 2 : 1;
}

/* Takes argv[*at] and its values; leaves *at on the last of them. */
static int take_option(struct args *a, int argc, char **argv, int *at, struct err *e)
{
    const char *word = strcmp(argv[*at], "-h") == 0 ? "--help" : argv[*at];
    size_t length = strcspn(word, "=");
    const char *attached = word[length] ? word + length + 1 : NULL;
    const struct option *o = find_option(args_global_options, word, length);
    if (!o && a->command)
        o = find_option(a->command->options, word, length);
    if (!o)
        return err_set(e, "usage", "unknown option \"%s\"", word);
    if (!o->repeats && args_get(a, o->name) && o->value)
        return err_set(e, "usage", "option %s is given twice", o->name);
    if (a->given_count == ARGS_OPTIONS_MAX)
        return err_set(e, "usage", "too many options at %s", o->name);
    size_t values = values_of(o);
    if (attached && values != 1)
        return err_set(e, "usage", "option %s does not take a value after \"=\"", o->name);
    struct given *g = &a->given[a->given_count++];
    *g = (struct given){o, {attached, NULL}};
    for (size_t i = attached ? 1 : 0; i < values; i++) {
        if (++*at >= argc)
            return err_set(e, "usage", "option %s needs %s", o->name, values == 2 ? "two values" : "a value");
        g->value[i] = argv[*at];
    }
    return 0;
}

static int parse(struct args *a, const struct command *commands, int argc, char **argv, struct err *e)
{
    int words_only = 0;
    for (int i = 1; i < argc; i++) {
        if (!words_only && strcmp(argv[i], "--") == 0)
            words_only = 1;
        else if (words_only || argv[i][0] != '-' || !argv[i][1] ? take_word(a, commands, argv[i], e)
                                                                : take_option(a, argc, argv, &i, e))
            return -1;
    }
    return 0;
}

static int check_complete(const struct args *a, struct err *e)
{
    if (args_get(a, "--help") || args_get(a, "--version"))
        return 0;
    if (!a->group)
        return err_set(e, "usage", "no command given");
    if (!a->command)
        return err_set(e, "usage", "which of the \"%s\" commands?", a->group);
    if (a->operand_count < a->command->operand_count)
        return err_set(e, "usage", "missing argument: %s", a->command->operands);
    return 0;
}

int args_parse(struct args *a, const struct command *commands, int argc, char **argv, struct err *e)
{
    *a = (struct args){0};
    if (parse(a, commands, argc, argv, e) == 0 && check_complete(a, e) == 0)
        return 0;
    return err_hint(e, "adapterctl --help lists the commands and their options");
}

const char *args_get(const struct args *a, const char *name)
{
    for (size_t i = 0; i < a->given_count; i++)
        if (strcmp(a->given[i].option->name, name) == 0)
            return a->given[i].value[0] ? a->given[i].value[0] : name;
    return NULL;
}

int args_integer(const struct args *a, const char *name, long long low, long long high, int *found,
                 long long *out, struct err *e)
{
    const char *text = args_get(a, name);
    char *end;
    *found = text != NULL;
    if (!text)
        return 0;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno || value < low || value > high) {
        err_set(e, "usage", "%s must be a whole number from %lld to %lld, not \"%s\"", name, low, high, text);
        return -1;
    }
    *out = value;
    return 0;
}

int args_number(const struct args *a, const char *name, int *found, double *out, struct err *e)
{
    const char *text = args_get(a, name);
    char *end;
    *found = text != NULL;
    if (!text)
        return 0;
    double value = strtod(text, &end);
    if (end == text || *end || !isfinite(value))
        return err_set(e, "usage", "%s must be a number, not \"%s\"", name, text);
    *out = value;
    return 0;
}

static void print_options(const struct option *list, FILE *out)
{
    for (; list && list->name; list++) {
        char left[48];
        snprintf(left, sizeof left, "%s%s%s", list->name, list->value ? " " : "",
                 list->value ? list->value : "");
        fprintf(out, "  %-26s  %s%s\n", left, list->help, list->repeats ? " (may be repeated)" : "");
    }
}

static void command_title(const struct command *c, char *out, size_t size)
{
    snprintf(out, size, "%s%s%s%s%s", c->group, c->name ? " " : "", c->name ? c->name : "",
             c->operands ? " " : "", c->operands ? c->operands : "");
}

static void help_command(const struct command *c, FILE *out)
{
    char title[96];
    command_title(c, title, sizeof title);
    fprintf(out, "usage: adapterctl [OPTIONS] %s\n\n%s.\n", title, c->summary);
    if (c->details)
        fprintf(out, "%s", c->details);
    fprintf(out, "\noptions:\n");
    print_options(c->options, out);
    print_options(args_global_options, out);
}

void args_help(const struct args *a, const struct command *commands, FILE *out)
{
    if (a->command) {
        help_command(a->command, out);
        return;
    }
    fprintf(out, "usage: adapterctl [--url URL] [--key-file FILE] [--json] COMMAND\n\n"
                 "Administers an adapterd daemon and runs requests on it, over HTTP.\n\ncommands:\n");
    for (; commands->group; commands++) {
        char title[96];
        command_title(commands, title, sizeof title);
        if (!a->group || strcmp(a->group, commands->group) == 0)
            fprintf(out, "  %-31s  %s\n", title, commands->summary);
    }
    fprintf(out, "\noptions of every command:\n");
    print_options(args_global_options, out);
    fprintf(
        out,
        "\nadapterctl COMMAND --help shows a command's options. Exit status: 0 done, 1 refused or failed, "
        "2 wrong usage.\n");
}

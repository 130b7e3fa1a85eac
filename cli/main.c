/* adapterctl: the admin's tool. Talks HTTP to the daemon and never opens its files. */
#include <stdlib.h>
#include <string.h>

#include "cli/lib/commands.h"
#include "cli/lib/interrupt.h"
#include "core/system/file.h"

enum { KEY_FILE_BYTES_MAX = 4096, EXIT_USAGE = 2 };

/* Returns the exit status. */
static int report(const struct err *e)
{
    int usage = strcmp(e->code, "usage") == 0;
    fprintf(stderr, "adapterctl: ");
    print_text(stderr, e->message, strlen(e->message), 0);
    if (!usage) {
        fprintf(stderr, " (");
        print_text(stderr, e->code, strlen(e->code), 0);
        fprintf(stderr, ")");
    }
    fprintf(stderr, "\n");
    if (e->hint[0]) {
        fprintf(stderr, "hint: ");
        print_text(stderr, e->hint, strlen(e->hint), 0);
        fprintf(stderr, "\n");
    }
    return usage ? EXIT_USAGE : EXIT_FAILURE;
}

/* The file's first key: the first word of the first line that has one and is no comment. */
static int read_key_file(const char *path, struct buf *text, const char **key, struct err *e)
{
    char *rest;
    *key = NULL;
    if (file_read(path, KEY_FILE_BYTES_MAX, text, e) != 0)
        return -1;
    int whole = text->data && strlen(text->data) == text->length;
    for (char *line = whole ? strtok_r(text->data, "\r\n", &rest) : NULL; line && !*key;
         line = strtok_r(NULL, "\r\n", &rest)) {
        line += strspn(line, " \t");
        line[strcspn(line, " \t")] = '\0';
        if (*line && *line != '#')
            *key = line;
    }
    return *key ? 0 : err_set(e, "usage", "%s holds no key", path);
}

static int open_client(struct client **out, const struct args *a, struct err *e)
{
    const char *url = args_get(a, "--url"), *file = args_get(a, "--key-file");
    const char *key = getenv("ADAPTERD_KEY");
    struct buf text = {0};
    if (!url)
        url = getenv("ADAPTERD_URL");
    if (!url || !*url)
        url = "http://127.0.0.1:8080";
    int result = file ? read_key_file(file, &text, &key, e) : 0;
    if (result == 0)
        result = client_open(out, url, key && *key ? key : NULL, e);
    buf_fini(&text);
    return result;
}

/* What was printed has arrived: a full disk is not a success. */
static int flush(struct err *e)
{
    return fflush(stdout) == 0 && !ferror(stdout) ? 0
                                                  : err_set(e, "io_error", "cannot write to standard output");
}

static int run_command(const struct args *a)
{
    struct context c = {.json = args_get(a, "--json") != NULL};
    struct err e;
    if (open_client(&c.client, a, &e) != 0)
        return report(&e);
    int status = EXIT_SUCCESS;
    if (a->command->run(&c, a, &e) != 0 || flush(&e) != 0)
        status = report(&e); /* before closing: the daemon's code lives in the client */
    client_close(c.client);
    interrupt_pass_on();
    return status;
}

int main(int argc, char **argv)
{
    struct args a;
    struct err e;
    if (args_parse(&a, commands, argc, argv, &e) != 0)
        return report(&e);
    if (args_get(&a, "--help"))
        args_help(&a, commands, stdout);
    else if (args_get(&a, "--version"))
        printf("adapterctl %s\n", ADAPTERD_VERSION);
    else
        return run_command(&a);
    return flush(&e) == 0 ? EXIT_SUCCESS : report(&e);
}

/* The command line: commands and options as tables, parsed and printed as help from the same tables.
 * The caller's storage; holds pointers into argv. Never talks to the daemon. */
#pragma once
#include <stddef.h>
#include <stdio.h>

#include "core/base/err.h"

enum { ARGS_OPTIONS_MAX = 64, ARGS_OPERANDS_MAX = 2 };

struct option {
    const char *name;  /* "--max-tokens" */
    const char *value; /* what follows, for the help: "N"; NULL: nothing; "ROLE TEXT": two values */
    const char *help;
    int repeats; /* may be given more than once */
};

struct context;
struct args;

struct command {
    const char *group, *name;     /* "adapters", "upload"; the name is NULL for a command of one word */
    const char *operands;         /* for the help: "DIR" */
    int operand_count;            /* exactly so many */
    const char *summary;          /* one line */
    const char *details;          /* more lines for the command's own help, or NULL */
    const struct option *options; /* ends with a NULL name */
    int (*run)(struct context *c, const struct args *a, struct err *e);
};

struct given {
    const struct option *option;
    const char *value[2];
};

struct args {
    const struct command *command; /* NULL: none was named */
    const char *group;             /* for the help of a group; or NULL */
    struct given given[ARGS_OPTIONS_MAX];
    size_t given_count;
    const char *operand[ARGS_OPERANDS_MAX];
    int operand_count;
};

/* The options that every command takes. */
extern const struct option args_global_options[];

/* Global options may stand anywhere. Errors have the code "usage". With --help or --version among the
 * options, what else is missing is no error. */
MUST_USE int args_parse(struct args *a, const struct command *commands, int argc, char **argv, struct err *e);
/* The value of an option (of a flag: its name); NULL when it was not given. */
const char *args_get(const struct args *a, const char *name);
/* Numbers within bounds; *found tells whether the option was given. Error code "usage". */
MUST_USE int args_integer(const struct args *a, const char *name, long long low, long long high, int *found,
                          long long *out, struct err *e);
MUST_USE int args_number(const struct args *a, const char *name, int *found, double *out, struct err *e);

/* All commands, those of one group, or one command with its options: whatever was named. */
void args_help(const struct args *a, const struct command *commands, FILE *out);

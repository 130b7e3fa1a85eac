#include "cli/lib/confirm.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/lib/print.h"

bool confirm_possible(void)
{
    return isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
}

int confirm(const char *question, struct err *e)
{
    char line[16] = "";
    print_text(stderr, question, strlen(question), 0);
    fputs(" [y/N] ", stderr);
    fflush(stderr);
    if (!fgets(line, sizeof line, stdin))
        fputs("\n", stderr);
    line[strcspn(line, "\n")] = '\0';
    if (strcasecmp(line, "y") == 0 || strcasecmp(line, "yes") == 0)
        return 0;
    err_set(e, "not_confirmed", "nothing was done");
    return err_hint(e, "answer y, or give --yes where nobody is asked");
}

#include "cli/lib/interrupt.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t came;

static void remember(int number)
{
    came = number;
}

void interrupt_catch(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction before, action = {.sa_handler = remember};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(numbers[i], &action, NULL);
}

int interrupt_check(struct err *e)
{
    return came ? err_set(e, "interrupted", "interrupted; what was begun is put away") : 0;
}

void interrupt_pass_on(void)
{
    if (!came)
        return;
    signal(came, SIG_DFL);
    raise(came);
}

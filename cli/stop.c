/* stop.c -- Ctrl-C and SIGTERM: the first asks, the second ends. */
#include "cli/stop.h"

#include "cli/output.h"

#include <signal.h>
#include <string.h>

static volatile sig_atomic_t asked;

static void note(int number)
{
    asked = number;
}

/* A signal that the parent had ignored (nohup, a shell's background job) stays ignored. */
static void take(int number, const struct sigaction *action)
{
    struct sigaction before;
    if (sigaction(number, NULL, &before) == 0 && before.sa_handler != SIG_IGN) sigaction(number, action, NULL);
}

void cli_stop_prepare(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = note;
    action.sa_flags = (int)(SA_RESTART | SA_RESETHAND); /* the second one finds the ordinary effect */
    sigemptyset(&action.sa_mask);
    take(SIGINT, &action);
    take(SIGTERM, &action);
}

bool cli_stop_asked(void)
{
    return asked != 0;
}

int cli_stop_code(void)
{
    return asked ? CLI_EXIT_SIGNAL + (int)asked : 0;
}

#include "cmd/cmd.h"

#include <signal.h>
#include <unistd.h>

static volatile sig_atomic_t got;

static void on_signal(int number)
{
    static const char text[] =
        "\nencrypt: stopping at the next safe point; once more stops at once "
        "(both can be resumed)\n";
    got = number;
    ssize_t ignored = write(STDERR_FILENO, text, sizeof(text) - 1);
    (void)ignored;
}

/* abort() goes on behind it: SA_RESETHAND. */
static void on_abort(int number)
{
    static const char text[] =
        "\nencrypt: aborted: no memory was left, or this is a defect of encrypt; what was begun is "
        "recorded: the command `resume` goes on with it\n";
    (void)number;
    ssize_t ignored = write(STDERR_FILENO, text, sizeof(text) - 1);
    (void)ignored;
}

void signals_install(void)
{
    /* SA_RESETHAND: the second one has its default effect, and ends the process. */
    struct sigaction a = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND | SA_RESTART};
    sigemptyset(&a.sa_mask);
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
    struct sigaction aborted = {.sa_handler = on_abort, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGABRT, &aborted, NULL);
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignore, NULL);
}

_Bool signals_stop(void *ctx)
{
    (void)ctx;
    return got != 0;
}

int signals_exit_code(void)
{
    return got == SIGTERM ? ENCRYPT_TERMINATED : ENCRYPT_INTERRUPTED;
}

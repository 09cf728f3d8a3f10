#include "base/printable.h"
#include "cmd/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

/* False where the user wants to stop. The signals are let in here only: none is missed, and none
 * ends the process while the echo is off. */
static _Bool wait_for_input(int tty, const sigset_t *mask)
{
    while (!signals_stop(NULL)) {
        struct pollfd p = {.fd = tty, .events = POLLIN};
        int rc = ppoll(&p, 1, NULL, mask);
        if (rc > 0 || (rc < 0 && errno != EINTR))
            return 1;
    }
    return 0;
}

char *ask_secret(void *ctx, const char *prompt)
{
    (void)ctx;
    int tty CLEANUP(cleanup_fd) = open("/dev/tty", O_RDWR | O_CLOEXEC);
    struct termios before;
    if (tty < 0 || tcgetattr(tty, &before) < 0 || signals_stop(NULL))
        return NULL;
    sigset_t stops, mask;
    sigemptyset(&stops);
    sigaddset(&stops, SIGINT);
    sigaddset(&stops, SIGTERM);
    sigprocmask(SIG_BLOCK, &stops, &mask);
    struct termios silent = before;
    silent.c_lflag &= ~(tcflag_t)ECHO;
    silent.c_cc[VQUIT] = silent.c_cc[VSUSP] = _POSIX_VDISABLE;
    tcsetattr(tty, TCSAFLUSH, &silent);
    char *shown CLEANUP(cleanup_mem) = make_printable(prompt);
    dprintf(tty, "%s", shown);

    char line[1024];
    size_t len = 0;
    _Bool ended = 0, stopped = 0;
    while (!ended && !stopped && len < sizeof(line)) {
        stopped = !wait_for_input(tty, &mask);
        if (stopped)
            break;
        ssize_t n = read(tty, line + len, 1);
        if (n < 0 && errno == EINTR)
            continue;
        ended = n <= 0 || line[len] == '\n';
        len += !ended;
    }
    tcsetattr(tty, TCSAFLUSH, &before);
    if (!stopped)
        dprintf(tty, "\n");
    sigprocmask(SIG_SETMASK, &mask, NULL);
    char *text = stopped ? NULL : mem_strndup(line, len);
    explicit_bzero(line, sizeof(line));
    return text;
}

int ask_yes_or_no(void *ctx, const char *question)
{
    const struct command_line *l = ctx;
    char *shown CLEANUP(cleanup_mem) = make_printable(question);
    if (l->yes)
        return 1;
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return 0;
    sigset_t stops, mask;
    sigemptyset(&stops);
    sigaddset(&stops, SIGINT);
    sigaddset(&stops, SIGTERM);
    sigprocmask(SIG_BLOCK, &stops, &mask);
    int answer = 0;
    _Bool ended = 0;
    while (!answer && !ended) {
        char line[64];
        fprintf(stderr, "%s [yes/no] ", shown);
        ssize_t n =
            wait_for_input(STDIN_FILENO, &mask) ? read(STDIN_FILENO, line, sizeof(line)) : 0;
        ended = n <= 0;
        answer = n > 0 && (line[0] == 'y' || line[0] == 'Y')   ? 1
                 : n > 0 && (line[0] == 'n' || line[0] == 'N') ? -1
                                                               : 0;
    }
    sigprocmask(SIG_SETMASK, &mask, NULL);
    return answer;
}

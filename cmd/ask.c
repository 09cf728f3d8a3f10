#include "cmd/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

char *ask_secret(void *ctx, const char *prompt)
{
    (void)ctx;
    int tty CLEANUP(cleanup_fd) = open("/dev/tty", O_RDWR | O_CLOEXEC);
    struct termios before;
    if (tty < 0 || tcgetattr(tty, &before) < 0)
        return NULL;
    struct termios silent = before;
    silent.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(tty, TCSAFLUSH, &silent);
    dprintf(tty, "%s", prompt);

    char line[1024];
    size_t len = 0;
    _Bool ended = 0;
    while (!ended && len < sizeof(line)) {
        ssize_t n = read(tty, line + len, 1);
        if (n < 0 && errno == EINTR)
            continue;
        ended = n <= 0 || line[len] == '\n';
        len += !ended;
    }
    tcsetattr(tty, TCSAFLUSH, &before);
    dprintf(tty, "\n");
    char *text = mem_strndup(line, len);
    explicit_bzero(line, sizeof(line));
    return text;
}

/* The rotation a stage at a time, in the words of `rke2 secrets-encrypt`. */
#include "base/file.h"
#include "cmd/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef int engine_fn(const struct encrypt_options *, struct encrypt_report *,
                      struct encrypt_error *);

static int staged(struct command_line *l, engine_fn *engine, const char *command)
{
    struct encrypt_error err CLEANUP(encrypt_error_clear) = {0};
    struct encrypt_report report;
    if (engine(&l->options, &report, &err) < 0)
        return report_error(l, &err);
    return report_stage(l, &report, command);
}

int cmd_prepare(struct command_line *l)
{
    return staged(l, encrypt_prepare, "prepare");
}

int cmd_rotate(struct command_line *l)
{
    return staged(l, encrypt_rotate, "rotate");
}

int cmd_restart(struct command_line *l)
{
    return staged(l, encrypt_restart, "restart");
}

/* In the background. The child is a child as long as it may refuse, or ask; what it does when it
 * has begun to rewrite goes into a file of its own. */

static int open_log(const struct command_line *l)
{
    int fd = open(l->background.log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || nothing < 0)
        return -1;
    fflush(stdout);
    fflush(stderr);
    if (dup2(nothing, STDIN_FILENO) < 0 || dup2(fd, STDOUT_FILENO) < 0 ||
        dup2(fd, STDERR_FILENO) < 0)
        return -1;
    close(fd);
    close(nothing);
    char now[32] = "";
    time_t seconds = time(NULL);
    struct tm tm;
    if (gmtime_r(&seconds, &tm))
        strftime(now, sizeof(now), "%Y-%m-%dT%H:%M:%SZ", &tm);
    fprintf(stderr, "== %s reencrypt in the background, process %ld\n", now, (long)getpid());
    return 0;
}

static void detach_at_rewrite(void *ctx, const struct encrypt_event *e)
{
    struct command_line *l = ctx;
    /* (Where it was interrupted after that, it begins with the next.) */
    bool at_work = e->kind == ENCRYPT_STEP && e->step &&
                   (strcmp(e->step, "rewrite") == 0 || strcmp(e->step, "prove") == 0 ||
                    strcmp(e->step, "narrow") == 0);
    if (l->background.ready > 0 && at_work) {
        progress_end(l);
        if (open_log(l) < 0) {
            fprintf(stderr, "encrypt: %s: %s: going on in the foreground\n", l->background.log,
                    strerror(errno));
        } else {
            setsid();
            signal(SIGHUP, SIG_IGN);
            /* A parent that is gone was ended: this is not wanted any more. */
            if (write(l->background.ready, "s", 1) != 1)
                raise(SIGTERM);
        }
        close(l->background.ready);
        l->background.ready = 0;
    }
    progress_event(ctx, e);
}

static int wait_for_start(struct command_line *l, pid_t child, int ready)
{
    char byte;
    ssize_t n = -1;
    bool told = false;
    struct pollfd p = {.fd = ready, .events = POLLIN};
    while (n < 0) {
        /* Whoever ends this one means the other. */
        if (signals_stop(NULL) && !told) {
            kill(child, SIGTERM);
            told = true;
        }
        if (poll(&p, 1, 200) > 0 && (n = read(ready, &byte, 1)) < 0 && errno != EINTR)
            n = 0;
    }
    if (n == 1) {
        report_started(l, (long)child, l->background.log);
        return ENCRYPT_OK;
    }
    /* It ended, or goes on in the foreground: then it has said so. */
    int status = 0;
    pid_t ended = 0;
    while ((ended = waitpid(child, &status, WNOHANG)) == 0) {
        if (signals_stop(NULL) && !told) {
            kill(child, SIGTERM);
            told = true;
        }
        poll(NULL, 0, 100);
    }
    return ended == child && WIFEXITED(status) ? WEXITSTATUS(status) : ENCRYPT_STOPPED;
}

int cmd_reencrypt(struct command_line *l)
{
    int ends[2];
    if (!l->detach)
        return staged(l, encrypt_reencrypt, "reencrypt");
    l->background.log = l->options.state ? file_beside(l->options.state, "encrypt-log")
                                         : file_beside(l->options.config, "encrypt-log");
    fflush(stdout);
    fflush(stderr);
    if (pipe2(ends, O_CLOEXEC) < 0) {
        fprintf(stderr, "encrypt: a pipe: %s\n", strerror(errno));
        return ENCRYPT_FAILED;
    }
    /* Who ignores it hands that on, and the child's exit status would be lost. */
    signal(SIGCHLD, SIG_DFL);
    pid_t child = fork();
    if (child < 0) {
        fprintf(stderr, "encrypt: a process in the background: %s\n", strerror(errno));
        return ENCRYPT_FAILED;
    }
    int code = ENCRYPT_OK;
    if (child > 0) {
        close(ends[1]);
        code = wait_for_start(l, child, ends[0]);
    } else {
        close(ends[0]);
        l->background.ready = ends[1];
        l->options.event = detach_at_rewrite;
        code = staged(l, encrypt_reencrypt, "reencrypt");
        if (l->background.ready > 0)
            close(l->background.ready);
    }
    mem_free(l->background.log);
    return code;
}

/* A proxy between a client and dockerd that kills the client at its Kth request that changes
 * something. The state that a kill -9 leaves is then exact, without any hook in the code. */
#include "tests/docker/lab.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where the client is in its stream of requests. */
struct requests {
    char head[8192];
    size_t head_len;
    size_t body_left;
    int changes; /* requests so far that change something */
};

static int connect_to(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0)
        _exit(3);
    return fd;
}

static void take(struct requests *r, const char *data, size_t len)
{
    while (len > 0) {
        if (r->body_left > 0) {
            size_t n = len < r->body_left ? len : r->body_left;
            r->body_left -= n;
            data += n;
            len -= n;
            continue;
        }
        if (r->head_len + 1 == sizeof(r->head))
            _exit(3);
        r->head[r->head_len++] = *data++;
        r->head[r->head_len] = '\0';
        len--;
        if (r->head_len < 4 || strcmp(r->head + r->head_len - 4, "\r\n\r\n") != 0)
            continue;
        const char *length = strcasestr(r->head, "\r\ncontent-length:");
        r->body_left = length ? strtoul(length + 17, NULL, 10) : 0;
        if (!str_starts(r->head, "GET ") && !str_starts(r->head, "HEAD "))
            r->changes++;
        r->head_len = 0;
    }
}

static void send_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n <= 0)
            return;
        data += n;
        len -= (size_t)n;
    }
}

static void serve(int client, int daemon, pid_t victim, int k, struct requests *r)
{
    static char data[65536];
    struct pollfd p[2] = {{.fd = client, .events = POLLIN}, {.fd = daemon, .events = POLLIN}};
    for (;;) {
        if (poll(p, 2, -1) < 0)
            return;
        if (p[0].revents) {
            ssize_t n = read(client, data, sizeof(data));
            if (n <= 0)
                return;
            take(r, data, (size_t)n);
            send_all(daemon, data, (size_t)n);
        }
        if (p[1].revents) {
            ssize_t n = read(daemon, data, sizeof(data));
            if (n <= 0)
                return;
            if (r->changes >= k) {
                kill(victim, SIGKILL);
                return;
            }
            send_all(client, data, (size_t)n);
        }
    }
}

static void proxy(int listener, const char *to, int k)
{
    struct requests r = {.changes = 0};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        int client = accept(listener, NULL, NULL);
        struct ucred who = {0};
        socklen_t len = sizeof(who);
        if (client < 0 || getsockopt(client, SOL_SOCKET, SO_PEERCRED, &who, &len) != 0)
            _exit(3);
        int daemon = connect_to(to);
        r.head_len = 0;
        r.body_left = 0;
        serve(client, daemon, who.pid, k, &r);
        close(client);
        close(daemon);
    }
}

static void victim(const char *socket, operation op, void *ctx)
{
    struct error err CLEANUP(error_clear) = {0};
    struct loop *loop = NULL;
    struct node n;
    if (loop_new(&loop, &err) < 0)
        _exit(3);
    node_open(&n, loop, socket);
    int rc = op(&n, ctx, &err);
    if (rc < 0)
        fprintf(stderr, "    victim: %s\n", err.message);
    _exit(rc < 0 ? 1 : 0);
}

bool killed_at(struct lab *l, int k, operation op, void *ctx)
{
    char *socket_path CLEANUP(cleanup_mem) = mem_printf("%s/proxy.sock", l->dir);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", socket_path);
    unlink(socket_path);
    int listener CLEANUP(cleanup_fd) = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(listener, 8) != 0) {
        perror("docker: proxy");
        exit(1);
    }
    fflush(stdout);
    pid_t between = fork();
    if (between == 0) {
        proxy(listener, l->socket, k);
        _exit(3);
    }
    pid_t pid = fork();
    if (pid == 0)
        victim(socket_path, op, ctx);
    int status = 0;
    waitpid(pid, &status, 0);
    kill(between, SIGKILL);
    waitpid(between, NULL, 0);
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    CHECK(killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
    return killed;
}

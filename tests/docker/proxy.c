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

enum { MAX_CONNECTIONS = 64 };

/* A connection, and where the client is in its stream of requests. */
struct connection {
    int client, daemon;
    char head[8192];
    size_t head_len;
    size_t body_left;
    int *changes; /* requests so far that change something, on all connections */
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

static void take(struct connection *r, const char *data, size_t len)
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
            ++*r->changes;
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

/* False where it has ended. */
static bool pass_on(struct connection *c, bool to_daemon, pid_t victim, int k)
{
    static char data[65536];
    ssize_t n = read(to_daemon ? c->client : c->daemon, data, sizeof(data));
    if (n <= 0)
        return false;
    if (to_daemon)
        take(c, data, (size_t)n);
    else if (*c->changes >= k)
        kill(victim, SIGKILL);
    else
        send_all(c->client, data, (size_t)n);
    if (to_daemon)
        send_all(c->daemon, data, (size_t)n);
    return true;
}

static void proxy(int listener, const char *to, int k)
{
    static struct connection all[MAX_CONNECTIONS];
    struct pollfd p[1 + 2 * MAX_CONNECTIONS];
    int changes = 0;
    size_t count = 0;
    pid_t victim = 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        p[0] = (struct pollfd){.fd = listener, .events = POLLIN};
        for (size_t i = 0; i < count; i++) {
            p[1 + 2 * i] = (struct pollfd){.fd = all[i].client, .events = POLLIN};
            p[2 + 2 * i] = (struct pollfd){.fd = all[i].daemon, .events = POLLIN};
        }
        if (poll(p, 1 + 2 * count, -1) < 0)
            _exit(3);
        for (size_t i = count; i-- > 0;) {
            bool open = (!p[1 + 2 * i].revents || pass_on(&all[i], true, victim, k)) &&
                        (!p[2 + 2 * i].revents || pass_on(&all[i], false, victim, k));
            if (open)
                continue;
            close(all[i].client);
            close(all[i].daemon);
            all[i] = all[--count];
        }
        if (!p[0].revents)
            continue;
        struct ucred who = {0};
        socklen_t len = sizeof(who);
        int client = accept(listener, NULL, NULL);
        if (client < 0 || count == MAX_CONNECTIONS ||
            getsockopt(client, SOL_SOCKET, SO_PEERCRED, &who, &len) != 0)
            _exit(3);
        victim = who.pid;
        all[count++] =
            (struct connection){.client = client, .daemon = connect_to(to), .changes = &changes};
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

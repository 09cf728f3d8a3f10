/*
 * Drives provisioner/ssh against real sshds, for tests/ssh/run: logs in by the options, does what
 * the first argument says, prints what came of it. Ends with 0, or with the error's exit code and
 * its text.
 */
#include "provisioner/ssh/ssh.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHUNK = 64 * 1024, MAX_TARGETS = 8 };

static struct buf passphrases; /* what the "user" types, one line each time */
static int asked;

static char *ask(void *ctx, const char *prompt)
{
    (void)ctx;
    asked++;
    printf("asked: %s\n", prompt);
    size_t len = strcspn(buf_str(&passphrases), "\n");
    if (!passphrases.len)
        return NULL;
    char *answer = mem_strndup(passphrases.data, len);
    struct buf rest = {0};
    buf_adds(&rest, passphrases.data + len + (passphrases.data[len] == '\n'));
    buf_free(&passphrases);
    passphrases = rest;
    return answer;
}

static void say(void *ctx, const char *text)
{
    (void)ctx;
    printf("said: %s\n", text);
}

/* ---- an echo server in a process of its own: what comes goes back; at the end the count, then the
 * end ---- */

static void *echo_one(void *arg)
{
    int fd = *(int *)arg;
    mem_free(arg);
    char *data = malloc(CHUNK);
    uint64_t total = 0;
    ssize_t n;
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    while ((n = read(fd, data, CHUNK)) > 0) {
        total += (uint64_t)n;
        for (ssize_t done = 0, w; done < n; done += w) {
            w = write(fd, data + done, (size_t)(n - done));
            if (w <= 0)
                goto out;
        }
    }
    n = write(fd, &total, sizeof(total));
    (void)n;
out:
    close(fd);
    free(data);
    return NULL;
}

static pid_t echo_server(int listener)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    signal(SIGPIPE, SIG_IGN);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        pthread_t t;
        if (fd < 0)
            _exit(0);
        int *arg = mem_alloc(1, sizeof(*arg));
        *arg = fd;
        pthread_create(&t, NULL, echo_one, arg);
        pthread_detach(t);
    }
}

static pid_t echo_tcp(uint16_t *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int fd CLEANUP(cleanup_fd) = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&a, len) || listen(fd, 128) ||
        getsockname(fd, (struct sockaddr *)&a, &len))
        abort();
    *port = ntohs(a.sin_port);
    return echo_server(fd);
}

static pid_t echo_unix(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd CLEANUP(cleanup_fd) = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 128))
        abort();
    return echo_server(fd);
}

static void end_child(pid_t *pid)
{
    if (*pid > 0) {
        kill(*pid, SIGKILL);
        waitpid(*pid, NULL, 0);
    }
}

/* ---- clients of a forwarder, in the loop ---- */

struct client {
    struct loop_watch *watch;
    uint64_t seed, to_send, sent, received, trailer;
    size_t trailer_len;
    int fd;
    bool ended, failed;
};

static unsigned char byte_at(uint64_t seed, uint64_t i)
{
    uint64_t x = seed + (i >> 3) * 0x9e3779b97f4a7c15u;
    x ^= x >> 29;
    x *= 0xbf58476d1ce4e5b9u;
    return (unsigned char)(x >> ((i & 7) * 8));
}

static void client_read(struct client *c)
{
    static unsigned char data[CHUNK];
    ssize_t n = recv(c->fd, data, sizeof(data), MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        c->ended = true;
        c->failed = n < 0;
        return;
    }
    for (ssize_t i = 0; i < n; i++) {
        if (c->received < c->to_send) {
            c->failed = c->failed || data[i] != byte_at(c->seed, c->received);
            c->received++;
        } else if (c->trailer_len < sizeof(c->trailer)) {
            memcpy((char *)&c->trailer + c->trailer_len++, &data[i], 1);
        } else {
            c->failed = true;
        }
    }
}

static void client_write(struct client *c)
{
    static unsigned char data[CHUNK];
    uint64_t left = c->to_send - c->sent;
    size_t len = left > sizeof(data) ? sizeof(data) : (size_t)left;
    for (size_t i = 0; i < len; i++)
        data[i] = byte_at(c->seed, c->sent + i);
    ssize_t n = len ? send(c->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
    if (n > 0)
        c->sent += (uint64_t)n;
    if (n < 0 && errno != EAGAIN)
        c->ended = c->failed = true;
    if (c->sent == c->to_send) {
        shutdown(c->fd, SHUT_WR);
        loop_watch_events(c->watch, POLLIN);
        c->to_send = c->sent;
    }
}

static void client_event(void *ctx, short revents)
{
    struct client *c = ctx;
    if (revents & POLLIN)
        client_read(c);
    if (!c->ended && (revents & POLLOUT))
        client_write(c);
    if (c->ended) {
        loop_unwatch(STEAL(c->watch));
        close(c->fd);
    }
}

static int connect_abstract(const char *name)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    size_t len = strlen(name);
    memcpy(a.sun_path + 1, name, len);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&a,
                (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len)) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

struct clients {
    struct client *all;
    size_t count;
};

static bool clients_ended(void *ctx)
{
    struct clients *c = ctx;
    for (size_t i = 0; i < c->count; i++) {
        if (!c->all[i].ended)
            return false;
    }
    return true;
}

static void clients_start(struct loop *loop, const char *name, struct clients *c, uint64_t bytes)
{
    for (size_t i = 0; i < c->count; i++) {
        struct client *k = &c->all[i];
        *k = (struct client){.seed = 1 + i * 7919, .to_send = bytes / c->count};
        k->fd = connect_abstract(name);
        if (k->fd < 0)
            abort();
        k->watch = loop_watch(loop, k->fd, POLLIN | POLLOUT, client_event, k);
    }
}

static int echo(struct loop *loop, const char *name, uint64_t bytes, size_t count,
                struct error *err)
{
    struct client *all CLEANUP(cleanup_mem) = mem_alloc(count, sizeof(*all));
    struct clients c = {all, count};
    int64_t start = loop_now();
    clients_start(loop, name, &c, bytes);
    if (loop_until(loop, clients_ended, &c, loop_now() + 60000, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (all[i].failed || all[i].received != all[i].to_send ||
            all[i].trailer_len != sizeof(uint64_t) || all[i].trailer != all[i].to_send)
            return error_set(err, RESULT_FOUND, "connection %zu: sent %llu, received %llu, %s", i,
                             (unsigned long long)all[i].sent, (unsigned long long)all[i].received,
                             all[i].failed ? "damaged" : "short");
    }
    int64_t ms = loop_now() - start;
    printf("intact: %llu MiB each way over %zu connections in %lld ms: %.0f MiB/s\n",
           (unsigned long long)(bytes >> 20), count, (long long)ms,
           (double)(bytes >> 20) * 1000.0 / (double)(ms ? ms : 1));
    return 0;
}

/* ---- what the first argument can be ---- */

struct run {
    struct loop *loop;
    struct ssh **sessions;
    size_t count;
    char **args;
};

static uint64_t number(const char *s)
{
    return strtoull(s, NULL, 10);
}

/* echo-tcp MIB CONNECTIONS */
static int do_echo_tcp(struct run *r, struct error *err)
{
    uint16_t port = 0;
    const char *name = NULL;
    pid_t server __attribute__((unused)) CLEANUP(end_child) = echo_tcp(&port);
    if (ssh_forward_tcp(r->sessions[0], "127.0.0.1", port, &name, err) < 0)
        return -1;
    return echo(r->loop, name, number(r->args[0]) << 20, number(r->args[1]), err);
}

/* echo-unix MIB CONNECTIONS PATH */
static int do_echo_unix(struct run *r, struct error *err)
{
    const char *name = NULL;
    pid_t server __attribute__((unused)) CLEANUP(end_child) = echo_unix(r->args[2]);
    if (ssh_forward_unix(r->sessions[0], r->args[2], &name, err) < 0)
        return -1;
    int rc = echo(r->loop, name, number(r->args[0]) << 20, number(r->args[1]), err);
    unlink(r->args[2]);
    return rc;
}

struct child_wait {
    pid_t pid;
    int status;
};

static bool child_ended(void *ctx)
{
    struct child_wait *w = ctx;
    return waitpid(w->pid, &w->status, WNOHANG) == w->pid;
}

/* foreign: another process connects; it must be shown the door, and the next of our own must not be
 * hurt */
static int do_foreign(struct run *r, struct error *err)
{
    uint16_t port = 0;
    const char *name = NULL;
    pid_t server __attribute__((unused)) CLEANUP(end_child) = echo_tcp(&port);
    if (ssh_forward_tcp(r->sessions[0], "127.0.0.1", port, &name, err) < 0)
        return -1;
    struct child_wait w = {.pid = fork()};
    if (w.pid == 0) {
        char c = 'x';
        signal(SIGPIPE, SIG_IGN);
        int fd = connect_abstract(name);
        bool sent = fd >= 0 && write(fd, &c, 1) == 1;
        _exit(sent && read(fd, &c, 1) > 0 ? 1 : 0);
    }
    while (!child_ended(&w)) {
        if (loop_pause(r->loop, 10, err) < 0)
            return -1;
    }
    if (!WIFEXITED(w.status) || WEXITSTATUS(w.status) != 0)
        return error_set(err, RESULT_FOUND, "the other process got through");
    printf("refused\n");
    return echo(r->loop, name, 1000, 1, err);
}

/* One connection to a forwarder that leads nowhere: it ends, and it is said why. */
static int fails(struct run *r, const char *name, struct error *err)
{
    struct client k = {.to_send = 10};
    struct clients c = {&k, 1};
    clients_start(r->loop, name, &c, 10);
    if (loop_until(r->loop, clients_ended, &c, loop_now() + 10000, err) < 0)
        return -1;
    const char *why = ssh_last_channel_error(r->sessions[0]);
    printf("channel: %s\n", why ? why : "(no error)");
    return ssh_dead(r->sessions[0]) ? error_set(err, RESULT_FOUND, "the session died") : 0;
}

/* nowhere-tcp PORT */
static int do_nowhere_tcp(struct run *r, struct error *err)
{
    const char *name = NULL;
    if (ssh_forward_tcp(r->sessions[0], "127.0.0.1", (uint16_t)number(r->args[0]), &name, err) < 0)
        return -1;
    return fails(r, name, err);
}

/* nowhere-unix PATH */
static int do_nowhere_unix(struct run *r, struct error *err)
{
    const char *name = NULL;
    if (ssh_forward_unix(r->sessions[0], r->args[0], &name, err) < 0)
        return -1;
    return fails(r, name, err);
}

/* aborts: clients that leave in every state, then the session is closed in the middle of transfers
 */
static int do_aborts(struct run *r, struct error *err)
{
    uint16_t port = 0;
    const char *name = NULL;
    pid_t server __attribute__((unused)) CLEANUP(end_child) = echo_tcp(&port);
    if (ssh_forward_tcp(r->sessions[0], "127.0.0.1", port, &name, err) < 0)
        return -1;
    for (int i = 0; i < 20; i++) {
        int fd = connect_abstract(name);
        char data[1000] = {0};
        if (i % 4) /* less than all sockets hold */
            (void)!send(fd, data, sizeof(data), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (i % 4 > 1 && loop_pause(r->loop, 5, err) < 0)
            return -1;
        if (i % 4 == 3)
            shutdown(fd, SHUT_WR);
        close(fd);
    }
    if (echo(r->loop, name, 1 << 20, 4, err) < 0)
        return -1;
    struct client all[8];
    struct clients c = {all, ARRAY_LEN(all)};
    clients_start(r->loop, name, &c, 512u << 20);
    if (loop_pause(r->loop, 200, err) < 0)
        return -1;
    ssh_close(STEAL(r->sessions[0]));
    if (loop_until(r->loop, clients_ended, &c, loop_now() + 2000, err) < 0)
        return -1;
    printf("closed\n");
    return 0;
}

static bool is_dead(void *ctx)
{
    return ssh_dead(ctx) != NULL;
}

static void on_stdin(void *ctx, short revents)
{
    char line[64];
    (void)revents;
    if (read(STDIN_FILENO, line, sizeof(line)) >= 0)
        *(bool *)ctx = true;
}

static bool is_set(void *ctx)
{
    return *(bool *)ctx;
}

/* silence BUSY: waits for the session's death, which begins with a line on standard input */
static int do_silence(struct run *r, struct error *err)
{
    uint16_t port = 0;
    const char *name = NULL;
    bool stopped = false;
    struct client k = {0};
    struct clients c = {&k, 1};
    pid_t server __attribute__((unused)) CLEANUP(end_child) = echo_tcp(&port);
    if (number(r->args[0])) {
        if (ssh_forward_tcp(r->sessions[0], "127.0.0.1", port, &name, err) < 0)
            return -1;
        clients_start(r->loop, name, &c, 1ull << 40);
    }
    struct loop_watch *w = loop_watch(r->loop, STDIN_FILENO, POLLIN, on_stdin, &stopped);
    printf("ready\n");
    fflush(stdout);
    int rc = loop_until(r->loop, is_set, &stopped, loop_now() + 20000, err);
    loop_unwatch(w);
    int64_t start = loop_now();
    if (rc < 0 || loop_until(r->loop, is_dead, r->sessions[0], start + 20000, err) < 0)
        return -1;
    printf("noticed after %lld ms: %s\n", (long long)(loop_now() - start),
           ssh_dead(r->sessions[0]));
    if (name && loop_until(r->loop, clients_ended, &c, loop_now() + 1000, err) < 0)
        return error_wrap(err, "the client was not told");
    return 0;
}

/* idle MS: the session outlives it */
static int do_idle(struct run *r, struct error *err)
{
    if (loop_pause(r->loop, (int64_t)number(r->args[0]), err) < 0)
        return -1;
    if (ssh_dead(r->sessions[0]))
        return error_set(err, RESULT_FOUND, "died: %s", ssh_dead(r->sessions[0]));
    printf("alive\n");
    return 0;
}

/* ---- commands ---- */

/* What comes from a command that gives back its input; `len` bytes of byte_at(). */
static int exec_cat(struct run *r, size_t len, struct error *err)
{
    struct ssh_answer a CLEANUP(ssh_answer_free) = {0};
    unsigned char *data CLEANUP(cleanup_mem) = mem_alloc(len, 1);
    for (size_t i = 0; i < len; i++)
        data[i] = byte_at(len, i);
    if (ssh_exec(r->sessions[0], "cat", data, len, len, 60000, &a, err) < 0)
        return -1;
    if (a.status != 0 || a.out.len != len || memcmp(buf_str(&a.out), data, len) != 0)
        return error_set(err, RESULT_FOUND, "status %d, %zu bytes of %zu came back", a.status,
                         a.out.len, len);
    return 0;
}

/* exec COMMAND [TIMEOUT [LIMIT [BYTES OF INPUT]]] */
static int do_exec(struct run *r, struct error *err)
{
    struct ssh_answer a CLEANUP(ssh_answer_free) = {0};
    int64_t timeout = r->args[1] ? (int64_t)number(r->args[1]) : 20000;
    size_t limit = timeout && r->args[1] && r->args[2] ? number(r->args[2]) : 1 << 20;
    size_t len = r->args[1] && r->args[2] && r->args[3] ? number(r->args[3]) : 0;
    char *in CLEANUP(cleanup_mem) = mem_alloc(len, 1);
    int64_t start = loop_now();
    int rc = ssh_exec(r->sessions[0], r->args[0], in, len, limit, timeout, &a, err);
    if (rc == 0)
        printf("status %d out [%s] errors [%s]\n", a.status, buf_str(&a.out), buf_str(&a.errors));
    if (loop_now() - start > timeout + 5000)
        return error_set(err, RESULT_FOUND, "it took %lld ms", (long long)(loop_now() - start));
    if (rc < 0 && ssh_dead(r->sessions[0]))
        return error_wrap(err, "dead");
    return rc < 0 ? error_wrap(err, "alive") : 0;
}

/* exec-cat BYTES TIMES: there and back */
static int do_exec_cat(struct run *r, struct error *err)
{
    for (uint64_t i = 0; i < number(r->args[1]); i++) {
        if (exec_cat(r, number(r->args[0]), err) < 0)
            return error_wrap(err, "command %llu", (unsigned long long)i);
    }
    printf("came back\n");
    return 0;
}

/* exec-beside BYTES: commands one after the other, some of them given up, while connections run and
 * others are opened */
static int do_exec_beside(struct run *r, struct error *err)
{
    uint16_t port = 0;
    const char *name = NULL;
    struct client all[8];
    struct clients c = {all, ARRAY_LEN(all)};
    pid_t server __attribute__((unused)) CLEANUP(end_child) = echo_tcp(&port);
    if (ssh_forward_tcp(r->sessions[0], "127.0.0.1", port, &name, err) < 0)
        return -1;
    clients_start(r->loop, name, &c, number(r->args[0]));
    for (int i = 0; i < 12; i++) {
        struct ssh_answer a CLEANUP(ssh_answer_free) = {0};
        struct error late CLEANUP(error_clear) = {0};
        struct client more[2];
        struct clients m = {more, ARRAY_LEN(more)};
        clients_start(r->loop, name, &m, 2000);
        if (exec_cat(r, 100000, err) < 0)
            return error_wrap(err, "command %d", i);
        if (i % 4 == 0 &&
            ssh_exec(r->sessions[0], "sleep 3", NULL, 0, 10, 1 + i * 20, &a, &late) == 0)
            return error_set(err, RESULT_FOUND, "sleep 3 was too fast");
        if (loop_until(r->loop, clients_ended, &m, loop_now() + 60000, err) < 0)
            return error_wrap(err, "clients of round %d", i);
    }
    if (loop_until(r->loop, clients_ended, &c, loop_now() + 60000, err) < 0)
        return -1;
    for (size_t i = 0; i < c.count; i++) {
        if (all[i].failed || all[i].received != all[i].to_send)
            return error_set(err, RESULT_FOUND, "connection %zu is damaged", i);
    }
    return echo(r->loop, name, 1 << 20, 4, err);
}

static int do_login(struct run *r, struct error *err)
{
    (void)err;
    printf("logged in: %zu\n", r->count);
    return 0;
}

static char *read_text(const char *path)
{
    static char data[65536];
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(data, 1, sizeof(data) - 1, f) : 0;
    if (f)
        fclose(f);
    data[n] = '\0';
    return mem_strdup(data);
}

static void access_free(struct ssh_access *a)
{
    mem_free(a->address);
    mem_free(a->key);
    mem_free(a->cert);
}

/* [user@]address:port */
static void access_set(struct ssh_access *a, char *text, char *user)
{
    char *at = strrchr(text, ':');
    a->port = (uint16_t)number(at + 1);
    a->address = mem_strndup(text, (size_t)(at - text));
    a->user = user;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*fn)(struct run *, struct error *);
    } actions[] = {
        {"login", do_login},     {"echo-tcp", do_echo_tcp},       {"echo-unix", do_echo_unix},
        {"foreign", do_foreign}, {"nowhere-tcp", do_nowhere_tcp}, {"nowhere-unix", do_nowhere_unix},
        {"aborts", do_aborts},   {"silence", do_silence},         {"idle", do_idle},
        {"exec", do_exec},       {"exec-cat", do_exec_cat},       {"exec-beside", do_exec_beside},
    };
    static const struct option options[] = {
        {"to", 1, NULL, 't'},      {"user", 1, NULL, 'u'},   {"key", 1, NULL, 'k'},
        {"inline", 1, NULL, 'i'},  {"cert", 1, NULL, 'c'},   {"inline-cert", 1, NULL, 'C'},
        {"bastion", 1, NULL, 'b'}, {"known", 1, NULL, 'n'},  {"accept-new", 0, NULL, 'a'},
        {"agent", 0, NULL, 'g'},   {"pass", 1, NULL, 'p'},   {"pass-file", 1, NULL, 'f'},
        {"timeout", 1, NULL, 'T'}, {"global", 1, NULL, 'G'}, {NULL, 0, NULL, 0},
    };
    struct ssh_access targets[MAX_TARGETS] = {{0}}, bastion = {0}, common = {0};
    struct ssh_settings settings = {.ask = ask,
                                    .say = say,
                                    .timeout_ms = 10000,
                                    .global_known_hosts = "/nonexistent/known_hosts"};
    size_t count = 0;
    char *user = getenv("USER") ? getenv("USER") : "root";
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int o; (o = getopt_long(argc, argv, "+", options, NULL)) != -1;) {
        switch (o) {
        case 't':
            access_set(&targets[count++], optarg, user);
            break;
        case 'u':
            user = optarg;
            break;
        case 'k':
            common.key_path = optarg;
            break;
        case 'i':
            common.key = read_text(optarg);
            break;
        case 'c':
            common.cert_path = optarg;
            break;
        case 'C':
            common.cert = read_text(optarg);
            break;
        case 'b':
            access_set(&bastion, optarg, user);
            break;
        case 'n':
            settings.known_hosts = optarg;
            break;
        case 'G':
            settings.global_known_hosts = optarg;
            break;
        case 'a':
            settings.accept_new_host_keys = true;
            break;
        case 'g':
            settings.use_agent = true;
            break;
        case 'p':
            buf_printf(&passphrases, "%s\n", optarg);
            break;
        case 'f':
            settings.passphrase_file = optarg;
            break;
        case 'T':
            settings.timeout_ms = (int64_t)number(optarg);
            break;
        default:
            return RESULT_USAGE;
        }
    }
    const struct ssh_access *list[MAX_TARGETS];
    struct ssh *sessions[MAX_TARGETS] = {NULL};
    for (size_t i = 0; i <= count && i < MAX_TARGETS; i++) {
        struct ssh_access *a = i < count ? &targets[i] : &bastion;
        a->key = mem_strdup(common.key);
        a->key_path = common.key_path;
        a->cert = mem_strdup(common.cert);
        a->cert_path = common.cert_path;
        list[i] = a;
    }
    struct error err CLEANUP(error_clear) = {0};
    struct loop *loop = NULL;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int rc = loop_new(&loop, &err);
    if (rc == 0)
        rc = ssh_connect_all(loop, &settings, bastion.address ? &bastion : NULL, list, count,
                             sessions, &err);
    struct run r = {loop, sessions, count, argv + optind + 1};
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(actions); i++) {
        if (str_eq(argv[optind], actions[i].name))
            rc = actions[i].fn(&r, &err);
    }
    for (size_t i = 0; i < count; i++) {
        ssh_close(sessions[i]);
        access_free(&targets[i]);
    }
    loop_free(loop);
    curl_global_cleanup();
    access_free(&bastion);
    access_free(&common);
    buf_free(&passphrases);
    if (rc == 0)
        return 0;
    printf("error %d: %s\n", err.result, err.message);
    if (err.next)
        printf("next: %s\n", err.next);
    return (int)err.result;
}

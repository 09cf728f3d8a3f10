/*
 * Forwarders: abstract Unix sockets that this process listens on, and the connections from them
 * through channels. Data waits in three places only: the socket's buffer, one chunk each way here,
 * and the channel's window.
 */
#include "provisioner/ssh/session.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { CHUNK = 32 * 1024, BACKLOG = 128, ACCEPT_PAUSE_MS = 1000 };

struct forwarder {
    struct ssh *s;
    struct forwarder *next;
    char *name; /* of the socket, without its leading NUL; NULL: a tunnel */
    char *host; /* NULL: a Unix socket */
    uint16_t port;
    char *path;
    int fd;
    struct loop_watch *watch;
};

struct conn {
    struct ssh *s;
    struct conn *next;
    const struct forwarder *to;
    LIBSSH2_CHANNEL *channel; /* NULL: not open yet */
    bool opening;             /* begun, must be ended */
    int fd;                   /* -1: closed; the channel is to be freed */
    struct loop_watch *watch;
    bool readable, writable; /* as far as is known */
    bool local_eof;          /* nothing more comes from the client */
    bool local_gone;         /* nothing more can be given to it */
    bool eof_sent, remote_eof, remote_closed, shut;
    size_t up_start, up_len, down_start, down_len;
    char up[CHUNK], down[CHUNK]; /* from and to the client */
};

/* ---- connections: each step gives 1 where something moved, 0 where not, -1 where the session is
 * broken ---- */

static size_t unsent(const struct ssh *s)
{
    return s->out.len - s->out.start;
}

/* What concerns one channel only ends that channel. */
static bool is_fatal(ssize_t rc)
{
    return rc < 0 && rc != LIBSSH2_ERROR_EAGAIN && rc != LIBSSH2_ERROR_CHANNEL_CLOSED &&
           rc != LIBSSH2_ERROR_CHANNEL_EOF_SENT;
}

static void conn_event(void *ctx, short revents)
{
    struct conn *c = ctx;
    if (revents) {
        /* An end or an error shows as either: what is tried in vain only says that it would block.
         */
        c->readable = c->writable = true;
    }
    ssh_service(c->s);
}

static void conn_close_local(struct conn *c)
{
    loop_unwatch(STEAL(c->watch));
    if (c->fd >= 0)
        shutdown(c->fd, SHUT_RDWR); /* a forked child may hold a copy */
    cleanup_fd(&c->fd);
    c->fd = -1;
}

static struct conn *conn_new(struct ssh *s, const struct forwarder *to, int fd)
{
    struct conn *c = mem_alloc(1, sizeof(*c));
    *c = (struct conn){.s = s, .to = to, .fd = fd, .readable = true, .writable = true};
    c->watch = loop_watch(s->loop, fd, 0, conn_event, c);
    struct conn **end = &s->conns;
    while (*end)
        end = &(*end)->next;
    *end = c;
    return c;
}

static int take_from_client(struct conn *c)
{
    if (c->up_len || c->local_eof || !c->readable || unsent(c->s) >= SSH_OUT_HIGH)
        return 0;
    ssize_t n = recv(c->fd, c->up, CHUNK, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        c->readable = errno == EINTR;
        return 0;
    }
    if (n <= 0) {
        c->local_eof = true;
        c->local_gone = c->local_gone || n < 0;
        return 1;
    }
    c->up_start = 0;
    c->up_len = (size_t)n;
    return 1;
}

static int give_to_channel(struct conn *c)
{
    int moved = 0;
    while (c->up_len && unsent(c->s) < SSH_OUT_HIGH) {
        ssize_t n = libssh2_channel_write(c->channel, c->up + c->up_start, c->up_len);
        if (is_fatal(n))
            return -1;
        if (n == 0 || n == LIBSSH2_ERROR_EAGAIN)
            break; /* the window is full */
        if (n < 0) {
            c->up_len = 0;
            c->remote_closed = true;
            return 1;
        }
        c->up_start += (size_t)n;
        c->up_len -= (size_t)n;
        moved = 1;
    }
    if (c->local_eof && !c->up_len && !c->eof_sent) {
        int rc = libssh2_channel_send_eof(c->channel);
        if (is_fatal(rc))
            return -1;
        c->eof_sent = rc != LIBSSH2_ERROR_EAGAIN; /* that is while keys change */
        moved |= c->eof_sent;
    }
    return moved;
}

static int take_from_channel(struct conn *c)
{
    if (c->down_len || c->remote_eof)
        return 0;
    ssize_t n = libssh2_channel_read(c->channel, c->down, CHUNK);
    if (is_fatal(n))
        return -1;
    if (n > 0) {
        c->down_start = 0;
        c->down_len = c->local_gone ? 0 : (size_t)n;
        return 1;
    }
    /* 0 alone is no end. */
    c->remote_eof = libssh2_channel_eof(c->channel) == 1;
    return c->remote_eof;
}

static int give_to_client(struct conn *c)
{
    if (c->local_gone)
        c->down_len = 0;
    int moved = 0;
    while (c->down_len && c->writable) {
        ssize_t n = send(c->fd, c->down + c->down_start, c->down_len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            c->writable = false;
            break;
        }
        if (n < 0) {
            c->local_gone = true;
            c->down_len = 0;
            return 1;
        }
        c->down_start += (size_t)n;
        c->down_len -= (size_t)n;
        moved = 1;
    }
    if (c->remote_eof && !c->down_len && !c->shut) {
        shutdown(c->fd, SHUT_WR);
        c->shut = true;
        moved = 1;
    }
    return moved;
}

/* After the client's end: did it only stop sending, or has it gone? */
static bool client_left(const struct conn *c)
{
    struct pollfd p = {.fd = c->fd};
    return poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR));
}

static bool is_over(struct conn *c)
{
    if (c->remote_eof && !c->remote_closed)
        c->remote_closed = libssh2_channel_wait_closed(c->channel) == 0;
    if (c->local_eof && !c->shut && !c->local_gone)
        c->local_gone = client_left(c);
    bool down_done = c->local_gone || (c->remote_eof && !c->down_len);
    return down_done && (c->eof_sent || c->remote_closed);
}

static int conn_pump(struct conn *c)
{
    static int (*const steps[])(struct conn *) = {take_from_client, give_to_channel,
                                                  take_from_channel, give_to_client};
    int moved = 0;
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        int rc = steps[i](c);
        if (rc < 0)
            return -1;
        moved |= rc;
    }
    if (is_over(c)) {
        conn_close_local(c);
        moved = 1;
    }
    return moved;
}

/* ---- channels: libssh2 can open one at a time, begun calls must be ended with the same arguments
 * ---- */

static void open_failed(struct conn *c, int code)
{
    const struct forwarder *to = c->to;
    struct ssh *s = c->s;
    char *text = NULL;
    libssh2_session_last_error(s->lib, &text, NULL, 0);
    char *reason CLEANUP(cleanup_mem) = mem_strdup(text && *text ? text : "refused");
    const char *in_brackets = strchr(reason, '(');
    if (in_brackets) {
        in_brackets++;
        reason[strcspn(reason, ")")] = '\0';
    }
    const char *words = in_brackets ? in_brackets : reason;
    if (code == LIBSSH2_ERROR_TIMEOUT)
        words = "no answer";
    const char *hint = "";
    if (strstr(words, "prohibited"))
        hint = to->host ? " (AllowTcpForwarding and PermitOpen in its sshd_config)"
                        : " (AllowStreamLocalForwarding in its sshd_config)";
    else if (!to->host && strstr(words, "connect failed"))
        hint = " (is it there, may this user write to it, and does sshd allow it: "
               "AllowStreamLocalForwarding?)";
    mem_free(s->channel_error);
    s->channel_error = to->host ? mem_printf("%s port %u: %s%s", to->host, to->port, words, hint)
                                : mem_printf("%s: %s%s", to->path, words, hint);
    conn_close_local(c);
}

static int conn_open(struct conn *c)
{
    LIBSSH2_SESSION *lib = c->s->lib;
    const struct forwarder *to = c->to;
    c->channel = to->host ? libssh2_channel_direct_tcpip_ex(lib, to->host, to->port, "127.0.0.1", 0)
                          : libssh2_channel_direct_streamlocal_ex(lib, to->path, "", 0);
    if (c->channel) {
        c->opening = false;
        mem_free(STEAL(c->s->channel_error));
        return 1;
    }
    int code = libssh2_session_last_errno(lib);
    c->opening = code == LIBSSH2_ERROR_EAGAIN;
    if (c->opening)
        return 0;
    if (code != LIBSSH2_ERROR_CHANNEL_FAILURE && code != LIBSSH2_ERROR_TIMEOUT)
        return -1;
    open_failed(c, code);
    return 1;
}

/* True when there is nothing left of it. */
static bool conn_finish(struct conn *c)
{
    return c->fd < 0 && (!c->channel || libssh2_channel_free(c->channel) != LIBSSH2_ERROR_EAGAIN);
}

bool forward_is_opening(const struct ssh *s)
{
    for (const struct conn *c = s->conns; c; c = c->next) {
        if (c->opening)
            return true;
    }
    return false;
}

int forward_service(struct ssh *s)
{
    int moved = 0;
    bool opening = exec_is_opening(s);
    for (struct conn **p = &s->conns; *p;) {
        struct conn *c = *p;
        int rc = 0;
        if (c->fd >= 0 && c->channel) {
            rc = conn_pump(c);
        } else if (c->fd >= 0 && !opening && !c->opening && client_left(c)) {
            conn_close_local(c); /* it waited in vain for those before it */
        } else if (c->fd >= 0 && !opening) {
            rc = conn_open(c);
            opening = rc == 0;
        }
        if (rc < 0)
            return -1;
        moved |= rc;
        if (conn_finish(c)) {
            *p = c->next;
            mem_free(c);
            moved = 1;
        } else {
            p = &c->next;
        }
    }
    return moved;
}

void forward_tick(struct ssh *s)
{
    for (struct conn *c = s->conns; c; c = c->next)
        c->readable = c->writable = true; /* a client that left meanwhile is noticed by the trial */
}

void forward_watch(struct ssh *s)
{
    for (struct conn *c = s->conns; c; c = c->next) {
        short events = 0;
        if (c->fd < 0)
            continue;
        if (c->channel && !c->up_len && !c->local_eof && !c->readable)
            events |= POLLIN;
        if (c->down_len && !c->writable)
            events |= POLLOUT;
        loop_watch_events(c->watch, events);
    }
}

/* ---- listeners ---- */

static bool is_own_process(int fd)
{
    struct ucred peer = {0};
    socklen_t len = sizeof(peer);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.pid == getpid();
}

static void accept_all(void *ctx, short revents)
{
    struct forwarder *f = ctx;
    (void)revents;
    loop_watch_events(f->watch, POLLIN);
    for (;;) {
        int fd CLEANUP(cleanup_fd) = accept4(f->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
            /* It stays readable: no look at it for a while. */
            loop_watch_events(f->watch, 0);
            loop_watch_wake_at(f->watch, loop_now() + ACCEPT_PAUSE_MS);
        }
        if (fd < 0)
            break;
        if (f->s->phase == PHASE_READY && is_own_process(fd))
            conn_new(f->s, f, STEAL_FD(fd));
    }
    ssh_service(f->s);
}

static struct forwarder *forwarder_new(struct ssh *s, const char *host, uint16_t port,
                                       const char *path)
{
    struct forwarder *f = mem_alloc(1, sizeof(*f));
    *f = (struct forwarder){.s = s, .port = port, .fd = -1, .next = s->forwarders};
    f->host = mem_strdup(host);
    f->path = mem_strdup(path);
    s->forwarders = f;
    return f;
}

static int forwarder_listen(struct forwarder *f, struct error *err)
{
    unsigned char random[16];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return error_set(err, RESULT_FAILED, "getrandom: %s", strerror(errno));
    struct buf name CLEANUP(buf_free) = {0};
    buf_adds(&name, "encrypt-");
    for (size_t i = 0; i < sizeof(random); i++)
        buf_printf(&name, "%02x", random[i]);
    memcpy(address.sun_path + 1, name.data, name.len); /* abstract: begins with a NUL */
    f->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + name.len);
    if (f->fd < 0 || bind(f->fd, (struct sockaddr *)&address, len) < 0 ||
        listen(f->fd, BACKLOG) < 0)
        return error_set(err, RESULT_FAILED, "listening on a local socket: %s", strerror(errno));
    f->name = mem_strdup(name.data);
    f->watch = loop_watch(f->s->loop, f->fd, POLLIN, accept_all, f);
    return 0;
}

static int forward(struct ssh *s, const char *host, uint16_t port, const char *path,
                   const char **socket_name, struct error *err)
{
    if (s->phase != PHASE_READY)
        return error_set(err, RESULT_FAILED, "%s: %s", s->name,
                         s->failure.message ? s->failure.message : "the session is closed");
    struct forwarder *f = forwarder_new(s, host, port, path);
    if (forwarder_listen(f, err) < 0)
        return error_wrap(err, "%s", s->name);
    *socket_name = f->name;
    return 0;
}

int ssh_forward_tcp(struct ssh *s, const char *host, uint16_t port, const char **socket_name,
                    struct error *err)
{
    return forward(s, host, port, NULL, socket_name, err);
}

int ssh_forward_unix(struct ssh *s, const char *path, const char **socket_name, struct error *err)
{
    return forward(s, NULL, 0, path, socket_name, err);
}

int forward_tunnel(struct ssh *s, const char *host, uint16_t port, struct error *err)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0)
        return error_set(err, RESULT_FAILED, "socketpair: %s", strerror(errno));
    conn_new(s, forwarder_new(s, host, port, NULL), ends[0]);
    ssh_wake(s);
    return ends[1];
}

void forward_abort(struct ssh *s)
{
    while (s->conns) {
        struct conn *c = s->conns;
        s->conns = c->next;
        conn_close_local(c);
        mem_free(c);
    }
}

void forward_free(struct ssh *s)
{
    while (s->forwarders) {
        struct forwarder *f = s->forwarders;
        s->forwarders = f->next;
        loop_unwatch(f->watch);
        cleanup_fd(&f->fd);
        mem_free(f->name);
        mem_free(f->host);
        mem_free(f->path);
        mem_free(f);
    }
}

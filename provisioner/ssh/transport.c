/*
 * Between libssh2 and the socket. libssh2 works on memory only: what it sends goes through
 * send_out() into a queue that is flushed here, what it reads comes from receive(). So it never
 * meets a full socket. That matters: after a packet that went out by half, libssh2 wants the very
 * same call again before any other on that session, which no set of independent channels (and none
 * of its own window adjustments and keep-alives) can promise.
 */
#include "provisioner/ssh/session.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void *lib_alloc(size_t size, void **abstract)
{
    (void)abstract;
    return wipe_malloc(size);
}

static void *lib_realloc(void *p, size_t size, void **abstract)
{
    (void)abstract;
    return wipe_realloc(p, size);
}

static void lib_free(void *p, void **abstract)
{
    (void)abstract;
    wipe_free(p);
}

LIBSSH2_SESSION *ssh_lib_new(void *abstract)
{
    LIBSSH2_SESSION *lib = libssh2_session_init_ex(lib_alloc, lib_free, lib_realloc, abstract);
    if (!lib)
        abort();
    libssh2_session_set_blocking(lib, 0);
    return lib;
}

static void out_add(struct ssh *s, const char *data, size_t len)
{
    if (s->out.start == s->out.len)
        s->out.start = s->out.len = 0;
    if (s->out.len + len > s->out.cap && s->out.start) {
        memmove(s->out.data, s->out.data + s->out.start, s->out.len - s->out.start);
        s->out.len -= s->out.start;
        s->out.start = 0;
    }
    if (s->out.len + len > s->out.cap) {
        s->out.cap = (s->out.len + len) * 2;
        s->out.data = mem_realloc(s->out.data, s->out.cap, 1);
    }
    memcpy(s->out.data + s->out.len, data, len);
    s->out.len += len;
}

static int flush(struct ssh *s)
{
    while (s->out.start < s->out.len) {
        ssize_t n = send(s->fd, s->out.data + s->out.start, s->out.len - s->out.start,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return 0;
        if (n < 0) {
            s->io_error = errno;
            return -1;
        }
        s->out.start += (size_t)n;
    }
    return 0;
}

int transport_flush(struct ssh *s)
{
    if (flush(s) < 0)
        return -1;
    return s->overflowed ? -1 : 0; /* something is missing in what goes out */
}

/* libssh2 speaks to the agent through the same callbacks, on a descriptor of its own, and in a way
 * that only works where that blocks. So it does, but no longer than the login may take. */
static ssize_t agent_wait(const struct ssh *s, int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    int rc;
    do {
        int64_t left = s->deadline - loop_now();
        rc = poll(&p, 1, left > 0 ? (int)left : 0);
    } while (rc < 0 && errno == EINTR);
    return rc > 0 ? 0 : -ETIMEDOUT;
}

static ssize_t send_out(libssh2_socket_t fd, const void *data, size_t len, int flags,
                        void **abstract)
{
    struct ssh *s = *abstract;
    (void)flags;
    if (fd != s->fd) {
        ssize_t rc = agent_wait(s, fd, POLLOUT);
        if (rc == 0)
            rc = send(fd, data, len, MSG_NOSIGNAL);
        return rc < 0 ? -ECONNRESET : rc;
    }
    if (s->ending)
        return (ssize_t)len;
    /* Channels aren't fed beyond SSH_OUT_HIGH: these are answers to a node that reads none. */
    s->overflowed = s->overflowed || s->out.len - s->out.start + len > SSH_OUT_LIMIT;
    if (s->overflowed)
        return -ECONNRESET;
    out_add(s, data, len);
    s->sent += len;
    return (ssize_t)len;
}

static ssize_t receive(libssh2_socket_t fd, void *data, size_t len, int flags, void **abstract)
{
    struct ssh *s = *abstract;
    (void)flags;
    if (fd != s->fd) {
        ssize_t rc = agent_wait(s, fd, POLLIN);
        if (rc == 0)
            rc = recv(fd, data, len, 0);
        return rc <= 0 ? -ECONNRESET : rc; /* libssh2 would read an end again and again */
    }
    if (s->ending)
        return -ECONNRESET;
    if (!s->readable)
        return -EAGAIN;
    ssize_t n;
    do
        n = recv(fd, data, len, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        s->readable = false;
        return -EAGAIN;
    }
    if (n <= 0) {
        s->closed = true;
        s->io_error = n < 0 ? errno : 0;
        return n < 0 ? -errno : 0;
    }
    s->heard = loop_now();
    s->asked = 0;
    return n;
}

static void disconnected(LIBSSH2_SESSION *lib, int reason, const char *message, int len,
                         const char *language, int language_len, void **abstract)
{
    struct ssh *s = *abstract;
    (void)lib, (void)reason, (void)language, (void)language_len;
    if (!message || len <= 0)
        return;
    mem_free(s->goodbye);
    s->goodbye = mem_strndup(message, len > 200 ? 200 : (size_t)len);
    for (char *c = s->goodbye; *c; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
    }
}

void transport_attach(struct ssh *s)
{
    static const struct {
        int type;
        libssh2_cb_generic *fn;
    } callbacks[] = {
        {LIBSSH2_CALLBACK_SEND, (libssh2_cb_generic *)send_out},
        {LIBSSH2_CALLBACK_RECV, (libssh2_cb_generic *)receive},
        {LIBSSH2_CALLBACK_DISCONNECT, (libssh2_cb_generic *)disconnected},
    };
    s->lib = ssh_lib_new(s);
    for (size_t i = 0; i < ARRAY_LEN(callbacks); i++)
        libssh2_session_callback_set2(s->lib, callbacks[i].type, callbacks[i].fn);
}

char *transport_explain(struct ssh *s)
{
    char *text = NULL;
    if (s->goodbye)
        return mem_printf("the server ended the connection: %s", s->goodbye);
    if (s->overflowed)
        return mem_printf("the server sends and does not read: %d MiB wait to be sent to it",
                          SSH_OUT_LIMIT >> 20);
    if (s->io_error)
        return mem_printf("the connection broke: %s", strerror(s->io_error));
    int code = s->lib ? libssh2_session_last_error(s->lib, &text, NULL, 0) : 0;
    if (code == LIBSSH2_ERROR_SOCKET_RECV || code == LIBSSH2_ERROR_SOCKET_DISCONNECT || !code)
        return mem_strdup("the server closed the connection");
    if (code == LIBSSH2_ERROR_KEX_FAILURE)
        return mem_strdup("the server and libssh2 have no key exchange, cipher, MAC or host key "
                          "algorithm in common");
    return mem_printf("%s (libssh2 error %d)", text && *text ? text : "the connection broke", code);
}

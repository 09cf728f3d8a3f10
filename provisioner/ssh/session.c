/* One SSH session, from its socket to its end: connecting, logging in, keeping alive. */
#include "provisioner/ssh/session.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROUNDS = 16 };

static const char kex_algorithms[] =
    "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,"
    "ecdh-sha2-nistp521,diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,"
    "diffie-hellman-group-exchange-sha256,diffie-hellman-group14-sha256";
static const char ciphers[] =
    "chacha20-poly1305@openssh.com,aes256-gcm@openssh.com,aes128-gcm@openssh.com,aes256-ctr,"
    "aes192-ctr,aes128-ctr";
static const char macs[] = "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,"
                           "hmac-sha2-256,hmac-sha2-512";

/* ---- ends ---- */

static void release(struct ssh *s)
{
    s->ending = true;
    auth_free(s);
    forward_abort(s);
    exec_abort(s);
    if (s->lib)
        libssh2_session_free(s->lib); /* frees the channels with it; can't block while ending */
    s->lib = NULL;
    s->anchor = NULL;
    ERR_clear_error();
    loop_unwatch(STEAL(s->watch));
    if (s->fd >= 0)
        shutdown(s->fd, SHUT_RDWR); /* a forked child may hold a copy */
    cleanup_fd(&s->fd);
    s->fd = -1;
    if (s->addresses)
        freeaddrinfo(STEAL(s->addresses));
    mem_free(STEAL(s->out.data));
    s->out.start = s->out.len = s->out.cap = 0;
}

void ssh_die(struct ssh *s, struct error *why)
{
    if (s->phase == PHASE_DEAD)
        return;
    s->phase = PHASE_DEAD;
    error_move(&s->failure, why);
    release(s);
    if (s->bastion) {
        struct error over CLEANUP(error_clear) = {0};
        error_set(&over, RESULT_FAILED, "the session through it ended");
        ssh_die(s->bastion, &over);
    }
}

static void die_explained(struct ssh *s, const char *doing)
{
    struct error why CLEANUP(error_clear) = {0};
    char *text CLEANUP(cleanup_mem) = transport_explain(s);
    error_set(&why, s->phase < PHASE_READY ? RESULT_REFUSED : RESULT_FAILED, "%s%s", doing, text);
    if (s->bastion && s->bastion->failure.message)
        error_set(&why, why.result, "%s: %s", s->bastion->name, s->bastion->failure.message);
    else if (s->bastion && s->bastion->channel_error)
        error_set(&why, why.result, "%s could not reach it: %s", s->bastion->name,
                  s->bastion->channel_error);
    ssh_die(s, &why);
}

void ssh_close(struct ssh *s)
{
    if (!s)
        return;
    if (s->lib && s->phase > PHASE_HANDSHAKE && s->phase < PHASE_DEAD) {
        libssh2_session_disconnect(s->lib, "done");
        transport_flush(s);
    }
    struct error none CLEANUP(error_clear) = {0};
    ssh_die(s, &none);
    forward_free(s);
    ssh_close(s->bastion);
    ssh_credentials_free(&s->credentials);
    error_clear(&s->failure);
    mem_free(s->goodbye);
    mem_free(s->channel_error);
    mem_free(s->name);
    mem_free(s->host);
    mem_free(s->user);
    mem_free(s);
}

const char *ssh_dead(const struct ssh *s)
{
    return s->phase == PHASE_DEAD ? s->failure.message : NULL;
}

const char *ssh_last_channel_error(const struct ssh *s)
{
    return s->channel_error;
}

const char *ssh_explain(const void *way)
{
    const struct ssh *s = way;
    const char *dead = ssh_dead(s);
    return dead ? dead : ssh_last_channel_error(s);
}

/* ---- connecting ---- */

static void event(void *ctx, short revents);

static void next_address(struct ssh *s)
{
    struct error why CLEANUP(error_clear) = {0};
    while (s->address) {
        const struct addrinfo *a = s->address;
        loop_unwatch(STEAL(s->watch));
        cleanup_fd(&s->fd);
        s->fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (s->fd >= 0 &&
            (connect(s->fd, a->ai_addr, a->ai_addrlen) == 0 || errno == EINPROGRESS)) {
            int on = 1, left = 0;
            for (; a; a = a->ai_next)
                left++;
            setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
            s->attempt_deadline = loop_now() + (s->deadline - loop_now()) / left;
            s->watch = loop_watch(s->loop, s->fd, POLLOUT, event, s);
            loop_watch_wake_at(s->watch, s->attempt_deadline);
            return;
        }
        s->io_error = errno;
        s->address = a->ai_next;
    }
    error_set(&why, RESULT_REFUSED, "connecting to port %u: %s", s->port, strerror(s->io_error));
    ssh_die(s, &why);
}

static int handshake_begin(struct ssh *s, struct error *err)
{
    transport_attach(s);
    const struct {
        int type;
        const char *list;
    } preferences[] = {
        {LIBSSH2_METHOD_KEX, kex_algorithms}, {LIBSSH2_METHOD_CRYPT_CS, ciphers},
        {LIBSSH2_METHOD_CRYPT_SC, ciphers},   {LIBSSH2_METHOD_MAC_CS, macs},
        {LIBSSH2_METHOD_MAC_SC, macs},
    };
    for (size_t i = 0; i < ARRAY_LEN(preferences); i++) {
        if (libssh2_session_method_pref(s->lib, preferences[i].type, preferences[i].list) != 0)
            return error_set(err, RESULT_FAILED, "libssh2 knows none of %s", preferences[i].list);
    }
    if (host_key_prefer(s, err) < 0)
        return -1;
    s->phase = PHASE_HANDSHAKE;
    return 0;
}

static void connected(struct ssh *s)
{
    struct error why CLEANUP(error_clear) = {0};
    struct sockaddr_storage peer;
    socklen_t len = sizeof(s->io_error), peer_len = sizeof(peer);
    if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &s->io_error, &len) < 0)
        s->io_error = errno;
    if (!s->io_error && getpeername(s->fd, (struct sockaddr *)&peer, &peer_len) < 0) {
        if (errno == ENOTCONN && loop_now() < s->attempt_deadline)
            return;
        s->io_error = ETIMEDOUT;
    }
    if (s->io_error) {
        s->address = s->address->ai_next;
        next_address(s);
        return;
    }
    if (handshake_begin(s, &why) < 0)
        ssh_die(s, &why);
}

static int resolve(struct ssh *s, struct error *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    char port[8];
    snprintf(port, sizeof(port), "%u", s->port);
    int rc = getaddrinfo(s->host, port, &hints, &s->addresses);
    if (rc != 0)
        return error_set(err, RESULT_REFUSED, "looking up its address: %s",
                         rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
    s->address = s->addresses;
    return 0;
}

void ssh_start(struct ssh *s)
{
    struct error why CLEANUP(error_clear) = {0};
    s->deadline = loop_now() + s->settings.timeout_ms;
    if (!s->bastion) {
        s->phase = PHASE_CONNECTING;
        if (resolve(s, &why) < 0)
            ssh_die(s, &why);
        else
            next_address(s);
        return;
    }
    s->fd = forward_tunnel(s->bastion, s->host, s->port, &why);
    if (s->fd >= 0) {
        s->watch = loop_watch(s->loop, s->fd, POLLIN, event, s);
        if (handshake_begin(s, &why) == 0) {
            ssh_wake(s);
            return;
        }
    }
    ssh_die(s, &why);
}

/* ---- logging in: each gives 1 when it is done, 0 to be called again, -1 dead ---- */

static int step_handshake(struct ssh *s)
{
    struct error why CLEANUP(error_clear) = {0};
    int rc = libssh2_session_handshake(s->lib, s->fd);
    if (rc == LIBSSH2_ERROR_EAGAIN)
        return 0;
    if (rc != 0) {
        die_explained(s, "SSH handshake: ");
        return -1;
    }
    if (host_key_check(s, &why) < 0) {
        ssh_die(s, &why);
        return -1;
    }
    s->phase = PHASE_AUTH;
    return 1;
}

static int step_auth(struct ssh *s)
{
    struct error why CLEANUP(error_clear) = {0};
    int rc = auth_step(s, &why);
    if (rc < 0)
        ssh_die(s, &why);
    if (rc <= 0)
        return rc;
    auth_free(s);
    s->next_keepalive = loop_now() + SSH_KEEPALIVE_MS;
    libssh2_session_set_read_timeout(s->lib, SSH_OPEN_SECONDS);
    /* At its own ticks only; libssh2's clock is the wall's, in seconds, and 1 means 2 to it. */
    libssh2_keepalive_config(s->lib, 1, 1);
    s->phase = PHASE_ANCHOR;
    return 1;
}

/*
 * libssh2 handles what the server sends by itself (its keep-alives, new keys, the goodbye) only
 * inside a call that reads, and the only ones that do nothing else need a channel. So one is open
 * always, with nothing running in it. A server that allows no session channels (MaxSessions 0: many
 * bastions) does without: it is then read only while it has connections or commands.
 */
static int step_anchor(struct ssh *s)
{
    s->anchor = libssh2_channel_open_session(s->lib);
    int rc = s->anchor ? 0 : libssh2_session_last_errno(s->lib);
    if (rc == LIBSSH2_ERROR_EAGAIN)
        return 0;
    if (rc != 0 && rc != LIBSSH2_ERROR_CHANNEL_FAILURE) {
        die_explained(s, "after logging in: ");
        return -1;
    }
    s->phase = PHASE_READY;
    return 1;
}

static int step_ready(struct ssh *s)
{
    char scrap[256];
    if (s->anchor_lent && s->anchor && libssh2_channel_free(s->anchor) != LIBSSH2_ERROR_EAGAIN)
        s->anchor = NULL;
    if (s->anchor && !s->anchor_lent) {
        ssize_t n = libssh2_channel_read(s->anchor, scrap, sizeof(scrap));
        if (n < 0 && n != LIBSSH2_ERROR_EAGAIN) {
            die_explained(s, "");
            return -1;
        }
    }
    int rc = forward_service(s);
    int more = rc < 0 ? 0 : exec_service(s);
    if (rc < 0 || more < 0)
        die_explained(s, "");
    return rc < 0 || more < 0 ? -1 : rc | more;
}

static int step(struct ssh *s)
{
    switch (s->phase) {
    case PHASE_HANDSHAKE:
        return step_handshake(s);
    case PHASE_AUTH:
        return step_auth(s);
    case PHASE_ANCHOR:
        return step_anchor(s);
    case PHASE_READY:
        return step_ready(s);
    default:
        return 0;
    }
}

/* ---- in the loop ---- */

/* When it is to be given up: not before the keep-alive had its time too, this process may have
 * slept in between. */
static int64_t silence_ends(const struct ssh *s)
{
    int64_t a = s->heard + SSH_SILENCE_MS;
    int64_t b = s->asked + SSH_SILENCE_MS - SSH_KEEPALIVE_MS;
    return a > b ? a : b;
}

/* Whether anything reads from it. */
static bool is_in_use(const struct ssh *s)
{
    return s->anchor || s->conns || s->jobs;
}

static void watch(struct ssh *s, bool again)
{
    bool reads = s->phase < PHASE_READY || is_in_use(s);
    short events = (short)((reads ? POLLIN : 0) | (s->out.start < s->out.len ? POLLOUT : 0));
    int64_t wake = s->deadline;
    loop_watch_events(s->watch, events);
    if (s->phase == PHASE_READY) {
        wake = s->next_keepalive;
        if (s->asked && silence_ends(s) < wake)
            wake = silence_ends(s);
        forward_watch(s);
    }
    loop_watch_wake_at(s->watch, again ? loop_now() : wake);
}

/*
 * Reading or writing one channel takes everything off the socket, for all channels: what lies in
 * libssh2's queue then makes no descriptor readable. So all are gone through until nothing moves
 * any more, but only so often in one turn of the loop: others want to live too.
 */
void ssh_service(struct ssh *s)
{
    if (s->servicing || s->phase < PHASE_HANDSHAKE || s->phase == PHASE_DEAD)
        return;
    s->servicing = true;
    int moved = 1;
    for (int round = 0; round < ROUNDS && moved > 0; round++) {
        moved = step(s);
        if (moved >= 0 && transport_flush(s) < 0) {
            s->readable = true; /* its goodbye may lie there */
            moved = step(s);
            if (moved >= 0)
                die_explained(s, "");
            moved = -1;
        }
    }
    s->servicing = false;
    if (moved >= 0)
        watch(s, moved > 0);
}

void ssh_wake(struct ssh *s)
{
    if (s->watch)
        loop_watch_wake_at(s->watch, loop_now());
}

static void login_timed_out(struct ssh *s)
{
    static const char *const doing[] = {
        [PHASE_CONNECTING] = "connecting to port",
        [PHASE_HANDSHAKE] = "waiting for its SSH server on port",
        [PHASE_AUTH] = "logging in on port",
        [PHASE_ANCHOR] = "opening a channel on port",
    };
    struct error why CLEANUP(error_clear) = {0};
    error_set(&why, RESULT_REFUSED, "%s %u: no answer in %lld s", doing[s->phase], s->port,
              (long long)(s->settings.timeout_ms + 999) / 1000);
    ssh_die(s, &why);
}

/* True where there is something to be sent. */
static bool tick(struct ssh *s)
{
    int64_t now = loop_now();
    if (s->phase < PHASE_READY) {
        if (now >= s->deadline)
            login_timed_out(s);
        return false;
    }
    bool reads = is_in_use(s);
    if (!reads)
        s->asked = 0;
    if (s->asked && now >= silence_ends(s)) {
        struct error why CLEANUP(error_clear) = {0};
        error_set(&why, RESULT_FAILED, "the connection is dead: nothing was heard for %d s",
                  SSH_SILENCE_MS / 1000);
        ssh_die(s, &why);
        return false;
    }
    if (now < s->next_keepalive)
        return false;
    s->next_keepalive = now + SSH_KEEPALIVE_MS;
    forward_tick(s);
    uint64_t sent = s->sent;
    int next = 0;
    if (reads && libssh2_keepalive_send(s->lib, &next) == 0 && s->sent > sent && !s->asked)
        s->asked = now;
    return true;
}

static void event(void *ctx, short revents)
{
    struct ssh *s = ctx;
    if (s->phase == PHASE_CONNECTING) {
        if (revents || loop_now() >= s->attempt_deadline)
            connected(s);
        if (s->phase == PHASE_CONNECTING)
            return;
    }
    /* Looked at in any case: after this process itself slept, answers may lie there. */
    s->readable = true;
    ssh_service(s);
    if (s->phase != PHASE_DEAD && tick(s))
        ssh_service(s);
}

/* What the files of this folder share. Nobody outside includes it. */
#ifndef ENCRYPT_PROVISIONER_SSH_SESSION_H
#define ENCRYPT_PROVISIONER_SSH_SESSION_H

#include "provisioner/ssh/ssh.h"

#include <libssh2.h>
#include <netdb.h>

enum {
    SSH_KEEPALIVE_MS = 5000,
    SSH_SILENCE_MS = 15000, /* nothing heard for so long, with keep-alives unanswered: dead */
    SSH_OPEN_SECONDS = 5,   /* to open a channel: libssh2 opens one at a time, the others wait, and
                               libcurl gives each 10 s */
    SSH_OUT_HIGH = 256 * 1024,        /* more than this unsent: channels aren't fed */
    SSH_OUT_LIMIT = 16 * 1024 * 1024, /* more: the session is ended */
};

enum ssh_phase {
    PHASE_WAITING, /* for the bastion */
    PHASE_CONNECTING,
    PHASE_HANDSHAKE,
    PHASE_AUTH,
    PHASE_ANCHOR, /* opening the channel that is there to be read from */
    PHASE_READY,
    PHASE_DEAD,
};

/* ---- keys.c: private keys, read (and their passphrases asked for) once, before anything connects
 * ---- */

struct ssh_key {
    char *label; /* the path, or "ssh_key of 10.0.0.1" */
    char *path;  /* NULL: inline */
    struct buf text;
    char *passphrase; /* NULL where it has none */
};

struct ssh_keys {
    struct ssh_key **items;
    size_t count;
};

/* What one machine is logged into with. */
struct ssh_credentials {
    bool agent;
    const struct ssh_key *key; /* NULL with the agent */
    struct buf certificate;    /* one line, empty: none */
    char *certificate_label;
};

/* Finds or loads the key and certificate that `access` names. */
int ssh_credentials_load(struct ssh_keys *keys, const struct ssh_settings *settings,
                         const struct ssh_access *access, struct ssh_credentials *out,
                         struct error *err) MUST_CHECK;
void ssh_credentials_free(struct ssh_credentials *c);
void ssh_keys_free(struct ssh_keys *keys); /* also for CLEANUP */

/* ---- session.c ---- */

struct ssh_auth;
struct conn;
struct job;
struct forwarder;

struct ssh {
    struct loop *loop;
    struct ssh_settings settings;
    char *name; /* "node 10.0.0.1", "bastion 10.0.0.9" */
    char *host, *user;
    uint16_t port;
    struct ssh *bastion; /* owned; each target has a session of its own through the bastion, so none
                            waits for another's */

    enum ssh_phase phase;
    int64_t deadline;         /* until logged in */
    int64_t attempt_deadline; /* of this address */
    struct addrinfo *addresses, *address;
    struct error failure; /* why it is dead, with what to do next */

    int fd;
    struct loop_watch *watch;
    bool readable; /* not known to be drained */
    bool closed;   /* the other end is gone */
    bool ending;   /* libssh2 is only to forget: nothing goes out, nothing comes in */
    bool servicing;
    int io_error;
    struct {
        char *data;
        size_t start, len, cap;
    } out; /* encrypted already */
    bool overflowed;
    int64_t heard, asked,
        next_keepalive; /* asked: the first keep-alive since something was heard, or 0 */
    uint64_t sent;      /* bytes that libssh2 gave us to send */
    char *goodbye;      /* what the server said when it disconnected */

    LIBSSH2_SESSION *lib;
    LIBSSH2_CHANNEL *anchor;
    bool anchor_lent; /* its place is wanted for commands: it is closed, and not opened again */
    struct ssh_credentials credentials;
    struct ssh_auth *auth;

    struct conn *conns;
    struct job *jobs;
    struct forwarder *forwarders;
    char *channel_error;
};

/* Begins to connect (PHASE_WAITING before). Failures show as PHASE_DEAD. */
void ssh_start(struct ssh *s);
/* Does all that can be done now without waiting. */
void ssh_service(struct ssh *s);
/* The same, from the loop: where service is running already, or would call back into the caller. */
void ssh_wake(struct ssh *s);
/* Ends it now. `why` is emptied. */
void ssh_die(struct ssh *s, struct error *why);
/* ---- transport.c ---- */

/* A libssh2 session that doesn't block, with memory that is wiped. */
LIBSSH2_SESSION *ssh_lib_new(void *abstract);
/* Makes s->lib, on s->fd. */
void transport_attach(struct ssh *s);
/* Sends what the socket takes; -1: s->io_error says why not. */
int transport_flush(struct ssh *s);
/* Says what became of the connection: the server's goodbye, the socket's error, libssh2's words. */
char *transport_explain(struct ssh *s);

/* ---- host_key.c ---- */

/* Prefers the algorithms whose keys are known for this host. */
int host_key_prefer(struct ssh *s, struct error *err) MUST_CHECK;
/* After the handshake and before anything else is sent. */
int host_key_check(struct ssh *s, struct error *err) MUST_CHECK;

/* ---- auth.c ---- */

/* 1 logged in, 0 to be called again when there is more to read, -1 error. */
int auth_step(struct ssh *s, struct error *err) MUST_CHECK;
void auth_free(struct ssh *s);

/* ---- forward.c ---- */

/* Moves what can be moved: 1 where anything was, 0 where not, -1 where the session is broken. */
int forward_service(struct ssh *s);
/* True while a channel is half open: libssh2 can open one at a time. */
bool forward_is_opening(const struct ssh *s);
/* Closes what clients have given up. */
void forward_tick(struct ssh *s);
/* Sets what the connections wait for. */
void forward_watch(struct ssh *s);
/* Closes all connections; the listeners stay until forward_free(), so that nobody else can take
 * their names. */
void forward_abort(struct ssh *s);
void forward_free(struct ssh *s);
/* A channel to host:port whose other end is the descriptor that is given back. */
int forward_tunnel(struct ssh *s, const char *host, uint16_t port, struct error *err) MUST_CHECK;

/* ---- exec.c ---- */

/* As forward_service(). */
int exec_service(struct ssh *s);
bool exec_is_opening(const struct ssh *s);
/* Ends all commands, as failed. */
void exec_abort(struct ssh *s);

#endif

/*
 * SSH sessions by libssh2, non-blocking in the loop, and forwarders: local sockets whose
 * connections run through a channel of the session to a TCP port or Unix socket of the node.
 */
#ifndef ENCRYPT_PROVISIONER_SSH_SSH_H
#define ENCRYPT_PROVISIONER_SSH_SSH_H

#include "base/buf.h"
#include "provisioner/net/loop.h"
#include "state/cluster_yml.h"

/* What all sessions of a run share; strings not owned, must outlive them. */
struct ssh_settings {
    bool use_agent; /* --ssh-agent-auth or ssh_agent_auth: the agent at SSH_AUTH_SOCK, for nodes and
                       bastion */
    const char *known_hosts;        /* file; need not exist */
    const char *global_known_hosts; /* the machine's, asked too; NULL: /etc/ssh/ssh_known_hosts */
    bool accept_new_host_keys;   /* an unknown key is added to the file and said; a changed one is
                                    refused all the same */
    const char *passphrase_file; /* first line is tried for keys that want one; NULL: ask */
    /* Asks the user for a secret: wiped malloc'd text, or NULL where there is nobody to ask. May be
     * NULL. */
    char *(*ask)(void *ctx, const char *prompt);
    /* True where `ask` gave NULL since the user wants to stop (Ctrl-C). May be NULL. */
    bool (*stop)(void *ctx);
    /* Says something to the user (one line, no newline). May be NULL. */
    void (*say)(void *ctx, const char *text);
    void *ctx;
    int64_t timeout_ms; /* for connecting and logging in, each node */
};

struct ssh;

/*
 * Connects to all targets side by side (bastion: NULL, or the host that each is reached through),
 * checks their host keys, logs in: agent, certificate, inline key, key file, whichever is set. All
 * or none: an error (REFUSED: nothing was changed) names every node that could not be reached or
 * logged into and why; sessions[] is then all NULL. Key types: ed25519, ECDSA, RSA with SHA-2. A
 * host key that is unknown or changed is refused with its SHA-256 fingerprint and what to do (the
 * ssh-keygen -R or --accept-new-host-keys command).
 */
int ssh_connect_all(struct loop *loop, const struct ssh_settings *settings,
                    const struct ssh_access *bastion, const struct ssh_access *const *targets,
                    size_t count, struct ssh **sessions, struct error *err) MUST_CHECK;

/* The same, each by itself: sessions[i] is NULL where whys[i] (empty before; the caller's to clear)
 * says why it could not be had. The error is for INTERRUPTED and this machine's own troubles. */
int ssh_connect_each(struct loop *loop, const struct ssh_settings *settings,
                     const struct ssh_access *bastion, const struct ssh_access *const *targets,
                     size_t count, struct ssh **sessions, struct error *whys,
                     struct error *err) MUST_CHECK;

/* Forwards: gives the name of a Unix socket in the abstract namespace (random; connections from
 * processes other than this one are refused by SO_PEERCRED; no file is left behind by a kill) for
 * http_server.socket. Each connection to it opens a channel to host:port (direct-tcpip, as seen
 * from the node), or to the Unix socket `path` on the node (direct-streamlocal@openssh.com). The
 * name is owned by the session. */
int ssh_forward_tcp(struct ssh *s, const char *host, uint16_t port, const char **socket_name,
                    struct error *err) MUST_CHECK;
int ssh_forward_unix(struct ssh *s, const char *path, const char **socket_name,
                     struct error *err) MUST_CHECK;

/* What a command on the node gave; {0} before. The bytes may hold a key: they are wiped when freed.
 */
struct ssh_answer {
    struct buf out, errors; /* its standard output and error */
    int status;             /* its exit status; 128 and more: ended by a signal */
};
void ssh_answer_free(struct ssh_answer *a); /* also for CLEANUP */

/*
 * Runs a command by the user's shell on the node (RFC 4254, 6.5: "exec"; no terminal, nothing in
 * the environment), gives it `in` (NULL: nothing) on standard input, waits for its end. No key
 * belongs in `command`: others on the node see it. At most 32 KB. Any exit status is a success
 * here; 0 is also what is given where the server told none (it may close channels at will, see
 * ChannelTimeout in sshd_config(5)), so who must know says so himself. FAILED: the
 * channel could not be opened, the session died, it took longer than `timeout_ms`, it said more
 * than `limit` bytes. A command whose answer was lost may still run, or have run.
 */
int ssh_exec(struct ssh *s, const char *command, const void *in, size_t in_len, size_t limit,
             int64_t timeout_ms, struct ssh_answer *out, struct error *err) MUST_CHECK;

/* Why the last channel of this session could not be opened (the server's words: "administratively
 * prohibited", "connect failed"), or NULL; to explain a request that failed. Owned by the session.
 */
const char *ssh_last_channel_error(const struct ssh *s);

/* NULL while the session lives; else what ended it. A session whose keep-alives (every 5 s) go
 * unanswered for 15 s is ended, and with it all its connections. Owned by the session. */
const char *ssh_dead(const struct ssh *s);

/* Why nothing gets through it now: that it is dead, or why its last channel could not be opened.
 * NULL where all is well. For http_server.explain; `way` is the session. */
const char *ssh_explain(const void *way);

/* Ends the session and its forwarders. NULL is fine. */
void ssh_close(struct ssh *s);

#endif

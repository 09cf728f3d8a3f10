/* The decision on a host key: known_hosts files as OpenSSH has them (sshd(8), SSH_KNOWN_HOSTS FILE
 * FORMAT). */
#ifndef ENCRYPT_PROVISIONER_SSH_KNOWN_HOSTS_H
#define ENCRYPT_PROVISIONER_SSH_KNOWN_HOSTS_H

#include "base/buf.h"
#include "base/error.h"

#include <stdint.h>

enum host_key_verdict {
    HOST_KEY_KNOWN,
    HOST_KEY_UNKNOWN, /* no line for this host (and port) at all */
    HOST_KEY_CHANGED, /* the host is there with another key of this type, or only with keys of other
                         types */
    HOST_KEY_REVOKED, /* @revoked */
};

struct host_key {
    const char *host; /* name or address as dialled */
    uint16_t port;
    const unsigned char *blob; /* as in the SSH protocol: its type's name stands inside */
    size_t blob_len;
};

/* Decides by the file's text (hashed names, [host]:port, patterns with * ? and !, comma lists,
 * @revoked; @cert-authority lines are passed over). *line (may be NULL) is the line that decided, 0
 * where none did. */
enum host_key_verdict known_hosts_check(const char *text, size_t len, const struct host_key *key,
                                        size_t *line);

/* Of two files: revoked or changed in either counts; else known in either is enough. */
enum host_key_verdict known_hosts_combine(enum host_key_verdict a, enum host_key_verdict b);

/* The key types that the file has for this host, in the file's order, to prefer in the handshake
 * (so that a host that is known by its ed25519 key isn't asked for another):
 * "ssh-ed25519,ecdsa-sha2-nistp256,rsa-sha2-512,…" or NULL. To be freed. */
char *known_hosts_algorithms(const char *text, size_t len, const char *host, uint16_t port);

/* Appends a line for the key to the file, durably; makes the file (0600) and its folder (0700)
 * where they are not there. */
int known_hosts_add(const char *path, const struct host_key *key, struct error *err) MUST_CHECK;

/* "SHA256:…" as ssh-keygen -l shows it. To be freed. */
char *host_key_fingerprint(const struct host_key *key);

#endif

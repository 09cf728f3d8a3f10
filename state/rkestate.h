/*
 * RKE's cluster.rkestate, read and written so that RKE goes on with it afterwards: unknown members,
 * their order and the numbers survive. JSON by Jansson. It is the provisioner's file; of it we
 * change the two encryptionConfig strings, the two `enabled` flags, the two customConfigs, a
 * rotateEncryptionKey that is true, and our own member, no more.
 *
 *   { "desiredState": { "rkeConfig": {…}, "certificatesBundle": {…}, "encryptionConfig": "<YAML>"
 * }, "currentState": { the same three }, "encrypt": {…our journal…} }
 *
 * Before RKE has brought a cluster up, its currentState is {}: that counts here as none.
 */
#ifndef ENCRYPT_STATE_RKESTATE_H
#define ENCRYPT_STATE_RKESTATE_H

#include "base/buf.h"
#include "base/error.h"
#include "templates/encryption_config.h"

#include <jansson.h>
#include <stdbool.h>

struct rkestate {
    char *path;
    json_t *root;           /* an object */
    bool on_disk;           /* read from or written to `path` */
    bool is_new;            /* no such file may be there when it is first written */
    unsigned char seen[32]; /* on_disk: SHA-256 of the file as we last read or wrote it */
};

/* Reads the file. *out is NULL, with 0, where there is none. REFUSED: not JSON (file:line:column),
 * not an object, a member twice, a member that we need of another type than RKE's, group or world
 * access (next: chmod 600 …), no desiredState and no currentState. */
int rkestate_read(const char *path, struct rkestate **out, struct error *err) MUST_CHECK;
/* The same from text, for a file that isn't there yet, tests and fuzzing. */
int rkestate_parse(const char *text, size_t len, const char *path, struct rkestate **out,
                   struct error *err) MUST_CHECK;

/* Writes it atomically and durably (file_write), indented by two spaces as RKE does. REFUSED, and
 * nothing written, where the file is another than we last read or wrote: RKE ran meanwhile, and
 * its certificates would be lost. */
int rkestate_write(struct rkestate *s, struct error *err) MUST_CHECK;
/* That check alone. */
int rkestate_check_unchanged(const struct rkestate *s, struct error *err) MUST_CHECK;

/* A state of which RKE's own members (certificates, rkeConfig) are lost: the two encryptionConfig
 * strings alone, empty, to be set with rkestate_set_encryption(). RKE can't work with it, we can.
 */
struct rkestate *rkestate_bare(const char *path);
/* True where neither state has rkeConfig or certificates: RKE would make new ones. */
bool rkestate_is_bare(const struct rkestate *s);

void rkestate_free(struct rkestate *s); /* wipes */
void cleanup_rkestate(struct rkestate **s);

/* The running configuration's text: currentState.encryptionConfig, or (no currentState)
 * desiredState's. "" where there is none. Owned by the state. */
const char *rkestate_encryption_config(const struct rkestate *s);
/* desiredState.encryptionConfig, or "". */
const char *rkestate_desired_encryption_config(const struct rkestate *s);

/* Sets both encryptionConfig strings (in the states that are there), and
 * rkeConfig.services.kubeApi.secretsEncryptionConfig.enabled in both: objects that are missing on
 * the way are made, but never rkeConfig itself (RKE would take it for a cluster that is there);
 * where it is disabled and was absent, nothing is made. A rotateEncryptionKey that is true there is
 * set to false (RKE would rotate again). */
void rkestate_set_encryption(struct rkestate *s, const char *yaml, bool enabled);
/* True where both strings are the same configuration (or don't read) and the flags say `enabled`
 * and no rotation: what rkestate_set_encryption() would leave. A state that isn't there agrees. */
bool rkestate_agrees(const struct rkestate *s, bool enabled);

/*
 * secretsEncryptionConfig.customConfig of both states, where that object is: `custom` as RKE's
 * encoder writes it, or taken out (NULL). RKE's `up` compares nothing with it, but chooses by its
 * being there in currentState how it disables, and that it refuses rotate_encryption_key: without
 * it, RKE takes a custom configuration for its own, of which it keeps one key of aescbc alone.
 */
void rkestate_set_custom(struct rkestate *s, const struct encryption_config *custom);
/* The same, as `from` has it; nothing where `from` has no secretsEncryptionConfig. */
void rkestate_copy_custom(struct rkestate *s, const struct rkestate *from);
/* True where the running configuration is, by that, a custom_config: currentState's, or (no
 * currentState) desiredState's. */
bool rkestate_is_custom(const struct rkestate *s);

/* A certificate of the bundle (currentState's, else desiredState's): PEM texts owned by the state,
 * NULL where there is none. Names: "kube-ca", "kube-admin", … The two of one name always come from
 * the same bundle. */
const char *rkestate_certificate(const struct rkestate *s, const char *name);
const char *rkestate_key(const struct rkestate *s, const char *name);

/* The addresses of the control-plane nodes in currentState.rkeConfig.nodes (role holds
 * "controlplane"), a NULL-terminated array to be freed each and whole; empty where there is no such
 * list. Members as RKE writes them: address, internalAddress, hostnameOverride, role. */
char **rkestate_controlplane(const struct rkestate *s);

#endif

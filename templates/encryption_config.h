/*
 * The EncryptionConfiguration of kube-apiserver: model, reading, writing, and the algebra that
 * every transition is made of. Source: kubernetes.io/docs/tasks/administer-cluster/encrypt-data and
 * k8s.io/apiserver/pkg/server/options/encryptionconfig. Keys live in wiped memory.
 *
 * A configuration with no items (or NULL) is "none": everything is stored plain.
 */
#ifndef ENCRYPT_TEMPLATES_ENCRYPTION_CONFIG_H
#define ENCRYPT_TEMPLATES_ENCRYPTION_CONFIG_H

#include "base/buf.h"
#include "base/error.h"
#include "base/yaml.h"
#include "templates/config_findings.h"

#include <stdbool.h>

enum provider_type {
    PROVIDER_IDENTITY,
    PROVIDER_AESCBC,
    PROVIDER_AESGCM,
    PROVIDER_SECRETBOX,
    PROVIDER_KMS,
};

struct encryption_key {
    char *name;
    unsigned char *secret; /* decoded; secret_len bytes, wiped when freed */
    size_t secret_len;
};

struct encryption_provider {
    enum provider_type type;
    struct encryption_key *keys; /* of the local types, at least one */
    size_t key_count;
    /* PROVIDER_KMS */
    bool kms_v2;
    char *kms_name, *kms_endpoint, *kms_timeout; /* timeout: NULL where not given */
    bool has_cachesize;
    long cachesize;
};

struct encryption_item {
    char **resources; /* "secrets", "configmaps", "widgets.example.com", "*.*" … */
    size_t resource_count;
    struct encryption_provider *providers;
    size_t provider_count;
};

struct encryption_config {
    struct encryption_item *items;
    size_t item_count;
};

/* Reads a configuration (YAML, and so JSON too). LENIENT: as kube-apiserver before 1.31 reads it,
 * for what lies on nodes: unknown and doubled fields pass (the last wins); the first fault is the
 * error. STRICT: for what a user gives, by encryption_config_check(): the error lists all errors,
 * one a line, each naming file, line and field. `name` stands for the file in messages. Empty or
 * all-whitespace text is "none". Errors are REFUSED and never quote a secret. */
enum encryption_reading { ENCRYPTION_LENIENT, ENCRYPTION_STRICT };
int encryption_config_read(const char *text, size_t len, const char *name,
                           enum encryption_reading how, struct encryption_config **out,
                           struct error *err) MUST_CHECK;
/* The same from a tree, which may be part of a larger one (custom_config). */
int encryption_config_from_yaml(const struct yaml *y, const char *name, enum encryption_reading how,
                                struct encryption_config **out, struct error *err) MUST_CHECK;

/* Reads a tree strictly: as kube-apiserver 1.36 does, and stricter. All that is wrong or worth a
 * thought is added to the findings, sorted by place; *out is the configuration, or NULL where one
 * of them is an error. A tree that is null is one: "none" is no configuration. */
void encryption_config_check(const struct yaml *y, struct config_findings *findings,
                             struct encryption_config **out);

/* Reads a list of resources by the same rules; the fields of its findings are "[0]" …. *out is a
 * NULL-terminated array for encryption_resources_free(), and untouched where there is an error. */
void encryption_resources_check(const struct yaml *list, struct config_findings *findings,
                                char ***out);

/* Appends the canonical YAML, as RKE's own template lays it out (apiVersion
 * apiserver.config.k8s.io/v1, kind EncryptionConfiguration), ending in one newline; "none" appends
 * nothing. Reading it back leniently gives an equal configuration; strictly too, where c itself was
 * read strictly. Names that need it are quoted. */
void encryption_config_write(const struct encryption_config *c, struct buf *out);
/* The same for apiservers before 1.13, which know the pair EncryptionConfig, v1 alone. */
void encryption_config_write_old(const struct encryption_config *c, struct buf *out);

/* Appends what RKE renders from custom_config at each `up` and compares, byte for byte, with
 * encryptionConfig of its state file; where they differ it restarts the apiservers and rewrites the
 * secrets. It ends in an empty line.
 *
 * From 1.3.2 on (1.4 to 1.8 too) RKE writes apiVersion and kind TWICE: its template has them, and
 * so has what is put into it. kube-apiserver takes that up to 1.30, and refuses it from 1.31 on;
 * our strict reading refuses it too. Up to 1.2 RKE wrote them ONCE.
 *
 * Not matched, since the model doesn't know of it: a custom_config of the old kind EncryptionConfig
 * (RKE repeats what it says), `apiVersion: v1` of a kms provider written out (RKE 1.4 and later
 * write `apiVersion: ""` where it is missing; before, RKE knew no such field, and up to 1.2 it
 * added the defaults of cachesize and timeout), names and endpoints with characters that are not
 * ASCII, and those with spaces that reach past
 * column 80, names that are nearly a number (0b12). */
enum rke_heading { RKE_HEADING_ONCE, RKE_HEADING_TWICE };
void encryption_config_write_rke_custom(const struct encryption_config *c, enum rke_heading heading,
                                        struct buf *out);

/* Appends the key's secret in standard base64. */
void encryption_key_write_secret(const struct encryption_key *k, struct buf *out);

void encryption_config_free(struct encryption_config *c); /* wipes; NULL is fine */
void cleanup_encryption_config(struct encryption_config **c);
struct encryption_config *encryption_config_copy(const struct encryption_config *c);

/* Same items, resources, providers, keys and order; NULL equals a configuration without items.
 * Keys are compared in constant time. */
bool encryption_config_equal(const struct encryption_config *a, const struct encryption_config *b);

/* The same time: RKE writes 90s as 1m30s. NULL is none. */
bool encryption_duration_equal(const char *a, const char *b);

/* The same of parts: a provider with its keys, a key's name and secret. */
bool encryption_provider_equal(const struct encryption_provider *a,
                               const struct encryption_provider *b);
bool encryption_key_equal(const struct encryption_key *a, const struct encryption_key *b);

/* True where nothing is encrypted by it: none, or every item has identity alone. */
bool encryption_config_is_plain(const struct encryption_config *c);

/* The managed form: one item with these resources (NULL-terminated; NULL: `secrets` alone), a
 * provider of this local type with this one key (copied), then identity. */
struct encryption_config *encryption_config_managed(enum provider_type type, char *const *resources,
                                                    const struct encryption_key *key);
/* True where c has the managed form: one item with one provider of a local type, with one or more
 * keys, and identity, in whichever order. */
bool encryption_config_is_managed(const struct encryption_config *c);

/*
 * The same structure with fresh writers: each local key that a resource is written with is replaced
 * by a fresh one of its type and length, wherever it stands; each kms provider that writes gets
 * another name. `fresh_key` gives a key of at least that many bytes for the one that it is to
 * replace (its parts are taken over; cut to the length); `fresh_name` a name (mem_free) for a kms
 * provider. An error of theirs is given back. *count: how many were replaced; 0: nothing writes
 * with either.
 */
struct encryption_freshener {
    int (*fresh_key)(void *ctx, struct encryption_key *out, struct error *err);
    int (*fresh_name)(void *ctx, const char *old, char **out, struct error *err);
    void *ctx;
};
int encryption_config_refresh(const struct encryption_config *c,
                              const struct encryption_freshener *f, struct encryption_config **out,
                              size_t *count, struct error *err) MUST_CHECK;

/* True where both have the same items, resources, providers and numbers of keys: only names of
 * keys, secrets and names of kms providers may differ. */
bool encryption_config_same_shape(const struct encryption_config *a,
                                  const struct encryption_config *b);

/* What reads everything that `write` or `read` can read and writes as `write` does, resource by
 * resource. Local keys of one type stand in one provider entry, in order (with two entries of a
 * type, old apiservers stop at the first whose prefix matches); a key that both have (name and
 * secret) stands once. A resource that only one names is plain in the other, so identity is there
 * for it. Error (REFUSED): the same name and type with another secret, in any item: such a union
 * can't be read reliably. */
int encryption_config_union(const struct encryption_config *write,
                            const struct encryption_config *read, struct encryption_config **out,
                            struct error *err) MUST_CHECK;

/* True where whatever `b` can write or read, `a` can read, for every resource that either names. */
bool encryption_config_reads_all(const struct encryption_config *a,
                                 const struct encryption_config *b);

/* True where values of this resource (a resource, no wildcard) are to be rewritten on the way from
 * `from` to `to`: they are written with another provider or key, or one that `from` reads is
 * dropped. */
bool encryption_resource_changes(const struct encryption_config *from,
                                 const struct encryption_config *to, const char *resource);

/* True where the resource is written by a provider of this type. */
bool encryption_writes_with(const struct encryption_config *c, const char *resource,
                            enum provider_type type);

/* True where c (may be NULL) has this key, name and secret, for this type, anywhere. */
bool encryption_config_has_key(const struct encryption_config *c, enum provider_type type,
                               const struct encryption_key *key);

/* The distinct resources that any of the two names, in order of appearance; a NULL-terminated
 * array, each and the array to be freed with encryption_resources_free(). */
char **encryption_resources(const struct encryption_config *a, const struct encryption_config *b);
void encryption_resources_free(char **resources);
void cleanup_encryption_resources(char ***resources);

/* The prefix of what c writes for this resource, e.g. "k8s:enc:aescbc:v1:key-a1b2c:",
 * "k8s:enc:kms:v2:name:", or "" for plain. To be freed with mem_free(). */
char *encryption_write_prefix(const struct encryption_config *c, const char *resource);

/* How a stored value begins, as far as c can tell. `value` is the beginning of a stored value (at
 * least its first 300 bytes, or all of it). */
bool encryption_config_reads(const struct encryption_config *c, const char *resource,
                             const void *value, size_t len);

/* The prefix under which a stored value lies: "k8s:enc:…:<name>:", or "" for plain (what does not
 * begin with "k8s:enc:"); NULL where it begins so but is no known form (its key name not ended
 * within `len`). To be freed with mem_free(). */
char *encryption_stored_prefix(const void *value, size_t len);

/* The writing key of `secrets` (its first provider's first key), or NULL where that is identity or
 * kms. */
const struct encryption_key *encryption_active_key(const struct encryption_config *c);

const char *provider_type_name(enum provider_type type); /* "aescbc" … */

/* A key's fingerprint to show and compare: the first 12 hexadecimal digits of SHA-256 over
 * "encrypt key fingerprint\0" and the key. */
void encryption_key_fingerprint(const struct encryption_key *k, char out[13]);

#endif

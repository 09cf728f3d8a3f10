/*
 * What is wrong with a cluster's encryption, whatever else is. Private to the engine; doctor.c runs
 * the parts in this order, each takes what the earlier ones found and may find nothing there.
 */
#ifndef ENCRYPT_PROVISIONER_DOCTOR_H
#define ENCRYPT_PROVISIONER_DOCTOR_H

#include "provisioner/cluster_state.h"
#include "provisioner/session.h"

/* What a node was seen to have; in the order of the session's members. */
struct doctor_node {
    bool known; /* its configuration is: `config`, NULL: none */
    struct encryption_config *config;
    bool ready;
};

struct doctor {
    const struct encrypt_options *o;
    const struct encrypt_doctor *asked;
    struct session *s;
    struct encrypt_diagnosis *out;
    bool state_missing;            /* no file there; one that can't be read is another thing */
    bool admin;                    /* there are credentials */
    const struct http_server *api; /* an apiserver that is ready, or NULL */
    struct doctor_node *nodes;
    bool split;                       /* nodes whose configurations are known differ */
    struct encryption_config *united; /* reads what any node reads; NULL where there is none */
    struct encryption_config *needed; /* keys of the history that stored values need and no node
                                         has; NULL: none */
    bool copy_read;                   /* the cluster was asked for its copy of the state */
    struct cluster_state_copy copy;
};

/* --- doctor.c: what is said --- */
void saw(struct doctor *d, const char *about, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* A new finding. Good until the next one. */
struct encrypt_finding *wrong(struct doctor *d, const char *about, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
struct encrypt_finding *means(struct encrypt_finding *f, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* One more line. */
struct encrypt_finding *mend(struct encrypt_finding *f, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* "encrypt NAME --config …" as it was called; to be freed. */
char *doctor_command(const struct doctor *d, const char *name);
/* A path or word for a shell, quoted where it must be; to be freed. */
char *shell_word(const char *s);
/* "ssh -p 2222 user@address": how a shell gets to a node. To be freed. */
char *ssh_command(const struct doctor *d, const struct cluster_node *n);

/* --- doctor_files.c --- */
/* State file, sidecar, journal, credentials: sets those of the session. */
void doctor_files(struct doctor *d);

/* --- doctor_nodes.c --- */
/* Each node: its apiserver, its file, its keys. The error is for INTERRUPTED alone. */
int doctor_nodes(struct doctor *d, struct error *err) MUST_CHECK;
/* Nodes that serve and aren't listed, and the other way round; the lock; the copy of the state. */
int doctor_cluster(struct doctor *d, struct error *err) MUST_CHECK;

/* --- doctor_store.c --- */
/* What etcd holds, and who can read it. */
int doctor_store(struct doctor *d, struct error *err) MUST_CHECK;

/* --- doctor_union.c --- */
/* Do the nodes agree; the union that reads everything; written where that was asked for. */
int doctor_union(struct doctor *d, struct error *err) MUST_CHECK;

/*
 * The union of what several nodes have (`configs`, NULL: none; at least one) and of `needed` (or
 * NULL), pure. It writes as that one of them does whose form the most of them read, a local key
 * before plain text, the first of equals. `order` gets their indexes: those that can't read that
 * form first, since they gain by it at once. Error (REFUSED): no such union (see
 * encryption_config_union).
 */
int doctor_unite(const struct encryption_config *const *configs, size_t count,
                 const struct encryption_config *needed, struct encryption_config **out,
                 size_t *order, struct error *err) MUST_CHECK;

/* True where all that `c` writes can be read by `by`. */
bool doctor_reads_writes(const struct encryption_config *by, const struct encryption_config *c);

/* Appends "aescbc key-a (1a2b…, writes)" for each key, or "no key"; `journal` (may be NULL): marks
 * the keys that it lacks. */
void doctor_describe(const struct encryption_config *c, const struct journal *journal,
                     struct buf *out);

/* --- doctor_rebuild.c --- */
/* What of a lost state could be rebuilt; written where that was asked for. */
int doctor_rebuild(struct doctor *d, struct error *err) MUST_CHECK;

#endif

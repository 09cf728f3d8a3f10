/*
 * What is wrong with a cluster's encryption, whatever else is. Private to the engine; doctor.c runs
 * the parts in this order, each takes what the earlier ones found and may find nothing there.
 */
#ifndef ENCRYPT_PROVISIONER_DOCTOR_H
#define ENCRYPT_PROVISIONER_DOCTOR_H

#include "provisioner/cluster_state.h"
#include "provisioner/kube/resource.h"
#include "provisioner/session.h"
#include "provisioner/stamp.h"

/* What a node was seen to have; in the order of the session's members. */
struct doctor_node {
    bool known; /* its configuration is: `config`, NULL: none */
    struct encryption_config *config;
    struct encryption_config *stray; /* what lies there, where its apiserver has no flag; NULL:
                                        nothing that can be read */
    bool ready;
    bool stamped; /* `stamp` was read */
    struct stamp stamp;
};

/* A journal that is at hand beside the session's own: in a copy, in an older state file. */
struct doctor_tale {
    char *name; /* for messages */
    struct journal *journal;
};

/* A form that something stored has. */
struct doctor_stored {
    const struct resource *resource;
    char *prefix; /* NULL: no known form */
};

struct doctor {
    const struct encrypt_options *o;
    const struct encrypt_doctor *asked;
    struct session *s;
    struct encrypt_diagnosis *out;
    char *now;                     /* for names that are not there yet: "20260102T030405Z" */
    bool state_missing;            /* no file there; one that can't be read is another thing */
    bool run_alive;                /* a run on this machine is at work */
    bool admin;                    /* there are credentials */
    const struct http_server *api; /* an apiserver that is ready, or NULL */
    struct doctor_node *nodes;
    char *busy;    /* somebody else is at work: nothing is offered nor written; or NULL */
    bool stranger; /* an apiserver serves that isn't listed */
    bool split;    /* nodes whose configurations are known differ */
    struct encryption_config
        *united;    /* reads what any node reads; NULL where there is none: then */
    char *no_union; /* why, where any node has a configuration */
    struct encryption_config *mended; /* the same with `needed`, for the nodes; or NULL */
    struct encryption_config *needed; /* keys that stored values need, or that a file which nobody
                                         reads has, and no node; NULL: none */
    bool copy_read;                   /* the cluster was asked for its copy of the state */
    struct cluster_state_copy copy;
    struct rkestate *older; /* --from; NULL: not asked for, or not to be read: */
    char *older_trouble;
    struct doctor_tale *tales;
    size_t tale_count;
    struct journal *history; /* every key of every journal and state at hand; no more than keys */
    struct doctor_stored *stored;
    size_t stored_count;
    bool store_read; /* `stored` is all there is */
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
char *command_as_called(const struct encrypt_options *o, const char *name);
char *doctor_command(const struct doctor *d, const char *name);
/* A line that shows the last log lines of a node's apiserver, where the kind has words for it. */
void mend_logs(const struct doctor *d, struct encrypt_finding *f, const struct member *m);
/* Where a path that the apiserver knows lies for node_command(); to be freed. */
char *doctor_host_path(const struct member *m, const char *path);
/* True where a change of this state file is open. */
bool doctor_open_change(const struct doctor *d);
/* Every control-plane node was looked at, and what it has is known. */
bool doctor_knows_all_nodes(const struct doctor *d);
/* A line that moves a file of this machine away, to a name that is not there yet. */
void mend_move(struct doctor *d, struct encrypt_finding *f, const char *path, const char *why);
/* The state file is moved away (to a name that ends in `why` and the moment) and rebuilt. */
void mend_anew(struct doctor *d, struct encrypt_finding *f, const char *why);
/* The same for a file on a node. */
void mend_remote_move(struct doctor *d, struct encrypt_finding *f, const struct member *m,
                      const char *path, const char *why);
/* A command of this machine's shell that runs `script` (sh -ec) on the node, as root and with the
 * paths that its apiserver knows (driver->shell, else by sudo). `then` (or NULL), of driver->words,
 * follows it where that is well. What it reads is standard input where `input`, else nothing. To
 * be freed. */
char *node_command(const struct doctor *d, const struct member *m, const char *script,
                   const char *then, bool input);
/* A command of this machine's shell that does on the node what one of driver->words says. To be
 * freed. */
char *node_words(const struct doctor *d, const struct member *m, const char *words);
/* A path or word for a shell, quoted where it must be; to be freed. */
char *shell_word(const char *s);
/* "ssh -p 2222 user@address": how a shell gets to a node. To be freed. */
char *ssh_command(const struct doctor *d, const struct cluster_node *n);

/* --- doctor_files.c --- */
/* How far an open transition is, in words. A constant text. */
const char *transition_how_far(const struct transition *t);
/* State file, sidecar, journal, credentials: sets those of the session. */
void doctor_files(struct doctor *d);
/* After the look at the nodes (which tells the kind): what the journal says is said. */
void doctor_journal(struct doctor *d);
/* After the look at the nodes: an administrator's credentials, theirs too. */
void doctor_credentials(struct doctor *d);

/* --- doctor_nodes.c --- */
/* Each node: its apiserver, its file, its keys. The error is for INTERRUPTED alone. */
int doctor_nodes(struct doctor *d, struct error *err) MUST_CHECK;

/* --- doctor_cluster.c --- */
/* Nodes that serve and aren't listed, and the other way round; the lock; the copy of the state. */
int doctor_cluster(struct doctor *d, struct error *err) MUST_CHECK;

/* --- doctor_stamps.c --- */
/* The nodes' stamps, held against the state file and each other. */
int doctor_stamps(struct doctor *d, struct error *err) MUST_CHECK;
/* What of them keeps a state file from being rebuilt; NULL: nothing. */
const char *doctor_stamps_obstacle(const struct doctor *d);
/* The newest; NULL: there is none. */
const struct stamp *doctor_newest_stamp(const struct doctor *d);

/* --- doctor_history.c --- */
/* Gathers the journals and all keys that are at hand; reads --from. */
void doctor_history(struct doctor *d);

/* --- doctor_store.c --- */
/* What etcd holds, and who can read it. */
int doctor_store(struct doctor *d, struct error *err) MUST_CHECK;

/* --- doctor_flags.c --- */
/* Files that an apiserver is not told to read: after the look into etcd, which tells whether what
 * is stored needs them. */
void doctor_stray_files(struct doctor *d);
/* The first node without the flag, on which a file lies that reads what lies under `prefix`; NULL:
 * there is none. */
struct member *doctor_stray_reader(const struct doctor *d, const struct resource *r,
                                   const char *prefix);
/* True where something that is stored can be read by such a file, and by no node. */
bool doctor_flag_is_lost(const struct doctor *d);
/* One more line: how the node's apiserver gets its flag for `c`. */
void mend_flag(struct doctor *d, struct encrypt_finding *f, struct member *m,
               const struct encryption_config *c);

/* --- doctor_half_way.c --- */
/* Some apiservers have the flag and some don't, and all are on the way between plain text and this
 * managed configuration; to be freed. NULL: it is not so. */
struct encryption_config *doctor_half_way(const struct doctor *d);

/* --- doctor_open.c --- */
/* True where etcd could be asked, and all that it holds can be read with that configuration. */
bool doctor_reads_all_stored(const struct doctor *d, const struct encryption_config *c);
/* Nodes whose file is none of the forms of the transition that is open. */
void doctor_open_forms(struct doctor *d);
/* Lines that copy one node's file to another, what lies there is kept beside it. */
void mend_from_node(struct doctor *d, struct encrypt_finding *f, const struct member *from,
                    const struct member *to);

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
/* Of a kind whose servers own their configuration: what a state file that is not there means. */
void doctor_owned_state(struct doctor *d);
/* What of a lost state could be rebuilt; written where that was asked for. */
int doctor_rebuild(struct doctor *d, struct error *err) MUST_CHECK;

#endif

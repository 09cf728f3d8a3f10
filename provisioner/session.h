/*
 * A session with a cluster: its files on this machine, its locks, its control-plane nodes, their
 * apiservers and etcd. Opening it changes nothing.
 */
#ifndef ENCRYPT_PROVISIONER_SESSION_H
#define ENCRYPT_PROVISIONER_SESSION_H

#include "base/error.h"
#include "base/sha256.h"
#include "provisioner/encrypt.h"
#include "provisioner/etcd/etcd.h"
#include "provisioner/kube/discovery.h"
#include "provisioner/kube/kube.h"
#include "provisioner/node.h"
#include "provisioner/planner.h"
#include "provisioner/reload.h"
#include "state/cluster_yml.h"
#include "state/journal.h"
#include "state/lock.h"
#include "state/rkestate.h"

/* The credentials of a cluster administrator, PEM texts; wiped when freed. */
struct credentials {
    char *ca, *cert, *key;
};
void credentials_free(struct credentials *c);

/* A control-plane node in this run: the node, and what was last seen of it. */
struct member {
    struct node node;
    bool opened;           /* the driver is open */
    struct apiserver seen; /* by member_observe() */
    char *config_path;     /* where the configuration lies or is to lie */
    struct buf file;       /* what lies there */
    bool file_missing;
    char file_sha256[65]; /* "none" where it is missing */
    struct reload_seen
        reload;     /* by member_ask_reload(): what its apiserver has in force by itself */
    bool joins;     /* it is to get what the others have: see join.h */
    bool stamped;   /* its stamp is that of the journal: see stamp.h */
    bool look_only; /* of session_look(): nothing is made on its node, not even to look */
    bool unread; /* so what lies there was not looked at: there is no kube-apiserver to reach it by;
                    `file_missing` then, and "none" */
};

/* A control-plane node that could not be looked at, and why. */
struct absent {
    const struct cluster_node *conf;
    struct error why;
};

struct session {
    const struct encrypt_options *options;
    char *state_path;
    struct state_lock *lock;
    struct cluster *cluster;
    struct rkestate *state;
    struct journal *journal;
    struct loop *loop;
    struct credentials admin;
    struct member *members; /* the control-plane nodes, in cluster.yml's order */
    size_t count;
    struct absent *absent; /* of session_look() alone: `members` then are the others */
    size_t absent_count;
    struct etcd *etcd;
    char *etcd_prefix;          /* "/registry" */
    struct resources resources; /* of the transition: see store_resources() */
    char *
        *long_prefixes; /* of keys whose names have a colon in them (NULL-terminated; NULL: none is
                           known): which name a value lies under is then not told by the value */
    char *resources_of; /* the names that they stand for, one a line; NULL: not found out */
    char *lease_owner, *who; /* see lease.h */
    bool lease_held;
    bool tells_only;     /* of session_open_to_tell(): nothing is written, here or there */
    bool state_missing;  /* there was no state file: `state` is a bare one, of this session alone
                          * until it is  written */
    bool kind_guessed;   /* no node has a sign of any kind, and cluster.yml names none */
    bool store_doubtful; /* etcd may have been restored since it was last looked into */
    char *previous_step; /* the last one told to the user */
    struct loop_watch *silence; /* tells the user where nothing has moved for long */
    int64_t moved_at;
};

/*
 * Reads the files, takes the lock on this machine, connects to every control-plane node (all or
 * none), opens the drivers, and looks at each node once. REFUSED, with nothing changed, where any
 * of it fails; also, before anything is connected to, where cluster.yml is to be followed
 * (by_cluster_yml) and what it says of encryption is not valid.
 */
int session_open(const struct encrypt_options *o, bool by_cluster_yml, struct session **out,
                 struct error *err) MUST_CHECK;
/* The same, for telling what would be done: the lock on this machine is only looked at (REFUSED
 * where another process has it), nothing is made on a node, and the journal can't be written. */
int session_open_to_tell(const struct encrypt_options *o, bool by_cluster_yml, struct session **out,
                         struct error *err) MUST_CHECK;
/*
 * For `up --initial`: the files alone, with the lock. No credentials are needed; a state file that
 * isn't there is made in memory (a bare one), to be written with the journal. Then
 * session_reach_nodes() does the rest of session_open().
 */
int session_open_initial(const struct encrypt_options *o, struct session **out,
                         struct error *err) MUST_CHECK;
int session_reach_nodes(struct session *s, struct error *err) MUST_CHECK;

/*
 * For looking alone, where nothing may be as it should: reads cluster.yml and no more, takes no
 * lock. The state, the journal and the credentials are the caller's to set; then
 * session_look_at_nodes() connects to the nodes, side by side and each by itself, and looks at
 * them. What can't be reached is in `absent`, the error is for INTERRUPTED and for this machine's
 * own troubles.
 */
int session_look(const struct encrypt_options *o, struct session **out,
                 struct error *err) MUST_CHECK;
int session_look_at_nodes(struct session *s, struct error *err) MUST_CHECK;

void session_close(struct session *s); /* NULL is fine */
void cleanup_session(struct session **s);

/* Looks at a node again: its apiserver and the file. */
int member_observe(struct member *m, struct error *err) MUST_CHECK;

/* Finds etcd by the apiserver's own flags, with the client certificate from the node. Once per
 * session. */
int session_open_etcd(struct session *s, struct error *err) MUST_CHECK;
/* The first of --etcd-servers with another port; to be freed. Pure. */
char *etcd_url_with_port(const char *urls, int port);

/* An apiserver that is ready now. FAILED where none is; it says why of each. */
int session_ready_api(struct session *s, const struct http_server **out,
                      struct error *err) MUST_CHECK;

/* Turns the loop until the member's apiserver is ready, until `timeout_ms` has passed, or until it
 * has come up anew more than a few times by itself (then: it won't). */
int member_wait_ready(struct session *s, struct member *m, int64_t timeout_ms,
                      struct error *err) MUST_CHECK;

/* INTERRUPTED where the user asked to stop. For safe points. */
int session_check_stop(struct session *s, struct error *err) MUST_CHECK;

/* True where the open transition is of `up --initial` and no node has a kube-apiserver: how that
 * leaves it behind, until the first of them is started. */
bool session_is_initial(const struct session *s);

/* The driver of the session's kind of cluster: all members have the same. Where no node was reached
 * that of cluster.yml's cluster_kind, else the journal's, else RKE's. */
const struct driver *session_driver(const struct session *s);
/* Appends c as the apiservers of that kind know it: what is put on nodes, and what the state says
 * of them. */
void session_write_config(const struct session *s, const struct encryption_config *c,
                          struct buf *out);
/* True where cluster.yml and the state file are RKE's too: its next `up` deploys what they say, and
 * a copy of the state lies in the cluster. */
bool session_shares_state(const struct session *s);
/* "; don't run `rke` before it is finished", or "" where the kind has nothing of its own that would
 * deploy something else. To be freed. */
char *session_keep_off(const struct session *s);

/* The state file's path with its links followed, also where it isn't there; to be freed. */
char *session_state_path(const struct encrypt_options *o);
/* REFUSED where it is a symbolic link that leads to nothing: a file that is lost, not a new one. */
int session_check_state_link(const char *path, struct error *err) MUST_CHECK;

/* session.c's parts for session_look.c: who we are to other operators (state_path is set), the SSH
 * sessions (all or none; with `whys` each by itself, see ssh_connect_each()), a node, the way to
 * its apiserver, its end. */
void session_set_identity(struct session *s);
int session_connect(struct session *s, const struct ssh_access *const *targets, size_t count,
                    struct ssh **sessions, struct error *whys, struct error *err) MUST_CHECK;
struct node session_node(struct session *s, const struct cluster_node *conf);
/* The kind of each member, told by cluster.yml or by a look at its node. REFUSED where they differ.
 */
int session_find_kinds(struct session *s, struct error *err) MUST_CHECK;
/* The same for looking: of each node that was reached (its session is there). One that is of
 * another kind than those before it is left out: its session ended, `whys` says why. */
int session_find_kinds_each(struct session *s, const struct cluster_node *const *confs,
                            size_t count, struct ssh **sessions, const struct driver **drivers,
                            struct error *whys, struct error *err) MUST_CHECK;
/* After the nodes were looked at: the journal, in memory, gets their kind where it is known. */
void session_record_kind(struct session *s);
int member_open_api(struct session *s, struct member *m, struct error *err) MUST_CHECK;
void member_close(struct member *m);
/* One of driver->words for a node (NULL: NULL), with the unit that cluster.yml names
 * (apiserver_unit) in the place of kube-apiserver.service. To be freed. */
char *member_words(const struct member *m, const char *words);

/*
 * Whether its apiserver may run another file than lies there, since that is newer than its process
 * by its node's clock: *changed is when it was changed, to be freed; NULL: no, or it isn't known.
 * `n` is what the journal knows of the node (NULL: nothing): no time is asked for where it has seen
 * what the process runs, or the file is the one that it knows to run there, or the process came
 * after the file that it has put there; nor of a process that takes files up by itself, or whose
 * settings are in doubt.
 */
int member_file_is_newer(struct member *m, const struct node_record *n, char **changed,
                         struct error *err) MUST_CHECK;

/* Something moves that tell() is not told of: no word is needed that it is still at work. */
void session_moves(struct session *s);

/* Tell the user. Formatted; never a key. */
void tell(struct session *s, enum encrypt_event_kind kind, const char *step, const char *node,
          const char *fmt, ...) PRINTF_LIKE(5, 6);

#endif

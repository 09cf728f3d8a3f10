/*
 * A control-plane node, and the driver behind which the kinds of cluster differ. Nothing above a
 * driver knows the kind.
 */
#ifndef ENCRYPT_PROVISIONER_NODE_H
#define ENCRYPT_PROVISIONER_NODE_H

#include "provisioner/net/http.h"
#include "provisioner/ssh/ssh.h"

struct driver;
struct cluster;
struct owned_kind;

struct node {
    const struct cluster_node *conf; /* not owned */
    const struct cluster *cluster;   /* not owned; NULL where only the node itself is asked */
    const char *name;                /* for messages: its address */
    struct loop *loop;               /* not owned */
    struct ssh *ssh;                 /* owned by the cluster session */
    const struct driver *driver;
    void *driver_data;      /* the driver's own; freed by driver->close */
    struct http_server api; /* its own apiserver, spoken to by itself */
};

/* An apiserver as found on its node. */
struct apiserver {
    bool exists; /* there is one, running or not */
    bool running;
    char *process; /* the identity of its process (opaque; another after each start); NULL where not
                      running */
    char *since;   /* when it started, RFC 3339 to the second, by the node's own clock: for people.
                      NULL where not running or not told */
    char **args;   /* its flags as given, NULL-terminated */
    char *config_path; /* the value of --encryption-provider-config (or the experimental name), NULL
                          without */
    bool automatic_reload;
    long restarts;  /* how often it came up by itself, as far as the kind counts it */
    bool gave_up;   /* it ended, and what starts it won't do so again by itself */
    bool unsettled; /* left-overs of an interrupted change lie on the node, or `next_start` is set:
                       settle() clears them */
    char *next_start; /* in what its next start would have another configuration than its process
                         has, by itself and by nobody's wish; settle() makes it the same. NULL: in
                         nothing, as far as it is known */
    char *doubt;      /* why `args` may not be what its process runs with (its settings were changed
                         after it had started, and not by us); NULL: there is none */
    char *doubt_next; /* in doubt: the configuration's path that its settings name for its next
                         start; NULL: none */
    char *unseen;     /* not running as far as the kind can see: where it may run all the same, and
                         what to do; NULL: nowhere */
};
void apiserver_free(struct apiserver *a);
/* The value of a flag (`--name=value` or `--name value`; name without dashes), or NULL. The last
 * one counts. */
const char *apiserver_flag(const struct apiserver *a, const char *name);
/* True where the argument is that flag; *value: what follows its `=`, or NULL. */
bool apiserver_arg_is(const char *arg, const char *name, const char **value);
/* True where its flags say that the cluster knows it by that address: --advertise-address, else
 * --bind-address where that is one. */
bool apiserver_serves_at(const struct apiserver *a, const char *address);
/* Whether what was changed at that moment (as driver->changed_at gives it) was changed after the
 * start of the process that runs `since` then: surely, since times are of whole seconds, and some
 * starts are reckoned from the boot's. Then *text is that moment, to be freed; else NULL. */
bool changed_after_start(long long changed_at, const char *since, char **text);
/* For drivers: takes the flags (args becomes a's own), and from them config_path and
 * automatic_reload. */
void apiserver_set_args(struct apiserver *a, char **args);

/* For drivers' log_tail: appends the lines, but not those that may hold a key (a token of 40 or
 * more letters of base64 or hexadecimal, or 20 after a word like `secret:`; a path is none); says
 * at the end how many were left out. */
void log_add_safe_lines(struct buf *out, const char *text, size_t len);

/* A file to be put on a node. Nothing is owned. */
struct node_text {
    const char *path, *data;
    size_t len;
};

/* What an apiserver is to have. Nothing is owned. */
struct apiserver_want {
    const char *config_path; /* NULL: it has no such flag */
    char *const *binds; /* "host:container[:options]"; ends in NULL, or NULL: none is asked for.
                           Those that are missing are added, none is removed */
};

/* Where the socket of a KMS plugin lies, as an apiserver with these mounts would find it. Strings
 * are owned: node_socket_free(). */
struct node_socket {
    char *path;       /* as the apiserver names it, clean; "@name": in the abstract namespace */
    char *host_path;  /* the same on the node; NULL for an abstract one */
    char *mount_host; /* the mount that holds it: on the node, and in the container */
    char *mount_container;
    bool alone; /* the mount is of the socket itself, not of a folder */
};
void node_socket_free(struct node_socket *s);
enum socket_there { SOCKET_NO_FOLDER, SOCKET_NOTHING, SOCKET_OTHER, SOCKET_THERE };

/* How people do by hand, on the node, what a driver does: for messages, and for the commands that
 * `doctor` prints. Shell commands, root's; NULL where a kind has none. */
struct driver_words {
    const char *apiserver;       /* what it is called there: "the container kube-apiserver" */
    const char *logs;            /* shows its last log lines */
    const char *start;           /* starts it where it is stopped */
    const char *flags;           /* where an administrator sets its flags: "the unit a.service" */
    const char *restart;         /* restarts it; returns when the new process is there */
    const char *restart_checked; /* the same for a script of `sh -e`: fails where the process is the
                                    one of before. NULL: restart does so */
    const char *take_away;       /* takes it away for good: the node has none then */
    const char *left_over;       /* shows what an interrupted change left there */
    const char *left_over_is;    /* what that is, for "NODE: …": "containers of an interrupted
                                    change lie there". NULL: in general words */
    const char *left_over_means; /* what that does, what must not be done, what ends it */
    const char *keep_off; /* what of the kind's own must not be run while a change is open, since
                             it deploys something else: "`rke`". NULL: there is nothing */
    bool user;            /* the SSH user may run the commands above as he is, not as root */
};

struct driver {
    const char *kind; /* "rke" */
    struct driver_words words;

    /* NULL, but for kinds whose servers own their encryption configuration: provisioner/owned does
     * their changes, and what puts files or restarts apiservers is REFUSED. */
    const struct owned_kind *owned;

    /* A port of etcd's on the nodes' loopback address that --etcd-servers does not name, and that
     * may be the only one that speaks JSON; 0: none. */
    int etcd_http_port;
    /* Where the kind keeps an administrator's kubeconfig on its nodes; NULL: nowhere. */
    const char *admin_kubeconfig;
    /* Whether a state file must be there before anything is done: RKE writes one, deploys from it
     * and from cluster.yml, and has a copy of it in the cluster. Where not, the file is ours alone
     * and made at the first change of a cluster that no other run of ours has changed; cluster.yml
     * is read by nobody else. */
    bool needs_state;
    /* Whether its apiservers see of the node what is mounted: then extra_binds of cluster.yml are
     * given to start() and its like. Where not, they see the node's own files. */
    bool mounts;
    /* With the flag of the configuration, that of automatic reload goes: an apiserver that has it
     * alone does not start. */
    bool drops_reload;
    /* Its apiservers are older than 1.13: configurations are written as kind EncryptionConfig, v1.
     */
    bool old_format;

    /* For `doctor`: a command line that the SSH user may run on the node, of a script (quoted for a
     * shell already) that is to run by `sh -ec` as root, with the apiserver's paths; `input`: it
     * reads standard input. To be freed. NULL: the files lie on the node by the same paths, a shell
     * of root's will do. */
    char *(*shell)(const char *script, bool input);

    /* For `doctor` too, where `shell` is NULL: where a path that the apiserver knows lies on the
     * node; to be freed. REFUSED where it lies nowhere there. NULL: by the same path. */
    int (*host_path)(struct node *n, const char *path, char **out, struct error *err);

    /* Makes driver_data. Nothing on the node is changed. */
    int (*open)(struct node *n, struct error *err);
    void (*close)(struct node *n);

    /* Looks; changes nothing. A node without an apiserver is no error: exists is false. */
    int (*observe)(struct node *n, struct apiserver *out, struct error *err);

    /* For `up --initial`, of a node without an apiserver: what shows that it was of a cluster all
     * the same (etcd's data, an administrator's kubeconfig), whose secrets a fresh key could not
     * read: *sign is a path on the node (not owned), NULL where nothing is seen. Changes nothing.
     * NULL: the kind's own files tell nothing of that. */
    int (*find_cluster)(struct node *n, const char **sign, struct error *err);

    /* In what follows, files and sockets are reached as the apiserver would find them where it
     * isn't there yet, too. */

    /* Reads a file by the path that the apiserver knows it by. *missing (may be NULL: then an
     * error) where there is none. */
    int (*read_file)(struct node *n, const char *path, struct buf *out, bool *missing,
                     struct error *err);

    /* When that file was last changed, or put in its place: seconds after 1970, by the node's own
     * clock, on which apiserver.since is as well. 0: it isn't told, or tells nothing of what the
     * apiserver has read. The file is there. NULL: the kind's nodes don't tell. */
    int (*changed_at)(struct node *n, const char *path, long long *out, struct error *err);

    /* Reads a file by its path on the node (admin_kubeconfig). *missing as in read_file. NULL where
     * admin_kubeconfig is. */
    int (*read_node_file)(struct node *n, const char *path, struct buf *out, bool *missing,
                          struct error *err);

    /* Where the configuration is to lie for an apiserver without the flag. */
    const char *default_config_path;

    /* REFUSED where put_file() can't put a file there: the path does not lie on the node; says what
     * to do. Changes nothing. */
    int (*check_place)(struct node *n, const char *path, struct error *err);

    /* REFUSED where start() and record() could not give the apiserver that is there what is wanted
     * (no flag, too), for what stands in the kind's own files and objects: tried in memory; says
     * what to do. The apiserver is ready. Changes nothing. NULL: nothing to ask. */
    int (*check_start)(struct node *n, const struct apiserver_want *want, struct error *err);

    /* Called just before a change is opened: tries, without leaving anything, what put_file() does
     * before it renames. What check_place() could only ask is seen so. NULL: nothing to try. */
    int (*rehearse)(struct node *n, const char *path, struct error *err);

    /* Puts the file: 0600, owned by root, whole or not at all, on disk before it returns; then read
     * back and compared. `beside` (may be NULL) is another of the same folder, which gets into its
     * place first, in the same act. Left-over temporary files of killed runs are removed on the
     * way. The path must lie on the node, not inside a container's layer. */
    int (*put_file)(struct node *n, const struct node_text *file, const struct node_text *beside,
                    struct error *err);
    int (*remove_file)(struct node *n, const char *path, struct error *err);

    /* put_file() where nothing lies there yet, decided by the node itself: of several who try at
     * once one has it. *claimed is false where something lies there, which stays. A folder that is
     * missing is made. */
    int (*claim_file)(struct node *n, const struct node_text *file, bool *claimed,
                      struct error *err);

    /* What an apiserver that isn't there yet must be started with to have what is wanted:
     * NULL-terminated arrays, each to be freed (encryption_resources_free()). Changes nothing. */
    int (*start_with)(struct node *n, const struct apiserver_want *want, char ***flags,
                      char ***mounts, struct error *err);

    /*
     * Brings up an apiserver of a new process that has what is wanted: a restart where it has that
     * already, else made anew from its own settings; what was there before is kept, switched off,
     * until settle(). Doesn't wait for readiness. Idempotent after a kill at any point inside: the
     * same call goes on from what lies there. `process`: the identity that is to end. Where the
     * apiserver that runs has another identity and what is wanted already, nothing is done. Where
     * a new one never started, and what was kept beside it has what is wanted, that comes back.
     * Where it fails before the apiserver in force was touched, that runs on. REFUSED, before that:
     * a bind where something else is mounted, or whose folder is not on the node.
     */
    int (*start)(struct node *n, const struct apiserver_want *want, const char *process,
                 struct error *err);

    /* The new one is ready: removes what start() kept. Also clears left-overs of killed runs.
     * Idempotent. */
    int (*settle)(struct node *n, struct error *err);

    /*
     * The new one does not get ready: brings up, as a new process, one that has the flag with
     * want->config_path (NULL: that has no such flag), and no other, and the binds. One with more
     * binds is right as well. Where the one in force has what is wanted, it is
     * restarted, unless start() has only added binds to the one that it kept; else what start()
     * kept comes back, if that has it; else it is made anew, as start() does. What was kept and has
     * another flag is left for settle(). The file has been put back before. Doesn't wait for
     * readiness. Idempotent.
     */
    int (*go_back)(struct node *n, const struct apiserver_want *want, struct error *err);

    /* Where an absolute path of the apiserver's, or "@name", lies on the node: by the mounts that
     * it has or would have with `binds` (as in apiserver_want). REFUSED where it does not lie on
     * the node so, with what to do. Changes nothing. */
    int (*find_socket)(struct node *n, const char *path, char *const *binds,
                       struct node_socket *out, struct error *err);
    /* Whether there is a socket, for a user who may not look himself. Changes nothing. */
    int (*look_for_socket)(struct node *n, const struct node_socket *at, enum socket_there *out,
                           struct error *err);

    /*
     * What the kind's own tools would start apiservers with later (kubeadm's ConfigMap
     * kubeadm-config) is brought to say what is wanted, by compare and swap, through an apiserver
     * that is ready. Called before the first apiserver writes the new form, and once more at the
     * end; also by `up` where nothing is to be done. Idempotent; *changed: whether it wrote. NULL:
     * the kind has no such thing.
     */
    int (*record)(struct node *n, const struct http_server *api, const struct apiserver_want *want,
                  bool *changed, struct error *err);

    /* The last lines of its log, for messages (lines that hold what looks like a key are left out).
     */
    int (*log_tail)(struct node *n, size_t lines, struct buf *out, struct error *err);
};

extern const struct driver driver_rke;        /* drivers/rke.c */
extern const struct driver driver_kubeadm;    /* drivers/kubeadm.c */
extern const struct driver driver_systemd;    /* drivers/systemd.c */
extern const struct driver driver_openshift3; /* drivers/openshift3.c */
extern const struct driver driver_rke2;       /* drivers/rke2.c */
extern const struct driver driver_k3s;

#endif

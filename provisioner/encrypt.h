/*
 * encrypt: encryption at rest of Kubernetes secrets, for a whole cluster, over SSH.
 *
 * The one header of libencrypt; it needs nothing but the C library's. All that the command line
 * does is done with it. docs/embedding.md is the manual.
 *
 * The library prints nothing, installs no signal handlers, starts no threads and no processes,
 * changes neither environment nor working folder, and has no state of its own between calls, but
 * for what encrypt_init() sets up. It ends no process, but that it aborts where memory runs out: a
 * change of a cluster is recorded before it is made, and the next call goes on from there.
 *
 * Calls take minutes and return when they are done. Callbacks come from within them, in the same
 * thread; they must not call this library for the same cluster, and must not longjmp() or throw.
 * Several threads may make calls at the same time, each for a cluster of its own (two calls for one
 * cluster: the second is REFUSED, as from another process).
 *
 * It reads the environment (HOME, SSH_AUTH_SOCK): no other thread may change that meanwhile.
 */
#ifndef ENCRYPT_H
#define ENCRYPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENCRYPT_VERSION "0.1.0"

#if defined(__GNUC__)
#define ENCRYPT_MUST_CHECK __attribute__((warn_unused_result))
#pragma GCC visibility push(default)
#else
#define ENCRYPT_MUST_CHECK
#endif

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Before 1.0 each release may add to the structures below. Its functions then bear another symbol
 * version (ENCRYPT_0.1 now), so that a program built against other structures does not start.
 */

/* What a call came to: also the exit codes of the command line (stable). */
enum encrypt_result {
    ENCRYPT_OK = 0,
    ENCRYPT_FAILED = 1,  /* failed; the cluster is as it was */
    ENCRYPT_USAGE = 2,   /* the command line is wrong: no call of the library gives it */
    ENCRYPT_STOPPED = 3, /* stopped part-way; recorded, nothing lost: encrypt_resume(), _abort() */
    ENCRYPT_REFUSED = 4, /* unsafe, invalid, locked, out of reach; nothing was changed */
    ENCRYPT_FOUND = 5,   /* looked, and found something wrong */
    ENCRYPT_INTERRUPTED = 130, /* `stop` said so; otherwise as STOPPED */
    ENCRYPT_TERMINATED = 143,  /* the command line's own: stopped by SIGTERM */
};

/*
 * Initialise with {0}. Where a call gives -1 it has set it (what it held before is freed), else
 * it is untouched. Texts may have several lines, and may hold bytes from nodes that are not fit for
 * a terminal; never a key. The commands in them are those of the command line.
 */
struct encrypt_error {
    enum encrypt_result result; /* ENCRYPT_OK where nothing is set */
    char *message;              /* what was tried, on which node, what it answered */
    char *state;                /* the state of the cluster now, or NULL */
    char *next;                 /* the next command to run, or NULL */
};
/* Frees and empties. */
void encrypt_error_clear(struct encrypt_error *err);

/* ENCRYPT_VERSION of the library that runs. */
const char *encrypt_version(void);

enum encrypt_event_kind {
    ENCRYPT_STEP,     /* a step of the transition begins: `step`, `text` says what and why */
    ENCRYPT_NODE,     /* something was done on a node: `step`, `node`, `text` */
    ENCRYPT_PROGRESS, /* `step`, `done` of `total` objects; comes often */
    ENCRYPT_NOTE,     /* something the user should know: `text` */
    ENCRYPT_WARNING,  /* something the user should act upon: `text` */
    ENCRYPT_DEBUG,    /* what only --debug shows: `text`, `node` where there is one */
};

/* What happens, for people. Never holds a key. Strings are good during the call only. */
struct encrypt_event {
    enum encrypt_event_kind kind;
    const char
        *step; /* "check", "widen", "switch", "rewrite", "prove", "narrow", "done", or NULL */
    const char *node; /* its address, or NULL */
    const char *text; /* or NULL */
    size_t done, total;
};

/* Strings are not owned and must outlive the call; all but `config` may be NULL. */
struct encrypt_options {
    const char *config;          /* cluster.yml */
    const char *state;           /* NULL: beside it, `.rkestate` */
    const char *kubeconfig;      /* admin credentials instead of the state file's kube-admin */
    const char *known_hosts;     /* NULL: ~/.ssh/known_hosts */
    const char *passphrase_file; /* for SSH keys that want one; NULL: `ask` */
    bool ssh_agent_auth;
    bool accept_new_host_keys;
    bool take_over;          /* take the cluster's lock from another operator */
    const char *forget_node; /* a control-plane node (or several, "a,b") that is gone for good and
                                neither listed nor serving: go on without it; NULL: none */
    bool no_restart;         /* staged commands: the restarts are left to the operator */
    const char *namespaces;  /* encrypt_reencrypt(): what is in these alone, commas between; NULL:
                                all,  and then the old key is dropped */
    int snapshot;       /* of servers that own their configuration (rke2, k3s), by their own command
                           before       anything is changed: 1: take one, -1: don't, 0: `confirm` is asked
                         */
    bool write_config;  /* where cluster.yml's custom_config lags behind a rotation: write it */
    int64_t timeout_ms; /* how long one apiserver may take to become ready; 0: 5 minutes */
    size_t concurrency; /* objects being rewritten at once; 0: 64 */

    void (*event)(void *ctx, const struct encrypt_event *e); /* or NULL */
    /* Asks somebody for a secret. Gives a string of malloc()'s, which is wiped and freed; NULL
     * where nobody can be asked. */
    char *(*ask)(void *ctx, const char *prompt);
    /* A question with yes (1) or no (-1) for an answer; 0 where nobody can be asked. May be NULL.
     */
    int (*confirm)(void *ctx, const char *question);
    /* True where the call shall stop at the next safe point (a first Ctrl-C): INTERRUPTED. Asked
     * often. */
    bool (*stop)(void *ctx);
    void *ctx;
};

/* A file that was put on a node for its kube-apiserver to read. All strings are owned. */
struct encrypt_start_file {
    char *path;   /* on the node, and in the apiserver's container by the mounts below */
    char *mode;   /* "0600" */
    char *owner;  /* "0:0" */
    char *sha256; /* of its bytes, lower-case hexadecimal; the text itself is a secret */
};

/* A control-plane node, and what its kube-apiserver must be started with, beside what the
 * provisioner gives it anyway. All is owned. */
struct encrypt_start_node {
    char *address, *name; /* as in cluster.yml: `name` is its hostname_override, else the address */
    bool started;         /* it has a kube-apiserver already: nothing was put there */
    bool plain;           /* started, and without the flag: it writes plain, and can't read what is
                             encrypted, until encrypt_up() has brought it there */
    char **flags;         /* "--encryption-provider-config=/etc/…"; NULL-terminated, never NULL */
    char **mounts;        /* "host:container[:options]", of folders; NULL-terminated, never NULL */
    struct encrypt_start_file *files; /* that lie there */
    size_t file_count;
};

/* What a provisioner is to start kube-apiservers with. Zeroed: nothing is to be started. */
struct encrypt_start {
    bool enable; /* false: no encryption is asked for; nothing was put, no flag is needed */
    bool kms;    /* secrets will be written by a kms provider */
    char *key;   /* the name of the key that secrets will be written with, or the provider's; "" */
    char *state; /* the state file, which holds the key from here on: back it up; "" */
    char *next;  /* the command to run when all of them are started; "" where none is needed */
    struct encrypt_start_node *nodes; /* in cluster.yml's order */
    size_t node_count;
};
void encrypt_start_free(struct encrypt_start *s); /* empties it */

/* What was done. To be freed with encrypt_report_free(). */
struct encrypt_report {
    bool nothing_to_do;
    bool resumed;         /* an open transition was finished, and no more was done */
    bool aborted;         /* and it was taken back: `why` is what was */
    bool config_written;  /* the fresh key was written into cluster.yml's custom_config */
    bool config_lags;     /* it was not, and must be before RKE's next `up`: it was shown how */
    const char *keep_off; /* what of the cluster's own tools must not be run while a transition is
                             open ("`rke`"), a constant; NULL: none */
    char why[32];   /* "enable", "disable", "rotate-key", … of the transition; "" where none */
    char key[64];   /* the name of the key that secrets are written with now; "": they are plain */
    bool kms;       /* it is that of a kms provider */
    char stage[32]; /* "prepare", "rotate", "reencrypt_request", "reencrypt_finished": a staged
                       command has done its part, and the transition is still open; "": it is not */
    bool stage_placed;   /* its files are on all nodes */
    char stage_next[16]; /* the command after that and after the restarts: "rotate", …; "" : none */
    size_t waiting;      /* nodes whose apiserver does not run yet what lies there (no_restart) */
    size_t left;         /* objects still under the old key after a sitting (namespaces) */
    size_t nodes;        /* control-plane nodes */
    size_t rewritten;    /* objects patched */
    int64_t proof_values; /* values counted by the proof */
    int64_t proof_revision;
    int64_t milliseconds;
    struct encrypt_start start; /* encrypt_up(): nodes that join, and have no kube-apiserver yet:
                                   the configuration was put there. No nodes where there is none */
};
void encrypt_report_free(struct encrypt_report *r); /* empties it */

/* What encrypt_init() leaves as the host has it: or'ed together, 0 for none. */
enum encrypt_leave {
    ENCRYPT_LEAVE_OPENSSL = 1, /* OpenSSL's allocator */
    ENCRYPT_LEAVE_JANSSON = 2, /* Jansson's allocator; it must be malloc() and free() */
    ENCRYPT_LEAVE_CURL = 4,    /* libcurl's allocator: curl_global_init() was called before */
    ENCRYPT_LEAVE_MALLOC = 8,  /* mallopt(M_PERTURB) */
    ENCRYPT_LEAVE_PROCESS = 16 /* core dumps, ptrace */
};

/*
 * Once per process, before any other call of this library and before other threads run. Sets for
 * the whole process, so that keys are overwritten where memory is freed and are in no core file:
 *
 *   OpenSSL   CRYPTO_set_mem_functions(). FAILED where OpenSSL has allocated anything before
 *   Jansson   json_set_alloc_funcs(): what was allocated by malloc() before is freed as it should
 *   libcurl   curl_global_init_mem(), which counts as one curl_global_init(). Where the host has
 *             called one before, libcurl keeps the host's allocator and says nothing: call
 *             encrypt_init() first, or name ENCRYPT_LEAVE_CURL
 *   malloc    mallopt(M_PERTURB): glibc overwrites what is freed (small blocks excepted)
 *   process   RLIMIT_CORE 0, PR_SET_DUMPABLE 0
 *
 * `leave` (enum encrypt_leave) names what the host sees to itself: it works as well, but keys
 * may then stay in memory that was freed. The allocators that are set use malloc() and free(), so
 * the host's own use of these libraries goes on. There is no way back: the library must not be
 * unloaded (the shared one is linked so that dlclose() doesn't).
 */
int encrypt_init(unsigned leave, struct encrypt_error *err) ENCRYPT_MUST_CHECK;

/*
 * Makes the cluster what cluster.yml says: enabled, disabled, another provider, other resources, a
 * custom_config: any configuration from any other. Where a transition is open, goes on
 * with that and does no more. Gives 0 when done or when nothing was to do; else -1 with err->result
 * as the exit codes have it: FAILED (the cluster is as it was), STOPPED (part-way, recorded),
 * REFUSED (nothing was changed), INTERRUPTED.
 */
int encrypt_up(const struct encrypt_options *o, struct encrypt_report *report,
               struct encrypt_error *err) ENCRYPT_MUST_CHECK;

/*
 * For a provisioner, before it starts the first kube-apiserver: makes the key and stores it (the
 * state file is made where there is none), puts the configuration on all control-plane nodes, and
 * tells in `out` what to start each kube-apiserver with. Needs SSH and Docker there, no API, no
 * etcd, no credentials. The transition ("enable") stays open: when the apiservers run, encrypt_up()
 * proves what they run, rewrites what was written before, proves etcd and closes it. May be called
 * again until then, and after a kill at any point: the same key, the same answer; what is missing
 * is put again. REFUSED: a node has a kube-apiserver (of none of our own runs of this), another
 * operator has begun on a node, a configuration that is not ours lies on one. `out` is freed by the
 * caller in every case.
 */
int encrypt_up_initial(const struct encrypt_options *o, struct encrypt_start *out,
                       struct encrypt_error *err) ENCRYPT_MUST_CHECK;

/* A fresh key, the same provider; with a KMS, everything under its present remote key. REFUSED
 * where encryption is off, where cluster.yml asks for something else than what runs, or there is no
 * state file. */
int encrypt_rotate_key(const struct encrypt_options *o, struct encrypt_report *report,
                       struct encrypt_error *err) ENCRYPT_MUST_CHECK;

/*
 * The same rotation a stage at a time, as `rke2 secrets-encrypt` has it: prepare (the fresh key is
 * there to read with), rotate (it writes), reencrypt (everything is rewritten and proved, the old
 * key dropped). Each rolls the apiservers, but with o->no_restart, where the files are put on all
 * nodes and the restarts are somebody else's; encrypt_restart() makes those that are left, and
 * closes what is finished. A rotation that encrypt_rotate_key() left open is gone on with, and the
 * other way round: encrypt_resume() and encrypt_abort() hold for both. REFUSED where it is another
 * stage's turn ("incorrect stage: …"), or where an apiserver does not yet run what the stage before
 * put there ("hash does not match between …"). All but prepare need an open rotation.
 */
int encrypt_prepare(const struct encrypt_options *o, struct encrypt_report *report,
                    struct encrypt_error *err) ENCRYPT_MUST_CHECK;
int encrypt_rotate(const struct encrypt_options *o, struct encrypt_report *report,
                   struct encrypt_error *err) ENCRYPT_MUST_CHECK;
int encrypt_reencrypt(const struct encrypt_options *o, struct encrypt_report *report,
                      struct encrypt_error *err) ENCRYPT_MUST_CHECK;
int encrypt_restart(const struct encrypt_options *o, struct encrypt_report *report,
                    struct encrypt_error *err) ENCRYPT_MUST_CHECK;

/* Goes on with the open transition; where none is open, nothing is to do. */
int encrypt_resume(const struct encrypt_options *o, struct encrypt_report *report,
                   struct encrypt_error *err) ENCRYPT_MUST_CHECK;

/* Takes the open transition back: the cluster goes to the configuration before it, through the
 * union of both, and what the other key had encrypted is rewritten and proved first. REFUSED once
 * narrowing has begun: from there is only on. Where none is open, nothing is to do. */
int encrypt_abort(const struct encrypt_options *o, struct encrypt_report *report,
                  struct encrypt_error *err) ENCRYPT_MUST_CHECK;

/* What encrypt_lint() found. None quotes a value of the file. */
struct encrypt_lint_finding {
    size_t line, column; /* from 1; 0: about the whole file */
    char *field;         /* "custom_config.resources[0].providers[0].aescbc.keys[0].secret", "" */
    char *what;
    char *mend; /* or NULL */
    bool warning;
};

struct encrypt_lint {
    bool is_cluster; /* a cluster.yml, and no EncryptionConfiguration */
    struct encrypt_lint_finding *findings;
    size_t finding_count; /* some 200 at most; `errors` counts all */
    size_t errors;
};

/*
 * Checks o->config without any cluster: a cluster.yml, or an EncryptionConfiguration. Of a
 * cluster.yml the names of its keys are held against the key history in the state file too
 * (o->state or beside it), where there is one. Takes no lock, writes nothing. Gives 0 where it
 * could look, whatever it found; REFUSED or FAILED where the file can't be read. `out` is freed by
 * the caller in every case.
 */
int encrypt_lint(const struct encrypt_options *o, struct encrypt_lint *out,
                 struct encrypt_error *err) ENCRYPT_MUST_CHECK;
void encrypt_lint_free(struct encrypt_lint *l);

/* Something that is wrong. Texts of one line or several; never a key. */
struct encrypt_finding {
    char *about;   /* "state file", "node 10.0.0.1", "etcd", … */
    char *what;    /* what is wrong */
    char *means;   /* what follows from it; NULL where `what` says it */
    char *mend;    /* what to do: commands, one a line; lines that begin with `#` explain */
    bool repaired; /* it was mended just now, as asked */
};

/* What was looked at, for people. */
struct encrypt_seen {
    char *about, *text;
};

struct encrypt_diagnosis {
    struct encrypt_finding *findings;
    size_t finding_count;
    struct encrypt_seen *seen;
    size_t seen_count;
    size_t nodes, nodes_seen; /* control-plane nodes; how many of them could be looked at */
};

/* What the doctor may write, on this machine; nothing else is ever changed. */
struct encrypt_doctor {
    bool write_state; /* a state file, rebuilt from the cluster, where there is none */
    const char *from; /* for that: an older state file, for RKE's own members; NULL: the copy in the
                         cluster */
    bool bare; /* for that: also where RKE's own members are missing and the cluster's copy of them
                  was not seen to be none */
    const char *write_union; /* a new file: the configuration that reads everything; or NULL */
};

/*
 * Looks at everything that it can reach and says what is wrong, whatever is: nodes down, no state
 * file, no credentials, no apiserver. Gives 0 where it could look, -1 where it could not begin, and
 * where what was asked to be written was refused (the diagnosis is there all the same). `out` is
 * freed by the caller in every case.
 */
int encrypt_doctor(const struct encrypt_options *o, const struct encrypt_doctor *d,
                   struct encrypt_diagnosis *out, struct encrypt_error *err) ENCRYPT_MUST_CHECK;
void encrypt_diagnosis_free(struct encrypt_diagnosis *d);

enum { ENCRYPT_AESGCM_LIMIT = 200000 }; /* writes that a key for aesgcm is good for */

/* A key, or another form in which something is stored. Moments are RFC 3339, UTC. */
struct encrypt_status_key {
    char *type;        /* "AES-CBC", "AES-GCM", "XSalsa20-POLY1305", "KMS v1", "KMS v2"; "identity":
                          plain text; "unknown" */
    char *name;        /* "" for plain text */
    char *fingerprint; /* NULL: not a local key, or nobody at hand has it */
    bool active;       /* what is new is written under it, by the first node that was looked at */
    bool on_nodes;     /* a node has it */
    char *created, *activated, *retired; /* NULL: not known, or not so */
    bool counted;                        /* etcd was asked: */
    size_t objects;                      /* how many of the configured resources lie under it */
    bool limited; /* aesgcm, on nodes: `writes` of ENCRYPT_AESGCM_LIMIT, at least: what is stored
                     under it, or what those apiservers that could be asked have written since
                     they started */
    uint64_t writes;
};

/* A control-plane node. */
struct encrypt_status_node {
    char *address, *name; /* its name: hostname_override, else the address */
    char *unseen;         /* why it could not be looked at: the rest is empty then. NULL: it was */
    char *stage;          /* by what it runs; NULL: not known */
    char *path;           /* where the file lies or is to lie */
    char *file_sha256;    /* "none"; NULL: not looked at, since there is no apiserver on it */
    char *file;           /* "key-b (writes), key-a, identity"; "none"; what is wrong with it */
    char *runs_sha256;    /* NULL: not known */
    char *runs;           /* as `file`; NULL: not known */
    const char *evidence; /* what tells: "flags", "journal", "placement", "metric", "assumed"; NULL.
                             Constant */
    bool matches;         /* it runs what lies there */
    char *since;          /* of its process, by the node's own clock; NULL */
    const char
        *apiserver; /* "ready", "not ready", "runs" (nobody could ask), "down", "none". Constant
                     */
    char *reason;   /* why it is not ready, or was not asked; NULL */
};

/* A change that is open. */
struct encrypt_status_transition {
    char *why, *opened, *by;
    char *state; /* how far, in words */
    bool aborting, staged;
    bool initial;       /* of encrypt_up_initial(): its apiservers are yet to be started */
    bool counted;       /* etcd was asked: */
    size_t done, total; /* values that have their final form, of all that are to have another one */
};

struct encrypt_status {
    bool enabled; /* secrets are written encrypted, by the first node with an apiserver that could
                     be looked at (by the state file where none could be) */
    const char *stage; /* RKE2's words; constant */
    bool hash_match;
    bool hash_assumed; /* they match, and of some apiserver it is assumed that it runs what lies
                          there: nobody saw it start. A note names it */
    char *hash_error;  /* NULL where they match */
    struct encrypt_status_key *keys; /* those that write first */
    size_t key_count;
    struct encrypt_status_node *nodes;
    size_t node_count;
    struct encrypt_status_transition *transition; /* NULL: none is open */
    char *at_work;    /* who is at work on it now; NULL: nobody, as far as can be seen */
    char *uncounted;  /* why etcd was not counted, or not all of it; NULL: it was */
    int64_t revision; /* of etcd, when it was counted */
    char **problems;  /* what is wrong: one line each. None: exit status 0 */
    size_t problem_count;
    char **notes; /* what else is to be known */
    size_t note_count;
    char *next; /* the command whose turn it is, in an open transition; NULL: none */
};

/*
 * How it stands: read from the nodes, etcd and the state file, as far as each is to be had. Changes
 * nothing, takes no lock. Gives 0 where it could look, whatever it found; -1 where it could not
 * begin (REFUSED) or was INTERRUPTED. `out` is freed by the caller in every case.
 *
 * Among the problems: values in another form than the one that is written, while no transition is
 * open; a state file that is not the one of these nodes (their stamps are newer or another's, they
 * have another configuration, a key in use is on none of them), or that is lost. Where anything is
 * encrypted also: that etcd could not be counted, that there are no credentials to ask the
 * apiservers with. Without encryption those two are no problem.
 */
int encrypt_status(const struct encrypt_options *o, struct encrypt_status *out,
                   struct encrypt_error *err) ENCRYPT_MUST_CHECK;
void encrypt_status_free(struct encrypt_status *s);

/* A step that would be taken. */
struct encrypt_plan_step {
    const char *what; /* of servers that own their configuration their command ("prepare", …), or
                         "wait"; else: "put" (a file), "restart", "reload" (the apiserver takes the
                         file up by itself), "rewrite", "prove", "narrow" (from there is only on),
                         "remove" (the file), "close", "join". Constant */
    const char *form; /* of put, restart, reload: "widen" (reads both, writes the old form),
                         "switch" (reads both, writes the new), "narrow" (the new alone), "from"
                         (the old alone). Constant; NULL: of none */
    char **nodes;     /* addresses, in this order; NULL-terminated, never NULL */
    size_t node_count;
    char *text; /* what is done, for people */
};

/* A key of before or after the change. */
struct encrypt_plan_key {
    const char *change; /* "new", "stays", "dropped" (from the nodes; the state file keeps it).
                           Constant */
    const char *type;   /* as in encrypt_status_key. Constant */
    char *name;         /* NULL: of a fresh key, whose name is found when it is made */
    char *fingerprint;  /* NULL: not a local key, or a fresh one */
    bool writes;        /* after the change: something is written with it */
};

/* A resource that the change is about. */
struct encrypt_plan_resource {
    char *name;     /* "secrets", "widgets.example.com", … */
    size_t objects; /* that are stored */
    size_t rewrite; /* of those, not yet in the form that they are to have */
};

struct encrypt_plan {
    bool nothing_to_do;
    char *why;         /* "enable", "rotate-key", …: what the transition is called; NULL: none */
    bool open;         /* it is open: the steps are those of going on with it */
    bool aborting;     /* and being taken back */
    char *opened, *by; /* since when it is open, by whom; NULL */
    char *command;     /* that carries it out; NULL where nothing is to do */
    size_t nodes;      /* control-plane nodes */
    struct encrypt_plan_step *steps;
    size_t step_count;
    struct encrypt_plan_step *back; /* open: what `abort` would do instead */
    size_t back_count;
    char *no_way_back; /* open: why it can't be taken back; NULL: it can, or it is */
    struct encrypt_plan_key *keys;
    size_t key_count;
    struct encrypt_plan_resource *resources;
    size_t resource_count;
    size_t restarts, reloads; /* of apiservers, in `steps` */
    double seconds;           /* about how long, by what was measured on the testbed; 0: not said */
    char **notes;
    size_t note_count;
};

enum encrypt_plan_of { ENCRYPT_PLAN_UP, ENCRYPT_PLAN_ROTATE_KEY };

/*
 * What encrypt_up() or encrypt_rotate_key() would do, step by step, if nothing failed. Looks and
 * asks as they do before they begin, and is refused where they would be (REFUSED); changes nothing:
 * not the state file, no node, no lock. A fresh key is not made: another one will be. Where the
 * call would first go on with an open transition, that is told. `out` is freed by the caller in
 * every case.
 */
int encrypt_plan(const struct encrypt_options *o, enum encrypt_plan_of what,
                 struct encrypt_plan *out, struct encrypt_error *err) ENCRYPT_MUST_CHECK;
void encrypt_plan_free(struct encrypt_plan *p);

#ifdef __cplusplus
}
#endif
#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#endif

/*
 * Kinds whose servers own the encryption configuration (rke2, k3s): nothing is put on their nodes.
 * What is done is what their documents tell the administrator to do by hand, with their own
 * commands and restarts, and with what their users miss: every server is looked at before each
 * stage, everything is rewritten and proved before their command drops the old key, and an
 * interrupted change is gone on with. What there is to know of them: docs/kinds/rke2.md.
 *
 * Private to the engine. commands.c and status.c ask session_driver()->owned, and come here.
 */
#ifndef ENCRYPT_PROVISIONER_OWNED_OWNED_H
#define ENCRYPT_PROVISIONER_OWNED_OWNED_H

#include "provisioner/host/host.h"
#include "provisioner/objects.h"
#include "provisioner/owned/plan.h"
#include "provisioner/owned/status_text.h"
#include "provisioner/session.h"
#include "provisioner/status.h"

/* What such a kind is made of. */
struct owned_kind {
    const char *program;  /* "rke2": looked for in /usr/local/bin, /usr/bin, /opt/rke2/bin */
    const char *unit;     /* "rke2-server.service" */
    const char *config;   /* …/server/cred/encryption-config.json */
    const char *settings; /* the server's own: /etc/rancher/rke2/config.yaml */
    const char *tls;      /* …/server/: where the files are that its apiserver's arguments name */
    const char *crictl, *crictl_config; /* to stop the apiserver's container alone; NULL: none */
    bool apart; /* its apiserver is a process of its own, which may outlive the unit's restart */
};

/* Whether a kube-apiserver that runs on the node is the server's own, by its arguments
 * (NULL-terminated): others have other files (a cluster within the cluster). Pure. */
bool owned_is_servers(char *const *args, const struct owned_kind *kind);
/* Whether a process that runs now is known to run the file that lies there: the journal saw this
 * very process run it; or it is another than was seen when the file had come to lie there
 * (`apart`), or than before the command or the restart that brought it. Pure. */
bool owned_is_shown(const struct node_record *n, bool apart, const char *sha256,
                    const char *process);
/* Whether the servers' files (NULL: none) have different keys. Pure. */
bool owned_keys_differ(const struct encryption_config *const *configs, size_t count);

/* The host of a member whose driver is of such a kind (drivers/rke2.c). */
const struct host *owned_host(const struct node *n);

enum owned_command {
    OWNED_UP,
    OWNED_ROTATION, /* rotate-key */
    OWNED_RESUME,
    OWNED_ABORT,
    OWNED_PREPARE,
    OWNED_ROTATE,
    OWNED_REENCRYPT,
    OWNED_RESTARTS, /* restart */
};

/* The commands, on an open session. Contracts: encrypt.h. */
int owned_command(struct session *s, enum owned_command command, struct encrypt_report *report,
                  struct error *err) MUST_CHECK;

/* For `status`: what the servers themselves say, put in the place of what was told from files. */
int owned_tell_status(struct status *d, struct error *err) MUST_CHECK;

/* For `plan` and `doctor`. */
int owned_tell_plan(struct session *s, enum encrypt_plan_of what, struct encrypt_plan *p,
                    struct error *err) MUST_CHECK;
struct doctor;
int owned_tell_doctor(struct doctor *d, struct error *err) MUST_CHECK;

/* --- what follows is shared by the files of this folder --- */

/* A server, beside its member of the session. */
struct owned_seen {
    bool active;  /* its unit */
    char *unit;   /* "active", "failed", … */
    char *start;  /* of the unit: another after each start; NULL where it is not active */
    char *tried;  /* the same of its last start, be it active or not */
    bool answers; /* `status` did: */
    struct owned_status status;
    char *silence;                    /* why it did not, or what lies there can't be read */
    char *remedy;                     /* what mends that, where it is known; or NULL */
    struct encryption_config *config; /* what lies there; NULL: none, or not to be read */
};

struct owned_run {
    struct session *s;
    const struct owned_kind *kind;
    struct encrypt_report *report;
    struct owned_seen seen[PLAN_MAX_NODES];
    struct owned_server servers[PLAN_MAX_NODES]; /* what the planner is told */
    size_t leader;
    enum stage_command upto; /* NONE: to the end */
    char *again;             /* the command that goes on */
    int64_t restarted_at;    /* loop_now() when the last apiserver was seen to be another; 0: not in
                                this run */
    char *complaints;        /* their log's lines on a failed reencrypt, before it was asked for */
    size_t stored;           /* how many values there are, 0: not counted */
    bool unrecorded;         /* keys were seen that are not in the state file yet */
};
void owned_run_free(struct owned_run *r); /* also for CLEANUP */

/* look.c: every server, side by side with what the journal knows of each. FAILED where a node can't
 * be asked at all; a server that is down is none. Keys that are new enter the history. */
int owned_look(struct owned_run *r, struct error *err) MUST_CHECK;
/* Every key that some server's file has enters the history (in memory), with nothing open too: a
 * restart puts the datastore's in the place of that file, which may be a key's only place. */
void owned_keep_keys(struct owned_run *r);
/* As owned_look(), and nothing is noted. The session's journal may be NULL. */
int owned_look_only(struct owned_run *r, struct error *err) MUST_CHECK;
int owned_look_at(struct owned_run *r, size_t i, struct error *err) MUST_CHECK;
/* The same for `status`: no journal is needed, nothing is noted. */
int owned_ask(const struct owned_kind *kind, struct member *m, struct owned_seen *out,
              struct error *err) MUST_CHECK;
void owned_seen_free(struct owned_seen *o);
/* What the planner is told, from what was seen and the journal's open change. */
void owned_judge(struct owned_run *r);
/* What a file is in the open change. Pure. */
enum owned_file owned_file_of(const struct encryption_config *c, const struct owned_record *o);
/* The one local key of a configuration, and its type; NULL: it has none, or several. */
const struct encryption_key *owned_only_key(const struct encryption_config *c,
                                            enum provider_type *type);
/* Whether a restart may take a key from the server under which values are stored: their rotate-keys
 * was begun there (or two keys lie there, of which no stage says that they were saved), and it has
 * not ended. `o`: the open change, or NULL. Pure. */
bool owned_restart_may_lose(const struct owned_seen *seen, const struct owned_record *o);
/* The same in words; %s: the unit. */
#define OWNED_MAY_LOSE                                                                             \
    "a rotation did not end there: a restart of %s, or of the machine, may take a key from the "   \
    "server under which values are stored; docs/kinds/rke2.md (rotate-keys ended half-way)"

/* half_way.c */
/* The two keys of a rotation that somebody else began, from what lies on the servers: `from`, with
 * the old one alone (to be freed). NULL: it is no such thing. Pure but for r->seen. */
struct encryption_config *owned_half_way(const struct owned_run *r);
/* That becomes the open change, in memory, from what was seen. */
void owned_note_adopted(struct owned_run *r, const struct encryption_config *from);
/* Whether, as far as is known, every server reads all that is stored: not where the old key has
 * gone from a server's file, and nothing was counted since. Pure. */
bool owned_reads_all(const struct owned_record *o, enum owned_file at);
/* rotate-keys ended half-way on that server, and can't be gone on with by their own stages: the
 * state, and what to do. */
void owned_tell_half_way(const struct owned_run *r, size_t i, struct error *err);

/* commands.c: what the command would open ("rotate-key", "enable", "disable"; constant), and how;
 * NULL: nothing is to do. REFUSED as the command is. */
int owned_decide(struct owned_run *r, enum owned_command command, const char **why,
                 struct owned_facts *facts, struct error *err) MUST_CHECK;
/* run.c: what the planner is told of an open change. */
struct owned_facts owned_facts_of(const struct owned_record *o);

/* change.c: REFUSED where `why` ("rotate-key", "enable", "disable") can't be opened by what the
 * leader has and its settings say. *at_once: by rotate-keys alone, with no stages. */
int owned_check_change(struct owned_run *r, const char *why, bool *at_once,
                       struct error *err) MUST_CHECK;

/* checks.c: before something is changed or restarted; REFUSED. */
/* A restart replaces a server's file by the datastore's: no key may be in that file alone. */
int owned_check_keys_agree(struct owned_run *r, struct error *err) MUST_CHECK;
int owned_check_none_lost(struct owned_run *r, struct error *err) MUST_CHECK;
/* No server is in a stage; and each answers, has the same file, and says the same. */
int owned_check_at_rest(struct owned_run *r, struct error *err) MUST_CHECK;
/* Always gives -1. */
int owned_refuse_stage(struct owned_run *r, size_t i, const char *next, struct error *err);

/* act.c: on the servers. */
/* The lock in the cluster: taken where it is not held yet, else looked at. Where no apiserver
 * answers nobody else can take it either, and that is no error: a server that is down has to be
 * started. */
int owned_hold_lock(struct owned_run *r, struct error *err) MUST_CHECK;
int owned_restart(struct owned_run *r, size_t i, struct error *err) MUST_CHECK;
/* Whether a restart has to bring another apiserver: `before`, `after`: SHA-256 of the file. Pure.
 */
bool owned_wants_another(bool open, const char *before, const char *after);
/* For a server that is not active: one that is coming up is waited for, another is started. */
int owned_start(struct owned_run *r, size_t i, struct error *err) MUST_CHECK;
/* For an active one that doesn't tell its state: waits for a while. STOPPED where that is silent
 * still. */
int owned_listen(struct owned_run *r, size_t i, struct error *err) MUST_CHECK;
int owned_pause(struct owned_run *r, int64_t ms, struct error *err) MUST_CHECK;
/* The last lines of the server's log, added to the message. */
void owned_add_log(struct member *m, struct error *err);

/* give.c: their commands. What they changed is what counts, and not what they said. */
int owned_give(struct owned_run *r, size_t i, const char *command, struct error *err) MUST_CHECK;
/* Until their reencrypt has ended. STOPPED where it failed, or goes on for too long. */
int owned_wait(struct owned_run *r, size_t i, struct error *err) MUST_CHECK;
int owned_snapshot(struct owned_run *r, struct error *err) MUST_CHECK;

/* container.c: stops the container of the server's kube-apiserver, by its crictl; the kubelet
 * starts another. *why: why that was not done (to be freed); NULL: it was. */
int owned_stop_container(struct owned_run *r, size_t i, char **why, struct error *err) MUST_CHECK;
enum { OWNED_ID = 13 }; /* letters of a container's id that crictl shows, and takes */
/* The id in what `crictl ps -q` says, where it is one container. Pure. */
bool owned_container_id(const char *text, char out[OWNED_ID + 1]);

/* settings.c: the type of the key that the server's settings ask for; IDENTITY: they don't say. The
 * first is pure: *out stays where this text doesn't name one. */
int owned_setting_provider(const char *text, size_t len, const char *path, enum provider_type *out,
                           struct error *err) MUST_CHECK;
/* The same of what systemd says of the unit's ExecStart and Environment. *elsewhere: the server
 * reads its settings from another file than r->kind->settings. Pure. */
void owned_unit_provider(const char *text, enum provider_type *out, bool *elsewhere);
int owned_next_provider(struct owned_run *r, enum provider_type *out, bool *elsewhere,
                        struct error *err) MUST_CHECK;
/* REFUSED where the SSH user may not run by sudo what the change will need on some server. */
int owned_check_may(struct owned_run *r, bool at_once, bool snapshot, struct error *err) MUST_CHECK;

/* api_proof.c: where the datastore can't be looked into. Everything is patched once more (it was
 * rewritten before): an apiserver leaves an object's resourceVersion alone only where what is
 * stored is in the form that it writes. What somebody else changed meanwhile is looked at again.
 * Gives the revision of the last list, and adds to *values how many there were. */
int owned_prove_by_api(struct owned_run *r, const struct resource *res, int64_t *revision,
                       int64_t *values, struct error *err) MUST_CHECK;
/* The names of those in `after` that are not in `before` just so; both as kube_versions() gives
 * them. NULL-terminated, each and whole to be freed. Pure. */
char **owned_unsettled(char *const *before, char *const *after, size_t *count);
/* Whether there is an etcd that can be looked into: not with k3s on SQLite, or on another
 * datastore. STOPPED where nobody tells. */
int owned_find_etcd(const struct owned_run *r, bool *has, struct error *err) MUST_CHECK;
/* What could not be rewritten; STOPPED. Always gives -1. */
int owned_refuse_stubborn(struct owned_run *r, struct tally *t, struct error *err);

/* prove.c: rewrites by empty patches, and proves; the journal gets it. */
int owned_prove(struct owned_run *r, struct error *err) MUST_CHECK;
/* Whether its apiserver takes the file up by itself, as far as is known. Pure. */
bool owned_reloads(const struct owned_kind *kind, const struct apiserver *a);
/* As member_ask_reload(), of such a one. */
int owned_ask_reload(struct owned_run *r, size_t i, struct error *err) MUST_CHECK;
/* REFUSED where rotate-keys could not be followed: without an etcd that can be looked into the
 * apiserver's metric alone shows that it has a file in force. */
int owned_check_can_show(struct owned_run *r, struct error *err) MUST_CHECK;
/* After their command has dropped the old key from the leader's file, before anybody restarts. */
int owned_count_gone(struct owned_run *r, struct error *err) MUST_CHECK;
/* REFUSED where something is stored that `from` can't read, or etcd has no room. Sets r->stored. */
int owned_check_store(struct owned_run *r, const struct encryption_config *from,
                      struct error *err) MUST_CHECK;

/* run.c: from whatever is found to the end, or as far as r->upto goes. */
int owned_carry_out(struct owned_run *r, struct error *err) MUST_CHECK;
int owned_record(struct owned_run *r, struct error *err) MUST_CHECK;
/* Whether `abort` can close it: nothing was changed yet; or rotate-keys ended half-way, where both
 * keys stay. Pure but for r. */
bool owned_may_abort(const struct owned_run *r);
/* "stage prepare", "2 of 3 servers have it": how far the open change is; to be freed. */
char *owned_how_far(const struct owned_record *o, enum owned_file at, size_t have, size_t count);
const char *owned_stage_of(enum owned_file at);

#endif

/*
 * A transition being carried out: the forms, what the nodes were seen to hold and run, and the
 * steps. Private to the engine.
 */
#ifndef ENCRYPT_PROVISIONER_RUN_H
#define ENCRYPT_PROVISIONER_RUN_H

#include "provisioner/session.h"
#include "provisioner/stage.h"

struct run {
    struct session *s;
    struct encrypt_report *report;
    struct forms forms;
    char *text[FORM_COUNT];      /* each form as a file; NULL where it is none. Wiped */
    char sha256[FORM_COUNT][65]; /* of it; "none" */
    struct plan_node nodes[PLAN_MAX_NODES];
    struct plan_facts facts;
    enum stage_command upto; /* NONE: to the end; never RESTART */
    uint64_t unconfirmed; /* nodes whose apiserver an interrupted run left: not known to be ready,
                          or not settled */
    uint64_t placed;      /* of those: what they run follows from when the file was put, and is not
                             recorded yet */
    bool resumed;         /* the transition was open when this run began */
    bool copied;          /* the state was copied into the cluster before SWITCH */
    bool recorded;        /* record_early() was there */
    bool changed;         /* this run has recorded or done something */
    char *again;          /* the command that goes on */
    int step;             /* the form whose rollout is under way (enum form), -1: none yet */
    int64_t switched_at;  /* loop_now() when the last apiserver was seen to have been replaced */
    int64_t put_at[PLAN_MAX_NODES]; /* loop_now() when this run put a file there; 0: it did not */
    int64_t stored_bytes;           /* of the values that the check found */
};

/* --- run.c --- */

/* Makes the forms and texts of the journal's open transition. */
int run_prepare(struct run *r, struct session *s, struct encrypt_report *report,
                struct error *err) MUST_CHECK;
void run_free(struct run *r); /* also for CLEANUP */
/* "encrypt COMMAND --config …", as these options would have it again; to be freed. */
char *run_command_line(const char *command, const struct encrypt_options *o);
/* The same of a staged command, with --no-restart and --namespace where they were given. */
char *run_stage_line(enum stage_command command, const struct encrypt_options *o);

enum beginning {
    BEGIN_OPENED,  /* it was opened just now, in memory only */
    BEGIN_RESUMED, /* it was open */
    BEGIN_TURNED,  /* it was open, and is now to be taken back: so far in nobody's memory */
};

/* Carries the open transition through, from whatever is found, to its end, or as far as the staged
 * command goes: then it stays open, with 0. What is OPENED or TURNED is written down only where the
 * planner does not refuse what it finds. REFUSED: it is not the command's turn. */
int run_transition(struct session *s, enum beginning how, enum stage_command command,
                   struct encrypt_report *report, struct error *err) MUST_CHECK;

/* Appends what RKE must find in its state for c: of one that was made from a custom_config
 * (`custom`; NULL: not), RKE's own rendering, byte for byte, or its next `up` would restart and
 * rewrite. */
void run_rke_text(const struct session *s, const struct encryption_config *c,
                  const struct encryption_config *custom, struct buf *out);

/* --- observe.c --- */

/* Looks at every node and fills r->nodes from that and the journal's records. */
int run_observe(struct run *r, struct error *err) MUST_CHECK;
/* Where a run only tells, what lies on a node without an apiserver was not looked at: it counts as
 * what the journal put there. */
void run_take_placed(struct run *r);

/* The forms that the file on the member's node equals, byte for byte or parsed. */
form_set run_file_forms(struct run *r, struct member *m);

/* --- run.c --- */

/* The resources that the transition's configurations name; owned by the session. */
int run_resources(struct run *r, const struct resources **out, struct error *err) MUST_CHECK;
/* True where values of the resource are to be rewritten. */
bool run_changes(const struct run *r, const struct resource *res);

/* REFUSED where the state has a key that is none of the open transition: RKE was run in between. */
int run_check_strings(struct run *r, struct error *err) MUST_CHECK;
/* The planner's REFUSE, as an error. Always gives -1. */
int run_refuse(struct run *r, struct plan_step step, struct error *err);

/* Writes the journal; with the state's strings and flags brought to this moment's form. */
int run_record(struct run *r, struct error *err) MUST_CHECK;

/* --- staged.c --- */

/* What the nodes show, in stages. */
struct stage_at run_stage(const struct run *r);
/* The same of a session whose transition is open, without a run of it. */
int run_look_at_stage(struct session *s, struct stage_at *out, struct error *err) MUST_CHECK;
/* Is it this command's turn? Sets r->upto and what the plan must know. REFUSED: in RKE2's words,
 * with the command whose turn it is. *nothing: there is nothing to do. */
int run_check_stage(struct run *r, enum stage_command command, bool *nothing,
                    struct error *err) MUST_CHECK;
/* The same before anything is touched, the lock in the cluster included; and for `rotate`, whether
 * what is stored can be read and has room. Where there is nothing to do the report says so. */
int run_check_turn(struct session *s, enum stage_command command, struct encrypt_report *report,
                   bool *nothing, struct error *err) MUST_CHECK;
/* By hand: the restarts that are waited for can be told from now on. */
int run_expect_restarts(struct run *r, struct error *err) MUST_CHECK;
/* The command has done its part, and the transition stays open: what the report says of it. */
void run_report_stage(struct run *r);
/* The refusal of a staged command where no transition is open (`prepare` excepted). Always gives
 * -1. */
int stage_refuse_start(struct session *s, enum stage_command command, struct error *err);

/* --- commands.c --- */

/* The name that secrets are written with. */
void set_key_name(struct encrypt_report *report, const struct encryption_config *c);

/* --- begin.c: how a transition is opened, and what join.c needs of that too --- */

/* From `from` to the target: the checks, the locks, the journal, the steps (as far as the staged
 * command goes: then it stays open, with 0). */
struct target;
int transition_begin(struct session *s, const struct target *target,
                     const struct encryption_config *from, enum stage_command command,
                     struct encrypt_report *report, struct error *err) MUST_CHECK;
/* The checks before it: whether all nodes agree and serve, what is stored can be read, there is
 * room. Changes nothing. */
int transition_check(struct session *s, const struct encryption_config *from,
                     const struct encryption_config *to, struct error *err) MUST_CHECK;
/* What runs is assumed from what lies on the nodes, once, when a transition begins. */
void record_what_runs(struct session *s, const struct encryption_config *from,
                      const struct encryption_config *to);
/* A file that no apiserver is told to read may be the last place of a key: REFUSED where one lies
 * on that node. */
int check_no_stray_file(const struct member *m, struct error *err) MUST_CHECK;
/* The transition just opened was refused, or could not be recorded: the error says so, and the lock
 * in the cluster is given back, where it is as if it had never been opened; else STOPPED, and
 * `command` goes on. */
void explain_not_begun(struct session *s, const char *why, enum stage_command command,
                       struct error *err);
/* What was judged before the lock in the cluster was had is still so. */
int check_unchanged(struct session *s, struct error *err) MUST_CHECK;
/* What a node refuses only when it is done is refused before anything is recorded or changed. */
int rehearse(struct member *m, struct error *err) MUST_CHECK;
/* Removes what killed runs left. */
int settle_all(struct session *s, struct error *err) MUST_CHECK;
/* The same where nothing else is to be done, for what the next start of an apiserver would lack;
 * under the lock in the cluster. */
int settle_next_starts(struct session *s, struct error *err) MUST_CHECK;

/* --- rollout.c --- */
int rollout_put(struct run *r, enum form form, uint64_t nodes, struct error *err) MUST_CHECK;
int rollout_restart(struct run *r, enum form form, size_t node, struct error *err) MUST_CHECK;
/* What an interrupted run left on the node: brought up where it is down, waited for, recorded,
 * settled; taken back where it doesn't get ready. */
int rollout_confirm(struct run *r, size_t node, struct error *err) MUST_CHECK;
/* Starts an apiserver that is down, with the flags that it has. Nothing where it runs. */
int bring_back(struct session *s, struct member *m, struct error *err) MUST_CHECK;
int rollout_remove(struct run *r, uint64_t nodes, struct error *err) MUST_CHECK;

/* Its apiserver did not get ready: adds the last lines of its log to the message, and what they
 * mean. */
void rollout_add_log(struct member *m, struct error *err);

/* --- rollout_reload.c: automatic reload --- */

/* The apiserver takes the form's file up by itself, as it runs, and tells when it has. By what
 * run_observe() saw. */
bool rollout_reloads(struct run *r, struct member *m, enum form f);
/* Waits until what lies on the node (as last observed) is in force by what its apiserver tells, and
 * that is ready; then looks at the node again. FAILED where it was not within two minutes, or
 * (`back`: not then) where it counts a file that failed to load. */
int rollout_await_reload(struct run *r, struct member *m, enum form f, bool back,
                         struct error *err) MUST_CHECK;

/* --- rewriting.c --- */

/* Patches one stale object through each apiserver and looks at what is stored then; rewrites
 * everything: what the API lists, or (where r->resumed) what etcd tells is stale. STOPPED where
 * some objects could not be rewritten: all others were. */
int run_rewrite(struct run *r, struct error *err) MUST_CHECK;

/* A sitting: what is stale in these namespaces ("a,b"), and no more; then counts what is left. */
int run_rewrite_namespaces(struct run *r, const char *namespaces, struct error *err) MUST_CHECK;

/* Only these objects ("namespace/name"), NULL-terminated: what a proof found stale. */
int run_rewrite_named(struct run *r, const struct resource *res, char *const *names,
                      struct error *err) MUST_CHECK;

/* --- proof.c --- */

/*
 * Waits until writes that were in flight when the last apiserver was replaced have ended; then, at
 * one revision, that of the API's own list: counts every value of the configured resources by its
 * prefix, and looks through the whole store for values under a key that is to go. What is stale is
 * rewritten by name and proved again, a few times.
 */
int run_prove(struct run *r, struct error *err) MUST_CHECK;

/* While narrowing: whether the proof that was had still holds: nothing lies under what goes, and
 * what is stored of the resources that changed can be read without it. */
int run_proof_holds(struct run *r, bool *holds, struct error *err) MUST_CHECK;

/* REFUSED, with the first of them, where something stored of the transition's resources can't be
 * read by SWITCH: no apiserver that is restarted into it would get ready. */
int run_switch_reads_all(struct run *r, struct error *err) MUST_CHECK;

/* Every apiserver is still the process that was shown to run SWITCH. */
int run_check_identities(struct run *r, struct error *err) MUST_CHECK;

/* --- state_agrees.c --- */

/* The state's running configuration is one that the nodes have, or an older one of ours: REFUSED
 * where it has a key that is neither in force nor known to be retired. `running`: may be NULL. */
int state_agrees(struct session *s, const struct encryption_config *running,
                 struct error *err) MUST_CHECK;

/* Where nothing else is to do: the state file, its copy in the cluster and the lock there are
 * brought to what they would be if every run had come to its end. What runs is what RKE must find
 * in its state, or its next run would undo it. */
int state_bring_up_to_date(struct session *s, const struct encryption_config *running,
                           struct error *err) MUST_CHECK;

/* --- record.c --- */

/* By driver->record(), where the kind has it: what runs is `config` (NULL: none). Nothing is done
 * where it says that already. */
int record_flags(struct session *s, const struct encryption_config *config,
                 struct error *err) MUST_CHECK;
/* Before the first file or restart of SWITCH: an apiserver that somebody upgrades from then on
 * needs the flag. What fails is a warning. */
void record_early(struct run *r, enum form f);
/* What every apiserver runs by now. STOPPED where it can't be had. */
int record_at_end(struct run *r, struct error *err) MUST_CHECK;

/* --- foreign.c --- */

/*
 * Where somebody else changed what the nodes have (RKE, perhaps from a cluster.yml of before a
 * rotation): whether what is stored can be read by it is asked once, before it is built upon, and
 * the file noted (not its process: which file that has read isn't known). `running`: what the nodes
 * have, NULL: none. REFUSED: secrets, a resource that is or was configured, or anything in the
 * store under a key that is in use by the history, can't be read; a file was changed under an
 * apiserver that was not restarted. Where it can't be looked at, that is a warning, and asked
 * again.
 */
int foreign_check(struct session *s, const struct encryption_config *running,
                  struct error *err) MUST_CHECK;
/* Its part for processes. REFUSED: one is known to have read another file than lies there, or the
 * file is newer than it is and the journal doesn't know that it has read it. */
int foreign_check_restarted(struct session *s, struct error *err) MUST_CHECK;

/* --- preflight.c --- */

/* All nodes agree on their configuration and run it, as far as can be seen: gives it (to be freed;
 * NULL: none). */
int preflight_agree(struct session *s, struct encryption_config **out,
                    struct error *err) MUST_CHECK;

/* All apiservers are ready, configured in a way that is managed here, and none serves that
 * cluster.yml doesn't list. */
int preflight_cluster(struct session *s, struct error *err) MUST_CHECK;

/* None serves that cluster.yml doesn't list: by the endpoints of default/kubernetes, the state
 * file's nodes, and the journal's while a transition is open. */
int preflight_addresses(struct session *s, struct error *err) MUST_CHECK;

/* --forget-node names it. */
bool preflight_is_gone(const struct session *s, const char *address);

/* Before a control plane's first apiserver, where no API can be asked: cluster.yml lists the
 * control-plane nodes that the state file and the journal know. REFUSED, but for those of
 * o->forget_node, which may be several ("a,b"). */
int preflight_listed(struct session *s, struct error *err) MUST_CHECK;

/* Every apiserver's version knows what `to` asks for. REFUSED, with the versions named, where not.
 */
int preflight_version(struct session *s, const struct encryption_config *to,
                      struct error *err) MUST_CHECK;

/* Values of the resource that the nodes' configuration can't read, as counted (`text`: the census):
 * REFUSED. Always gives -1. */
struct census;
int preflight_refuse_unknown(struct session *s, const struct resource *r, const struct census *c,
                             const char *text, struct error *err);

/* REFUSED where etcd has no room for so many bytes more. */
int preflight_room(struct session *s, int64_t bytes, struct error *err) MUST_CHECK;

/* Everything stored of the resources that `from` and `to` name lies under prefixes that `from`
 * reads, and the API can read it; etcd has room for the rewrite. REFUSED, with the objects' names,
 * where not. */
int preflight_store(struct session *s, const struct encryption_config *from,
                    const struct encryption_config *to, struct error *err) MUST_CHECK;

/* --- run_lease.c: the lock in the cluster --- */
int take_lease(struct session *s, struct error *err) MUST_CHECK;
int check_lease(struct session *s, struct error *err) MUST_CHECK;
void give_lease_back(struct session *s); /* a failure is a warning: the next run of ours takes it */
/* No transition is open, and the lock in the cluster is ours still, from before the key that is in
 * use was activated: the run that did that was ended between its last record and its end. */
bool run_ended_before_telling(struct session *s);

#endif

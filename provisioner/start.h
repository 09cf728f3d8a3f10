/*
 * Nodes whose kube-apiserver is not there yet: the configuration put there before it starts, and
 * what it must be started with. For `up --initial` (initial.c) and for nodes that join (join.c).
 */
#ifndef ENCRYPT_PROVISIONER_START_H
#define ENCRYPT_PROVISIONER_START_H

#include "provisioner/session.h"

/* The process that journal and nodes are said to have had when a file was put where no process was:
 * every later one is another, and has read the file. */
#define START_NO_PROCESS "none"

/* What lies where the configuration is to be may be put over: nothing; the configuration `c`; one
 * of whose keys the history has all. REFUSED, with what to do, where it is none of these: it may
 * hold a key that is nowhere else. */
int start_check_file(struct session *s, const struct member *m, const struct encryption_config *c,
                     struct error *err) MUST_CHECK;

/* For a fresh key: REFUSED where a node without an apiserver shows that it was of a cluster that
 * was there before (driver.find_cluster), whose secrets that key could not read. */
int start_check_no_cluster(struct session *s, struct error *err) MUST_CHECK;

/* Puts `text` (of `len` bytes, which are on disk here by now), with the stamp of this generation,
 * looks at the node again, and notes it in the journal, which is the caller's to write. */
int start_put(struct session *s, struct member *m, const char *text, size_t len,
              struct error *err) MUST_CHECK;

/* Adds the node: what its apiserver is to be started with for `c` (NULL: without encryption). */
int start_add(struct session *s, struct member *m, const struct encryption_config *c,
              struct encrypt_start *out, struct error *err) MUST_CHECK;

/* REFUSED where a node has no kube-apiserver while a transition is open: which, and how to go on.
 */
int start_check_open(struct session *s, struct error *err) MUST_CHECK;

/* While what `up --initial` has opened is open: that some node has a kube-apiserver is noted in the
 * journal, durably, before anything is answered; also who takes it back when that apiserver is gone
 * again must know. */
int start_note_started(struct session *s, struct error *err) MUST_CHECK;

/* --- initial_back.c --- */

/* The state's strings and flags are again what they were before the open transition, which is of
 * `up --initial`. In memory. */
void initial_put_state_back(struct session *s);

/* Takes back what `up --initial` left, before any apiserver was started: the files are removed from
 * the nodes (not what another operator has put there), the key stays in the history.
 * session_is_initial(). REFUSED where some node had an apiserver since; STOPPED where one has been
 * started meanwhile. */
int initial_take_back(struct session *s, struct encrypt_report *report,
                      struct error *err) MUST_CHECK;

/* After it: apiservers that were started since are given time to get ready. REFUSED where one
 * doesn't: nothing is taken back from it, since it is the first that it runs. */
int initial_wait(struct session *s, struct error *err) MUST_CHECK;

/* --- join.c --- */

/*
 * A node that is new in cluster.yml, or was replaced by an empty machine, has not what the others
 * have. join_look() finds such nodes (m->joins), where the others have a configuration; *any: there
 * are some. REFUSED: what can't be joined safely.
 *
 * join_nodes() brings them to `runs`, the configuration of all others:
 *  - no kube-apiserver yet: the file is put there, and report->start tells what to start it with;
 *  - one with the flag, and no file: the file is put, and it is started;
 *  - one without the flag: the transition "join", from none to `runs`, which all others run
 *    already.
 */
/* "a,b": the same parts, in any order. */
bool join_same_list(const char *a, const char *b);
/* True where both lists of URLs have one that does not only mean "this machine": while a cluster
 * grows, its lists of --etcd-servers differ. */
bool join_shares_server(const char *a, const char *b);
/* For two whose lists tell nothing, since all they have is "this machine": REFUSED where the file
 * of
 * --etcd-cafile (or of --client-ca-file, where the model has none of the first) is not the same on
 * both nodes. `model` is of this cluster. `config` names cluster.yml. */
int join_check_authority(struct member *m, struct member *model, const char *config,
                         struct error *err) MUST_CHECK;
/* An apiserver that is there already is of this cluster, or another's would get our keys: REFUSED
 * where its flags, its files or (`flagless`: without the flag, it may be ready) the certificate
 * that it answers with don't show it. Nothing is asked of a node without one, or where no other
 * node is there to be compared with. */
int join_check_cluster(struct session *s, struct member *m, bool flagless,
                       struct error *err) MUST_CHECK;
int join_look(struct session *s, bool *any, struct error *err) MUST_CHECK;
/* REFUSED: cluster.yml asks for a change while some node joins. */
int join_refuse_change(struct session *s, struct error *err);
int join_nodes(struct session *s, const struct encryption_config *runs,
               struct encrypt_report *report, struct error *err) MUST_CHECK;

#endif

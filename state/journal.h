/*
 * The journal: what we know that neither RKE nor the nodes can tell. It stands as the member
 * "encrypt" in the state file, and whole once more in a file of our own beside it
 * (cluster.encrypt-state beside cluster.rkestate), since RKE drops members that it doesn't know.
 * Each write raises `sequence`; reading takes the copy with the higher one, with the keys of both.
 *
 * Intent is written before an act, observation after it. Both files are 0600: they hold keys.
 *
 *   { "version": 5, "sequence": 42, "cluster": "<uuid>", "generation": 3,
 *     "transition": null | {
 *       "id": "<uuid>", "why": "rotate-key", "opened": "2026-…Z", "by": "user@host",
 *       "stage": "open" | "narrowing",
 *       "from": "<yaml>", "to": "<yaml>", "custom": "<yaml>",
 *       "aborting": false, "reopened": false, "staged": false, "requested": false,
 *       "initial": false, "before": "<yaml>", "started": null | "<address>",
 *       "switched": false, "rewritten": false,
 *       "proved": null | {"revision": 123, "values": 2000, "at": "…"} },
 *     "owned": {"why": "rotate-key", "opened": "2026-…Z", "by": "user@host", "from": "<yaml>",
 *               "staged": false, "at_once": false, "gone": false, "stuck": false,
 *               "proved": null | {"revision": 123, "values": 2000, "at": "…"} },
 *     "last": null | {"why": "rotate-key", "aborted": false, "closed": "2026-…Z"},
 *     "kind": "kubeadm",
 *     "nodes": { "<address>": { "intent": null |
 * {"form": "switch", "process": null |
 * "<identity>"}, "placed": null | {"sha256": "<of the file>", "process": null | "<identity>"},
 *                               "runs":   null | {"sha256": "…", "process": null | "…"},
 *                               "path":   null | "/etc/…" } },
 *     "custom": "<yaml>",
 *     "keys": [ { "name": "key-…", "type": "aescbc", "secret": "<base64>", "fingerprint": "…",
 *                 "created": null | "…", "activated": null | "…", "retired": null | "…" } ] }
 *
 * `custom` is the custom_config of cluster.yml that what runs (in a transition: `to`) was made
 * from,
 * "" where it was made from none. After rotate-key it lags behind: cluster.yml does not have the
 * fresh key until it is written there.
 *
 * `owned` is there only while such a change is open, `kind` (the kind of cluster, as cluster_kind
 * has it) once it is known. With neither, version 4 is written, which knows them not.
 *
 * sha256 "none" stands for "no file, no flag". A process identity is opaque text from the driver.
 * Texts are UTF-8 in one line; the members are these and no others.
 */
#ifndef ENCRYPT_STATE_JOURNAL_H
#define ENCRYPT_STATE_JOURNAL_H

#include "state/rkestate.h"
#include "templates/encryption_config.h"

#include <stdint.h>

enum transition_stage { TRANSITION_OPEN, TRANSITION_NARROWING };

struct transition {
    char *id, *why, *opened, *by;
    enum transition_stage stage;
    struct encryption_config *from, *to; /* NULL: none */
    struct encryption_config *custom;    /* what `to` was made from; NULL: not from custom_config */
    bool
        switched; /* SWITCH was meant for some node: values may have been written with `to` since */
    bool aborting;  /* it is being taken back: the way leads to `from` */
    bool reopened;  /* narrowing had begun, and the store was then found older than its proof */
    bool staged;    /* it is gone through a stage at a time: WIDEN is had with one apiserver too */
    bool requested; /* `reencrypt` was asked for */
    bool initial;   /* of `up --initial`: no apiserver was there when it was opened */
    struct encryption_config *before; /* initial: what the state's strings had then; NULL: none */
    char *started; /* initial: a node that was seen to have an apiserver since; NULL: none was */
    bool rewritten;
    bool proved; /* TRANSITION_NARROWING without it is refused, in writing and in reading */
    int64_t proof_revision, proof_values;
    char *proved_at; /* timestamp_now() */
};

/* A change on servers that own their configuration (provisioner/owned): its forms are theirs, and
 * come to be on the way. */
struct owned_record {
    char *why, *opened, *by;        /* why: "rotate-key", "enable", "disable" */
    struct encryption_config *from; /* what they had when it was opened; never NULL */
    bool staged;                    /* it is gone through a stage at a time */
    bool at_once;                   /* by their rotate-keys */
    bool gone;  /* nothing lay under the old key when it had gone from their file */
    bool stuck; /* their reencrypt was seen to fail */
    bool proved;
    int64_t proof_revision, proof_values;
    char *proved_at; /* timestamp_now() */
};

/* A transition that is closed. */
struct finished {
    char *why; /* NULL: none was, or nothing is known of it */
    bool aborted;
    char *closed; /* timestamp_now() */
};

struct node_file {
    char
        *sha256; /* of the file's bytes in hexadecimal, or "none"; NULL where nothing is recorded */
    char *process; /* the identity of the apiserver's process then; NULL where there was none */
};

struct node_record {
    char *address;
    char *intent_form;    /* "widen", "switch", "narrow", "from"; NULL where nothing is intended */
    char *intent_process; /* the identity before the act; NULL where there was none */
    struct node_file placed, runs;
    char *path; /* where the configuration lies by the apiserver's flag; NULL: not recorded */
};

struct key_record {
    struct encryption_key key;
    enum provider_type type;
    char *created;   /* RFC 3339, UTC; NULL where it was there before us */
    char *activated; /* NULL where no finished transition, nor the state as first read, has it */
    char *retired;   /* NULL where it is in use or never was */
    bool found;      /* by this reading, in the state's strings: no journal knew it. Not written */
};

struct journal {
    char *cluster_id;              /* made with the journal, kept for the cluster's life */
    char *kind;                    /* of the cluster: "rke", "kubeadm", …; NULL: not known */
    int64_t sequence;              /* of the last write */
    int64_t generation;            /* raised when a transition is opened, aborted, begins to narrow,
                                      is finished: a copy of the state with a lower one is older */
    struct transition *transition; /* NULL: none is open */
    struct owned_record *owned;    /* the same of servers that own their configuration */
    struct finished last;          /* the one that was closed last */
    struct encryption_config *custom; /* what runs was made from; NULL: not from custom_config, or
                                         that isn't known */
    struct node_record *nodes;
    size_t node_count;
    struct key_record *keys; /* all keys ever, in order; never dropped but by `keys forget` */
    size_t key_count;
    char *sidecar_path;
    bool only_told; /* of `plan`: what is made of it in memory is never written */
    bool behind;    /* as read: only one of the two places had it, or they differ: to be written */
    bool cut_off;   /* as read: the state file has an older one of ours: the last write did not come
                       to its end there */
};

/* Reads the journal of this state file from both places. Neither is there: a fresh one. Keys of the
 * state's encryptionConfig strings that the history lacks (RKE made them) are entered, the running
 * ones as active; a fresh one takes RKE's word on whether what runs is a custom_config. REFUSED:
 * damaged (which file, where), a newer version, two of the same sequence that differ, one of
 * another cluster than the other, a transition whose configurations don't read, a fresh one where
 * the state's own running configuration doesn't read. `state` may be NULL (no state file): then
 * *out is NULL where there is no sidecar either. */
int journal_read(const struct rkestate *state, const char *state_path, struct journal **out,
                 struct error *err) MUST_CHECK;

/* A fresh journal, with no keys: for a cluster that has no state file. Nothing is written yet. */
int journal_new(const char *state_path, struct journal **out, struct error *err) MUST_CHECK;

/* Writes both: first the sidecar, then the state (whose own changes, made with
 * rkestate_set_encryption(), become durable by it too). `state` may be NULL: the sidecar alone.
 * Raises the sequence, also where it fails. What could not be read back is not written. REFUSED as
 * rkestate_write(), before anything is written. One that is only_told: abort(3). */
int journal_write(struct journal *j, struct rkestate *state, struct error *err) MUST_CHECK;

void journal_free(struct journal *j);
void cleanup_journal(struct journal **j);

/* What kind of cluster it is; copied. */
void journal_set_kind(struct journal *j, const char *kind);
/* True where a change of either sort is open. NULL is fine. */
bool journal_is_open(const struct journal *j);

/* Drops the records of nodes that are not among these (NULL-terminated): they have left the
 * cluster. Only while no transition is open. */
void journal_keep_nodes(struct journal *j, const char *const *addresses);

/* Drops one node's record, also while a transition is open. False where there is none. */
bool journal_forget_node(struct journal *j, const char *address);

/* The node's record, or NULL. */
const struct node_record *journal_seen_node(const struct journal *j, const char *address);
/* The node's record, made where there is none. The pointer is good until the next call. */
struct node_record *journal_node(struct journal *j, const char *address);
/* `process` may be NULL. A NULL form takes the intent back, a NULL sha256 the observation; neither
 * touches the others. */
void node_record_intend(struct node_record *n, const char *form, const char *process);
void node_record_placed(struct node_record *n, const char *sha256, const char *process);
void node_record_runs(struct node_record *n, const char *sha256, const char *process);
void node_record_path(struct node_record *n, const char *path);

/* Opens a transition (replacing none; one that is open already is a bug: abort(3)). from, to and
 * custom (the custom_config that `to` was made from, or NULL) are copied; the keys of from and to
 * enter the history; generation + 1. */
void journal_open(struct journal *j, const char *why, const struct encryption_config *from,
                  const struct encryption_config *to, const struct encryption_config *custom);
/* Turns the open transition back: what was rewritten and proved on the way there counts no more,
 * the nodes' intents get the names that the forms have on the way back (forms_turn_back());
 * generation
 * + 1. Aborting one that narrows is a bug: abort(3). */
void journal_abort(struct journal *j);
/* Narrowing begins; generation + 1. Needs the proof. */
void journal_narrow(struct journal *j);
/* What was proved is not so any more (etcd was restored from a backup): narrowing is undone, and
 * what was rewritten and proved counts no more; generation + 1. */
void journal_reopen(struct journal *j);
/* Closes it: keys of `to` are activated (where they were not) and no longer retired, keys of `from`
 * that `to` lacks are retired, and its `custom` is that of what runs; where it was aborted the
 * other way round, but a key of `to` that was in use before it was opened is in use still;
 * generation + 1; the nodes' intents are cleared; `last` is it. */
void journal_close(struct journal *j);

/* The same for servers that own their configuration: `from` is copied, its keys enter the history,
 * in use where it writes with one.
 * Closing: the keys of `to` (NULL: nothing came of it) are activated where it writes with one,
 * those of `from` that it lacks are retired. One that is open already is a bug: abort(3). */
void journal_open_owned(struct journal *j, const char *why, const struct encryption_config *from);
void journal_close_owned(struct journal *j, const struct encryption_config *to, bool aborted);

/* What runs was made from this custom_config (copied; NULL: from none). False where that was known.
 */
bool journal_set_custom(struct journal *j, const struct encryption_config *custom);

/* Enters a key into the history, where (type, name, secret) is not there yet: as made now. */
void journal_add_key(struct journal *j, enum provider_type type, const struct encryption_key *k);
/* The same for the keys of a configuration that was there before us: made at an unknown time. */
void journal_add_config_keys(struct journal *j, const struct encryption_config *c);

/* The same, and they are in use: of what runs, as first seen where there was no state file. */
void journal_take_over(struct journal *j, const struct encryption_config *c);

/* Adds an error for each key of c (which may be NULL) whose name stands, in the history, for
 * another secret of the same provider type: values of both would lie under one prefix. `tree` is
 * what c was read from, for the places; NULL where there is none. Sorts nothing. */
void journal_check_names(const struct journal *j, const struct encryption_config *c,
                         const struct yaml *tree, struct config_findings *f);

/* A fresh 32-byte key from libcrypto's CSPRNG, named `key-` and five random lower-case letters or
 * digits, unique in the history. `out` is freed by the caller (name with mem_free, secret with
 * mem_free). It enters the history with journal_add_key() or journal_open(). */
int journal_fresh_key(const struct journal *j, struct encryption_key *out,
                      struct error *err) MUST_CHECK;

#endif

/*
 * encrypt: encryption at rest of Kubernetes secrets, for a whole cluster, over SSH.
 *
 * The engine's public face. The command line is its first user. It prints nothing, installs no
 * signal handlers and ends no process, but that it aborts where memory runs out.
 */
#ifndef ENCRYPT_PROVISIONER_ENCRYPT_H
#define ENCRYPT_PROVISIONER_ENCRYPT_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENCRYPT_VERSION "0.1.0"

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
    bool take_over;     /* take the cluster's lock from another operator */
    int64_t timeout_ms; /* how long one apiserver may take to become ready; 0: 5 minutes */
    size_t concurrency; /* objects being rewritten at once; 0: 64 */

    void (*event)(void *ctx, const struct encrypt_event *e); /* or NULL */
    /* Asks for a secret on the terminal: malloc'd, wiped by the caller; NULL: nobody to ask. */
    char *(*ask)(void *ctx, const char *prompt);
    /* True where the run shall stop at the next safe point (a first Ctrl-C). */
    bool (*stop)(void *ctx);
    void *ctx;
};

/* What was done. */
struct encrypt_report {
    bool nothing_to_do;
    bool resumed;     /* an open transition was finished, and no more was done */
    bool aborted;     /* and it was taken back: `why` is what was */
    char why[32];     /* "enable", "disable", "rotate-key", … of the transition; "" where none */
    char key[64];     /* the name of the key that writes now; "" where nothing is encrypted */
    size_t nodes;     /* control-plane nodes */
    size_t rewritten; /* objects patched */
    int64_t proof_values; /* values counted by the proof */
    int64_t proof_revision;
    int64_t milliseconds;
};

/*
 * Once per process, before anything else of this header and before other threads run: sets
 * libcurl's, Jansson's and malloc's memory up to be wiped when freed, and keeps the process out of
 * core dumps.
 */
int encrypt_init(struct error *err) MUST_CHECK;

/*
 * Makes the cluster what cluster.yml says: enabled or disabled. Where a transition is open, goes on
 * with that and does no more. Gives 0 when done or when nothing was to do; else -1 with err->result
 * as the exit codes have it: FAILED (the cluster is as it was), STOPPED (part-way, recorded),
 * REFUSED (nothing was changed), INTERRUPTED.
 */
int encrypt_up(const struct encrypt_options *o, struct encrypt_report *report,
               struct error *err) MUST_CHECK;

/* A fresh key, the same provider. REFUSED where encryption is off or there is no state file. */
int encrypt_rotate_key(const struct encrypt_options *o, struct encrypt_report *report,
                       struct error *err) MUST_CHECK;

/* Goes on with the open transition; where none is open, nothing is to do. */
int encrypt_resume(const struct encrypt_options *o, struct encrypt_report *report,
                   struct error *err) MUST_CHECK;

/* Takes the open transition back: the cluster goes to the configuration before it, through the
 * union of both, and what the other key had encrypted is rewritten and proved first. REFUSED once
 * narrowing has begun: from there is only on. Where none is open, nothing is to do. */
int encrypt_abort(const struct encrypt_options *o, struct encrypt_report *report,
                  struct error *err) MUST_CHECK;

#endif

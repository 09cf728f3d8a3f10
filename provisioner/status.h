/*
 * How it stands, for `status`: what status.c puts together from the session's looks. Private to the
 * engine. The stage, the hashes and what a node runs are pure functions of what was seen.
 */
#ifndef ENCRYPT_PROVISIONER_STATUS_H
#define ENCRYPT_PROVISIONER_STATUS_H

#include "provisioner/run.h"
#include "provisioner/stage.h"

enum status_evidence {
    RUNS_UNKNOWN,
    RUNS_BY_FLAGS,     /* it has no flag, so it runs none */
    RUNS_BY_JOURNAL,   /* the journal saw this very process run it */
    RUNS_BY_PLACEMENT, /* it was started after the file was put, which is the same still */
    RUNS_BY_METRIC,    /* it takes files up by itself, and tells which is in force */
    RUNS_ASSUMED,      /* nothing is recorded: what lies there */
};

/* A node that was looked at; in the order of the session's members. */
struct status_node {
    struct encryption_config *file; /* what lies there; NULL: none, or not `file_known` */
    bool file_known;
    char *file_trouble; /* why not */
    enum status_evidence evidence;
    const char *runs_sha256;              /* "none"; NULL: not known */
    bool runs_known;                      /* its contents are: */
    const struct encryption_config *runs; /* not owned; NULL: none */
    bool asked, ready;                    /* asked whether it is ready */
    char *why;                            /* why not */
};

struct status {
    const struct encrypt_options *o;
    struct session *s;
    struct encrypt_status *out;
    bool state_missing;            /* no file there; one that can't be read is another thing */
    char *no_credentials;          /* why; NULL: there are some */
    const struct http_server *api; /* an apiserver that is ready, or NULL */
    struct status_node *nodes;
    bool recorded_known;                /* what the state file says that runs is: */
    struct encryption_config *recorded; /* NULL: none, or not known */
    bool counted;                       /* secrets in etcd were: no failure kept it from that */
    struct run run;                     /* of the open transition, where `observed` */
    bool observed;
    struct stage_at at; /* of the open transition */
    enum stage stage;
};

/* --- status.c --- */
void status_problem(struct status *d, const char *fmt, ...) PRINTF_LIKE(2, 3);
void status_note(struct status *d, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* --- status_nodes.c --- */

/* Looks at files and readiness, tells what each runs. The error is for INTERRUPTED alone. */
int status_nodes(struct status *d, struct error *err) MUST_CHECK;
/* The nodes of the answer; when the stage is known. */
void status_tell_nodes(struct status *d);
/* Whether all run the same, and what lies there. */
void status_hashes(struct status *d);

/* What the i-th node's apiserver is told to read, else what it runs; NULL: none. False where that
 * isn't known, or there is no apiserver. */
bool status_config(const struct status *d, size_t i, const struct encryption_config **out);

/* What the member's apiserver runs: the evidence, and the file's SHA-256 (owned by the member or
 * the record, "none", or NULL). `record`: the journal's, or NULL. */
enum status_evidence status_runs(const struct member *m, const struct node_record *record,
                                 const char **sha256);

/* "key-b (writes), key-a, identity"; of several items "secrets: …; configmaps: …"; "none". To be
 * freed. */
char *status_describe(const struct encryption_config *c);

/* --- status_stage.c: pure --- */

/* The stage: of an open transition by `at` (see status_at()), else by the journal (NULL: there is
 * none); `at_work`: somebody is. */
enum stage status_stage(const struct journal *j, const struct stage_at *at, bool at_work);

/* Where an open transition is, whichever way it goes. `forms` are those of run_prepare(); NULL, or
 * count 0: nothing was seen, and the journal alone tells. */
struct stage_at status_at(const struct transition *t, const struct forms *forms,
                          const struct plan_node *nodes, size_t count, struct plan_facts facts);

/* The name of the command whose turn it is: "resume", "restart", …; NULL: none. */
const char *status_next(const struct transition *t, const struct stage_at *at, bool at_work);

/* --- status_keys.c --- */

/* "AES-CBC", …, as RKE2 words them; "identity". A constant text. */
const char *status_type_word(enum provider_type type, bool kms_v2);

/* Keys, what lies under them, how far the rewrite is. The error is for INTERRUPTED alone. */
int status_keys(struct status *d, struct error *err) MUST_CHECK;

/* The configuration of the first node that has an apiserver and of which it is known, or what the
 * state file says; NULL: none. */
const struct encryption_config *status_reference(const struct status *d);

/* --- status_state.c --- */

/* This machine's files held against the nodes; what could not be asked, where that matters. After
 * status_keys(). The error is for INTERRUPTED alone. */
int status_state(struct status *d, struct error *err) MUST_CHECK;

#endif

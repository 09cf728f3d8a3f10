/*
 * The driver for apiservers that are a systemd unit: inner parts, for the driver's own files and
 * its tests.
 *
 * What runs is what the unit's process says (/proc), wherever its flags come from: ExecStart=, an
 * environment file, a script. What is to run is set by a drop-in of ours (templates/unit_dropin.h),
 * and by none where the unit says the same without it. Nothing else on the node is changed. A
 * drop-in is made again from what is wanted, so nothing is kept of what was before: `unsettled` is
 * where the next start would have another flag than the process (a run was killed between drop-in
 * and restart; the drop-in was purged, or a flag was taken out of an environment file, under an
 * apiserver that runs on with it), or a drop-in that systemd doesn't know of yet. The process is
 * right then: settle() gives the next start what it has.
 */
#ifndef ENCRYPT_PROVISIONER_DRIVERS_SYSTEMD_H
#define ENCRYPT_PROVISIONER_DRIVERS_SYSTEMD_H

#include "provisioner/host/unit.h"
#include "provisioner/node.h"
#include "templates/unit_dropin.h"

#define SYSTEMD_UNIT "kube-apiserver.service"

struct systemd {
    struct host host;
    char *unit;
    char *process; /* the one seen last, and how many came after the first: for a systemd that
                      doesn't count restarts (NRestarts is 235's) */
    long restarts;
};

/* What there is of the unit on the node. */
struct systemd_look {
    struct host_unit unit;
    bool exists;       /* loaded */
    char *dropin;      /* the path of ours */
    struct buf own;    /* what lies there */
    bool own_there;    /* something does */
    bool own_loaded;   /* systemd knows of it */
    bool own_foreign;  /* it is not ours */
    char *own_value;   /* what its flag says, NULL for none */
    char **paths;      /* the unit's files but ours, in systemd's order */
    struct buf *texts; /* of each */
    struct unit_file *files;
    size_t count;
    struct unit_service service;
    struct apiserver says; /* what that comes to without ours: the flags */
    bool whole;            /* all of it could be told */
    char *program;         /* of its command; NULL: not known */
    const char *engine;    /* the main process is that, and starts a container; NULL: not */
    bool flag_told;        /* `says` has the flag that the files give, or none: the command is the
                              program that runs, and nothing that could hold the flag was out of
                              sight */
    bool running;
    struct host_process process; /* kube-apiserver's own */
    struct apiserver runs;       /* its flags */
};
int systemd_look_at(struct node *n, struct systemd_look *l, struct error *err) MUST_CHECK;
void systemd_look_free(struct systemd_look *l); /* also for CLEANUP */

/* True where a drop-in of ours lies there, and none after it says ExecStart=. */
bool systemd_own_counts(const struct systemd_look *l);
/* Whether it is known which configuration the unit's next start would have, by the files as they
 * lie there; *path: which, NULL for none; not owned. */
bool systemd_next(const struct systemd_look *l, const char **path);
/* True where that is another than its process has. */
bool systemd_next_differs(const struct systemd_look *l);

/* The name of the flag that this apiserver knows: it was another before 1.13. */
const char *systemd_flag_name(const struct node *n, const struct systemd_look *l);

/* True where the unit needs a drop-in of ours to have the configuration (NULL: none). */
bool systemd_needs_dropin(const struct systemd_look *l, const char *config_path);
/* REFUSED where it needs one that would not do, or where another's lies in its place. */
int systemd_check_dropin(const struct node *n, const struct systemd_look *l,
                         const char *config_path, struct error *err) MUST_CHECK;

/* --- systemd_place.c --- */

/* The property by which the unit doesn't see what lies at that path on the node; NULL: it does. Not
 * owned. */
const char *systemd_what_hides(const struct host_unit *u, const char *path);

int systemd_check_place(struct node *n, const char *path, struct error *err);
int systemd_check_start(struct node *n, const struct apiserver_want *want, struct error *err);
int systemd_start_with(struct node *n, const struct apiserver_want *want, char ***flags,
                       char ***mounts, struct error *err);
int systemd_find_socket(struct node *n, const char *path, char *const *binds,
                        struct node_socket *out, struct error *err);
int systemd_look_for_socket(struct node *n, const struct node_socket *at, enum socket_there *out,
                            struct error *err);

/* --- systemd_change.c --- */

/* How long a restart may take until another process is there: as long as systemd gives the one
 * before to end (TimeoutStopSec=), and a minute; 150 s at least, 15 minutes at most. */
int64_t systemd_new_process_ms(const struct host_unit *u);

int systemd_start(struct node *n, const struct apiserver_want *want, const char *process,
                  struct error *err);
int systemd_settle(struct node *n, struct error *err);
int systemd_go_back(struct node *n, const struct apiserver_want *want, struct error *err);

#endif

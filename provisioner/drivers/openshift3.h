/*
 * The driver for OpenShift 3 (Origin, OKD 3, OpenShift Container Platform 3): inner parts, for the
 * driver's own files and its tests.
 *
 * The master API is kube-apiserver and more in one process, and takes its flags from
 * master-config.yaml: its command line doesn't tell them. So what a *running* one has read must be
 * known by evidence. Before that file is changed, a copy of it is kept beside it, which names the
 * process that ran then:
 *
 *   /etc/origin/master/.encrypt-master-config.yaml      root's, 0600
 *
 *   # encrypt: what the process <identity> reads; changed     (first line)
 *   …master-config.yaml as it was…
 *
 * While the process is that one, it runs what the copy says. `changing` stands there from before
 * the file is replaced until after that, when the process was looked at again: one that came up in
 * between may have read either. What can't be told so counts as not running, and is started anew.
 * The copy goes when the new process is ready, and the controllers were restarted after it.
 */
#ifndef ENCRYPT_PROVISIONER_DRIVERS_OPENSHIFT3_H
#define ENCRYPT_PROVISIONER_DRIVERS_OPENSHIFT3_H

#include "provisioner/host/host.h"

#define OPENSHIFT_FOLDER "/etc/origin/master"
#define OPENSHIFT_CONFIG OPENSHIFT_FOLDER "/master-config.yaml"
#define OPENSHIFT_KEPT OPENSHIFT_FOLDER "/.encrypt-master-config.yaml"

/* From 3.10 on: static pods, and this. */
#define OPENSHIFT_RESTART "/usr/local/bin/master-restart"
#define OPENSHIFT_LOGS "/usr/local/bin/master-logs"

struct openshift3 {
    struct host host;
    /* The units, or with neither `pods`; or there is no master on this node. `controllers` may be
     * NULL: up to 3.6 one unit can be both. Constants. */
    const char *api, *controllers;
    bool pods;
    char *said;    /* what master-restart said last, NULL: nothing */
    char *last;    /* the process that observe() saw last */
    long restarts; /* how often that was another than before */
};

/* --- openshift3_kept.c: the copy --- */

struct kept {
    bool there;
    bool changing;
    char *process;   /* "none": none ran */
    struct buf text; /* master-config.yaml as it was */
};
void kept_free(struct kept *k); /* also for CLEANUP */
/* What lies there. REFUSED where its first line is none of ours. */
int kept_parse(const struct buf *file, struct kept *out, struct error *err) MUST_CHECK;
/* The file as it is to lie there. */
void kept_write(const struct kept *k, struct buf *out);

/* --- openshift3.c --- */

/* The master's API, or its controllers. */
struct openshift3_part {
    struct host_process process;
    bool running;
    long restarts;   /* by systemd's count; -1: not told */
    bool loaded;     /* the unit is there */
    bool active;     /* the unit's state: it is up */
    bool failed;     /* …: systemd doesn't start it any more by itself */
    bool waiting;    /* …: it ended, and systemd is about to start it anew */
    bool coming;     /* …: it is being started or ended */
    long changed_at; /* master-config.yaml's change time, by the node's clock; 0: not told */
};
void openshift3_part_free(struct openshift3_part *p); /* also for CLEANUP */
/* False where it isn't there, or was stopped: by somebody, since systemd starts it again. */
bool openshift3_part_is_wanted(const struct openshift3_part *p);
int openshift3_look_at(const struct openshift3 *o, bool controllers, struct openshift3_part *p,
                       struct error *err) MUST_CHECK;

/* What lies on the node, and what runs: the process was looked at first. */
struct openshift3_view {
    bool there;       /* there is a master-config.yaml */
    struct buf text;  /* of it */
    struct kept kept; /* the copy */
    struct openshift3_part api;
};
void openshift3_view_free(struct openshift3_view *v); /* also for CLEANUP */
int openshift3_look(struct node *n, struct openshift3_view *v, struct error *err) MUST_CHECK;

/* REFUSED where the process was told to read another file than master-config.yaml in its usual
 * place. */
int openshift3_check_process(const struct node *n, const struct host_process *p,
                             struct error *err) MUST_CHECK;

/* Which text the process has read: one of the view's, NULL where that can't be told or none runs.
 */
const struct buf *openshift3_read_text(const struct openshift3_view *v);

/* The value of the flag in a master-config.yaml, NULL without; to be freed. */
int openshift3_flag(const struct node *n, const struct buf *text, char **out,
                    struct error *err) MUST_CHECK;

/* --- openshift3_start.c --- */

int openshift3_start(struct node *n, const struct apiserver_want *want, const char *process,
                     struct error *err);
int openshift3_settle(struct node *n, struct error *err);
int openshift3_go_back(struct node *n, const struct apiserver_want *want, struct error *err);

#endif

/*
 * RKE's copy of its state in the cluster: kube-system/full-cluster-state, key full-cluster-state. A
 * Secret from RKE 1.4.19, 1.5.10 and 1.6.0 on, which fall back to a ConfigMap where there is no
 * Secret, delete the ConfigMap when they write, and keep the Secret's annotations; earlier ones
 * know the ConfigMap alone (and only ever write it: what they work with is the file). As a
 * ConfigMap it holds the keys in the clear, in etcd and for whoever may read ConfigMaps: so we make
 * the Secret and delete it. What an earlier RKE loses by that until its next `up` is the copy that
 * its snapshots carry along.
 */
#ifndef ENCRYPT_PROVISIONER_CLUSTER_STATE_H
#define ENCRYPT_PROVISIONER_CLUSTER_STATE_H

#include "provisioner/session.h"

/*
 * Brings the copy up to date, where there is one: the state file's text as it lies on this machine
 * goes into the Secret, and its SHA-256 into an annotation, by which a later run sees that it is
 * current. Of what is there only metadata is brought here. Where there is none, none is made.
 */
int cluster_state_update(struct session *s, struct error *err) MUST_CHECK;

/* The same, where a failure is a warning: the state file is the truth. */
void cluster_state_refresh(struct session *s);

/* Update with a given server and text; *done says in a few words what was done, NULL: nothing (a
 * constant text). */
int cluster_state_put(const struct http_server *api, const char *text, size_t len,
                      const char **done, struct error *err) MUST_CHECK;

/* What the cluster has: the texts of the copy. */
struct cluster_state_copy {
    const char *kind; /* "Secret", "ConfigMap", NULL: there is none */
    struct buf text;  /* as it stands there; wiped */
};
int cluster_state_read(const struct http_server *api, struct cluster_state_copy *out,
                       struct error *err) MUST_CHECK;
void cluster_state_copy_free(struct cluster_state_copy *c); /* also for CLEANUP */

#endif

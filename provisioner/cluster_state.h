/*
 * RKE's copy of its state in the cluster: kube-system/full-cluster-state, key full-cluster-state. A
 * Secret from RKE 1.4.19, 1.5.10 and 1.6.0 on, which fall back to a ConfigMap where there is no
 * Secret and delete the ConfigMap when they write; earlier ones know the ConfigMap alone (and only
 * ever write it: what they work with is the file). As a ConfigMap it holds the keys in the clear,
 * in etcd and for whoever may read ConfigMaps: so we make the Secret and delete it. What an earlier
 * RKE loses by that until its next `up` is the copy that its snapshots carry along.
 */
#ifndef ENCRYPT_PROVISIONER_CLUSTER_STATE_H
#define ENCRYPT_PROVISIONER_CLUSTER_STATE_H

#include "provisioner/session.h"

/*
 * Brings the copy up to date, where there is one; where there is none, none is made. What stands
 * there is RKE's, whose certificates and nodes in it may be newer than those of our file: so the
 * copy is read, what we set in the file is set in it (both encryptionConfig strings, the `enabled`
 * flags, our member), and it is put back by compare and swap. Of a Secret and a ConfigMap the one
 * that was written last is taken. Only where RKE's members are in ours alone they come from there.
 *
 * The strings are those of s->state in memory, so it may be called with a transition open too.
 * Where these leave secrets plain in etcd, the copy would be plain there as well: then it gets no
 * member of ours, which has every key there ever was. A copy that can't be read, or that has a
 * later generation or keys of its own, is left as it is, and the user told.
 */
int cluster_state_update(struct session *s, struct error *err) MUST_CHECK;

/* The same, where a failure is a warning: the state file is the truth. */
void cluster_state_refresh(struct session *s);

/* What was done, in a few words; both NULL: nothing, all is well. */
struct cluster_state_done {
    const char *done; /* constant */
    char *left;       /* why the copy was left as it is; to be freed */
};
/* Update with a given server. */
int cluster_state_put(const struct http_server *api, const struct rkestate *state,
                      const struct journal *journal, struct cluster_state_done *out,
                      struct error *err) MUST_CHECK;

/* One of the two places where a copy may stand. */
struct cluster_state_place {
    const char *kind;       /* "Secret", "ConfigMap"; NULL: there is none */
    char *uid, *version;    /* of the object */
    struct rkestate *state; /* what stands there, its path the place's name; NULL: can't be read, */
    char *trouble;          /* and why */
};
struct cluster_state_copy {
    struct cluster_state_place secret, config_map;
    struct cluster_state_place *newest; /* the one that was written last; NULL: there is no copy */
};
/* Reads both. The error is for an API that can't be asked. Must stay where it is (`newest`). */
int cluster_state_read(const struct http_server *api, struct cluster_state_copy *out,
                       struct error *err) MUST_CHECK;
void cluster_state_copy_free(struct cluster_state_copy *c); /* also for CLEANUP */

/* Why an update would leave this copy as it is; to be freed. NULL: it would not. */
char *cluster_state_why_left(const struct cluster_state_copy *c, const struct rkestate *state,
                             const struct journal *journal);
/* True where a copy of this state carries no member of ours: the secrets of the cluster, the copy
 * among them, are stored plain. */
bool cluster_state_is_plain(const struct rkestate *state);

#endif

/*
 * The lock in the cluster: the Lease kube-system/encrypt (coordination.k8s.io/v1), taken by compare
 * and swap. It does not expire by itself: a transition that is open stays its owner's until it is
 * finished, aborted, or taken over.
 */
#ifndef ENCRYPT_PROVISIONER_KUBE_LEASE_H
#define ENCRYPT_PROVISIONER_KUBE_LEASE_H

#include "provisioner/net/http.h"

/* Creates it, or takes it where its holder is `owner` (a crashed run of ours) or nobody. REFUSED
 * where another holds it (says who and since when; next: the command with --take-over), unless
 * `take_over`. `owner` is stable over the runs of one operator with one state file. `who` is for
 * people: "user@host". */
int lease_take(const struct http_server *s, const char *owner, const char *who, bool take_over,
               struct error *err) MUST_CHECK;
/* Looks whether it is still ours: REFUSED where not (taken over: by whom). *gone: nobody's, since
 * somebody removed it. */
int lease_check(const struct http_server *s, const char *owner, bool *gone,
                struct error *err) MUST_CHECK;
/* Whose it is and since when, and when a run of theirs began last, for people; all NULL (to be
 * freed) where nobody has it. */
struct lease_seen {
    char *owner, *who, *since, *renewed;
};
int lease_look(const struct http_server *s, struct lease_seen *out, struct error *err) MUST_CHECK;
void lease_seen_free(struct lease_seen *l); /* also for CLEANUP */
/* Deletes it where it is ours (uid and resourceVersion as preconditions). Gone already is fine. */
int lease_release(const struct http_server *s, const char *owner, struct error *err) MUST_CHECK;

#endif

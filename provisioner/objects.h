/* Many objects of one resource, by their names: patched, or only looked at. What could not be done
 * is gathered; memory does not grow with the number of objects. */
#ifndef ENCRYPT_PROVISIONER_OBJECTS_H
#define ENCRYPT_PROVISIONER_OBJECTS_H

#include "provisioner/kube/rewrite.h"
#include "provisioner/session.h"

enum { OBJECTS_AT_ONCE = 50000 }; /* names kept at once */

/* Over all batches of one resource. */
struct tally {
    const struct resource *resource; /* not owned */
    size_t patched, gone;            /* patched: or read, where it was looked at only */
    struct stubborn *stubborn;       /* STUBBORN_KEPT of them at most */
    size_t kept;
    size_t more;  /* those that were not kept */
    size_t total; /* a guess for the progress; 0: what is asked for at once */
};
void tally_free(struct tally *t); /* also for CLEANUP */

/* Patches what the API lists. INTERRUPTED where the user asked to stop. *list_status (see
 * rewrite.h) is the answer that ended the list where that is the error; what was done before it is
 * in the tally. */
int objects_patch_listed(struct session *s, struct tally *t, long *list_status,
                         struct error *err) MUST_CHECK;

/* Patches objects (names as rewrite.h has them, NULL-terminated). */
int objects_patch(struct session *s, struct tally *t, char *const *names,
                  struct error *err) MUST_CHECK;

/* Looks at every object that etcd holds of the resource: those that can't be read because no key
 * opens them or they are damaged are the stubborn ones, all others are `patched` or `gone`. Changes
 * nothing. FAILED where another answer than 500 came. */
int objects_find_unreadable(struct session *s, struct tally *t, struct error *err) MUST_CHECK;

/* The API's list failed (that is *err): where single objects can't be read, adds which, and what to
 * do. Always gives -1. */
int objects_explain_list(struct session *s, const struct resource *r, struct error *err);

/* Sets `unreadable` of those among the stubborn that can't be read either. */
int objects_mark_unreadable(struct session *s, struct tally *t, struct error *err) MUST_CHECK;

/* "namespace/name", or "name"; to be freed. */
char *stubborn_name(const struct stubborn *o);

#endif

/*
 * What `up` and `rotate-key` come to where no transition is open: by cluster.yml, what runs and the
 * journal. For those who carry it out (commands.c) and for who only tells (plan.c), so that both
 * say the same. Nothing is changed but the journal in memory.
 */
#ifndef ENCRYPT_PROVISIONER_DECIDE_H
#define ENCRYPT_PROVISIONER_DECIDE_H

#include "provisioner/session.h"
#include "provisioner/target.h"

enum decided {
    DECIDED_NOTHING, /* what runs is what is asked for */
    DECIDED_JOIN,    /* nodes are brought to what all others run */
    DECIDED_CHANGE,  /* a transition from `from` to `target` */
    DECIDED_ROTATE,  /* cluster.yml's rotate_encryption_key, and nothing else: a rotation is to be
                        decided */
};

struct decision {
    enum decided what;
    struct encryption_config *from; /* what every apiserver has; NULL: none */
    struct target target;           /* not of a JOIN */
};
void decision_free(struct decision *d); /* also for CLEANUP */

/* `up`. REFUSED: what it asks for can't be done, or not safely; where cluster.yml lags behind a
 * rotation and is not to be written. */
int decide_up(struct session *s, struct decision *out, struct error *err) MUST_CHECK;

/* `rotate-key`, and the staged commands' beginning. REFUSED as target_rotation(). */
int decide_rotation(struct session *s, struct decision *out, struct error *err) MUST_CHECK;

/* REFUSED where the open transition can't be taken back any more, or never could. */
int decide_abort(struct session *s, struct error *err) MUST_CHECK;

#endif

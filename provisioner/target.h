/*
 * What the configuration should be: B of a transition, by cluster.yml, by what runs, and by the
 * journal. Pure but for random numbers; it asks nobody and changes nothing.
 */
#ifndef ENCRYPT_PROVISIONER_TARGET_H
#define ENCRYPT_PROVISIONER_TARGET_H

#include "state/cluster_yml.h"
#include "state/journal.h"

struct target {
    struct encryption_config *to;           /* never NULL; without items: nothing is encrypted */
    const struct encryption_config *custom; /* the custom_config that it is made from (the
                                               cluster's), or NULL */
    const char *why;                        /* what the transition is called */
    bool lags;   /* cluster.yml has the keys of before the last rotate-key: `to` is what runs */
    bool theirs; /* an administrator's own file (extra_args), which is left alone: `to` is what runs
                  */
    bool kms;    /* of a rotation: a KMS provider is among what gets a new name */
};
void target_free(struct target *t); /* also for CLEANUP */

/* What is asked for: `running` is what every apiserver has (NULL or without items: none), the
 * cluster's findings hold no error. The managed form keeps the key that writes where the provider
 * is the same and the key is not the user's own; else it gets a fresh one. REFUSED: custom_config
 * has a key that rotate-key has replaced, in another configuration than the one that was rotated.
 */
int target_up(const struct cluster *c, const struct journal *j,
              const struct encryption_config *running, struct target *out,
              struct error *err) MUST_CHECK;

/* The same with fresh keys. REFUSED: nothing is encrypted, or cluster.yml asks for something else
 * than what runs (`encrypt up` comes first), or the file is an administrator's own. */
int target_rotation(const struct cluster *c, const struct journal *j,
                    const struct encryption_config *running, struct target *out,
                    struct error *err) MUST_CHECK;

/* True where cluster.yml's custom_config is what `running` was made from, and rotate-key has
 * changed its keys since. */
bool target_config_lags(const struct cluster *c, const struct journal *j,
                        const struct encryption_config *running);

#endif

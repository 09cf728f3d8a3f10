/*
 * cluster.yml and what runs: a rotation under a custom_config makes a key that cluster.yml, from
 * which RKE renders the configuration at each `up`, must get too.
 */
#ifndef ENCRYPT_PROVISIONER_CONFIG_FILE_H
#define ENCRYPT_PROVISIONER_CONFIG_FILE_H

#include "provisioner/session.h"
#include "provisioner/target.h"

/* REFUSED: apiservers have a configuration, and cluster.yml says nothing of encryption. To RKE that
 * means disabled; where cluster.yml is ours alone it may never have been thought of. `running`:
 * what all have, NULL: none. For `up`, before target_up(). */
int config_check_meant(struct session *s, const struct encryption_config *running,
                       struct error *err) MUST_CHECK;

/* REFUSED: a key of the target's custom_config has the name of one in the history that was another
 * secret. */
int config_check_history(struct session *s, const struct target *t, struct error *err) MUST_CHECK;

/* Before a rotation: that cluster.yml could be written (with --write-config). REFUSED where not. */
int config_check_edit(struct session *s, const struct target *t, struct error *err) MUST_CHECK;

/* After a transition, or where nothing was to do: where cluster.yml lags behind what runs (NULL:
 * what the state says, after a transition), writes it (with --write-config), or shows the edit as a
 * warning. STOPPED where it could not be written: the cluster is what it should be. */
int config_follow(struct session *s, const struct encryption_config *running,
                  struct encrypt_report *report, struct error *err) MUST_CHECK;

/* Says which keys of the target's custom_config were retired before, and come back. */
void config_warn_of_retired(struct session *s, const struct target *t,
                            const struct encryption_config *running);

/* cluster.yml lags behind what runs: refuses to bring the replaced key back. Always gives -1. */
int config_refuse_lag(struct session *s, const struct encryption_config *running,
                      struct error *err);

#endif

/*
 * A container's settings: what an inspection tells, turned into what makes the same container anew,
 * with another flag and more binds. Pure functions on JSON; no I/O.
 *
 * What can't be kept: an anonymous volume is the same volume, but named (in HostConfig.Binds); a
 * host port that the daemon chose is chosen anew; from Docker 25 on, a MAC address that was given
 * for one network alone (it can't be told from one that the daemon chose).
 */
#ifndef ENCRYPT_PROVISIONER_DOCKER_SETTINGS_H
#define ENCRYPT_PROVISIONER_DOCKER_SETTINGS_H

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>

/*
 * The body of a create call that makes the inspected container again: Config and HostConfig whole,
 * and the network. Changed are only: the image (`image`: its tag where that still is the same
 * image, else its id), anonymous volumes (bound by name, unless `inherited`, an object with the
 * paths that VolumesFrom brings, or NULL, has them), links, a host name that the daemon would
 * refuse, and the restart policy: it is `no`, so that a dockerd that restarts leaves it alone.
 * *networks is an object: the further networks (name: endpoint) to connect it to. Both are new
 * references. REFUSED: a container that the daemon removes when it stops.
 */
int settings_for_create(const json_t *inspected, const char *image, const json_t *inherited,
                        json_t **body, json_t **networks, struct error *err) MUST_CHECK;

/* Sets --encryption-provider-config in the Entrypoint or Cmd of `config`, whichever holds the flags
 * (NULL: takes it away, and with it the flag for automatic reload, which the apiserver refuses
 * alone). Nothing else is changed. The flag stays where, and by the name by which, it was. REFUSED:
 * flags inside a shell's one string. */
int settings_set_config_flag(json_t *config, const char *config_path, struct error *err) MUST_CHECK;

/* Adds to `body`, which settings_for_create() made of the inspected container, those of `binds`
 * ("host:container[:options]"; ends in NULL, or is NULL) that it doesn't have, as they are written,
 * and removes none. REFUSED where something else is mounted at a bind's container path. */
int settings_add_binds(const json_t *inspected, char *const *binds, json_t *body,
                       struct error *err) MUST_CHECK;

/*
 * The mount of the inspected container that holds `folder`, as a bind for another container
 * ("/etc/kubernetes:/etc/kubernetes"): the same folder of the node at the same place, so that every
 * path means the same there. Writable, and without SELinux options (`z`, `Z`): nothing is to be
 * labelled anew. NULL with a REFUSED error where `path` does not lie on the node by such a bind.
 */
char *settings_bind_for(const json_t *inspected, const char *path, struct error *err);

#endif

/*
 * KMS plugins: the sockets that a configuration's kms providers name, the binds by which the
 * apiserver's container reaches them, and whether the plugins are there and answer.
 */
#ifndef ENCRYPT_PROVISIONER_KMS_H
#define ENCRYPT_PROVISIONER_KMS_H

#include "provisioner/session.h"
#include "templates/encryption_config.h"

/* The socket of an endpoint, as kube-apiserver reads that: a clean absolute path, or "@name" in the
 * abstract namespace. NULL where it is none. To be freed. */
char *kms_socket_path(const char *endpoint);

/* Of cluster.yml's extra_binds those that hold a socket of a kms provider of `config`; a
 * NULL-terminated array to be freed, its strings are the cluster's. NULL where there is none;
 * config may be NULL. */
char **kms_binds(const struct cluster *cluster, const struct encryption_config *config);

/* Those that the apiservers of a session's kind are to be given: none where they see the node's own
 * files. */
char **session_binds(const struct session *s, const struct encryption_config *config);

/*
 * For every kms provider of `to` that `from` (may be NULL) lacks (by version, name and endpoint),
 * on every node:
 *
 * - its socket lies on the node by a mount that the apiserver's container has, or by one of
 *   cluster.yml's extra_binds. A mount of the socket alone is a warning: a plugin that restarts
 *   makes a new one, which the container doesn't see;
 * - the socket is there;
 * - the plugin answers by its own protocol, within some seconds. Where the SSH user may not connect
 *   to the socket that is a note.
 *
 * For every one that `from` has, which is in use until the transition is finished:
 *
 * - cluster.yml's extra_binds, which an apiserver that is started gets, mount nothing else than the
 *   container has; where another of its folders takes the place, the plugin is asked there.
 *
 * A socket that RKE itself would not mount (no extra_binds in cluster.yml holds it) is a warning:
 * an `rke up` makes an apiserver that doesn't reach it.
 *
 * REFUSED, with all that is wrong on all nodes, what the plugins answered, and what to do. Changes
 * nothing.
 */
int kms_check(struct session *s, const struct encryption_config *from,
              const struct encryption_config *to, struct error *err) MUST_CHECK;

#endif

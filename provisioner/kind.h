/* Which kind of cluster nodes are of, and so which driver is theirs. */
#ifndef ENCRYPT_PROVISIONER_KIND_H
#define ENCRYPT_PROVISIONER_KIND_H

#include "provisioner/node.h"

/* The driver of a kind by its name (cluster_kind), or NULL where there is none of that name. */
const struct driver *kind_driver(const char *name);

/*
 * Looks at a node for what its kind leaves there: a kubelet's manifest of kube-apiserver, a unit of
 * it, OpenShift's master-config.yaml, an rke2 or k3s server, RKE's certificate. NULL where nothing
 * of it is to be seen (RKE's folder may be root's, and a node may be bare). REFUSED where there are
 * signs of several, or it can't be told since the user may not look; it says that cluster_kind in
 * cluster.yml names the kind.
 */
int kind_find(struct node *n, const struct driver **out, struct error *err) MUST_CHECK;

/* For tests: the same of what the script on the node says. */
int kind_of_signs(const char *node, const char *signs, const struct driver **out,
                  struct error *err) MUST_CHECK;

#endif

/* Where an administrator's credentials come from: the state file, a kubeconfig. */
#ifndef ENCRYPT_PROVISIONER_CREDENTIALS_H
#define ENCRYPT_PROVISIONER_CREDENTIALS_H

#include "provisioner/session.h"

/*
 * --kubeconfig where given; else kube-ca and kube-admin of the state file; else the kubeconfig that
 * RKE writes beside the cluster file (kube_config_<cluster file>). REFUSED where none has them.
 * Kubeconfigs (v1 Config, client-go's clientcmd format): certificate-authority(-data),
 * client-certificate(-data), client-key(-data) of the current context; tokens and exec plugins are
 * not taken.
 */
int credentials_find(const struct encrypt_options *o, const struct rkestate *state,
                     struct credentials *out, struct error *err) MUST_CHECK;

/*
 * For a session that has none: the kubeconfig that the kind keeps on its nodes
 * (driver->admin_kubeconfig, the driver is open). Where the node has none, s->admin stays empty;
 * that is no error.
 */
int credentials_from_node(struct session *s, struct node *n, struct error *err) MUST_CHECK;

/* The same of the session's nodes, one after the other: the first that has them. The error is the
 * first node's, where none has. */
int credentials_from_nodes(struct session *s, struct error *err) MUST_CHECK;

/* From the text of a node's kubeconfig, `path` for messages. REFUSED where it names files: they
 * would be read on this machine. */
int credentials_from_remote(const char *text, size_t len, const char *path, struct credentials *out,
                            struct error *err) MUST_CHECK;

/* The same from a kubeconfig's text; relative file names are seen from `path`'s folder. */
int credentials_from_kubeconfig(const char *text, size_t len, const char *path,
                                struct credentials *out, struct error *err) MUST_CHECK;

#endif

/*
 * The Kubernetes API, one apiserver at a time. No function brings an object's data to this machine:
 * lists and patches ask for metadata only.
 */
#ifndef ENCRYPT_PROVISIONER_KUBE_KUBE_H
#define ENCRYPT_PROVISIONER_KUBE_KUBE_H

#include "provisioner/kube/resource.h"
#include "provisioner/net/http.h"

#include <stddef.h>
#include <stdint.h>

/* One look at /readyz (/healthz where that is not known). *ready is false where it answers
 * otherwise or not at all; *why (may be NULL) then tells in a few words, to be freed. The error is
 * for INTERRUPTED alone. */
int kube_ready(const struct http_server *s, bool *ready, char **why, struct error *err) MUST_CHECK;

/* The addresses of the serving apiservers (endpoints default/kubernetes), NULL-terminated, each and
 * whole to be freed. */
int kube_apiserver_addresses(const struct http_server *s, char ***out,
                             struct error *err) MUST_CHECK;

/* The server's version, "v1.20.2"; to be freed. Where it tells major and minor alone, "v1.20". What
 * a version knows: templates/encryption_features.h. */
int kube_server_version(const struct http_server *s, char **out, struct error *err) MUST_CHECK;
/* REFUSED where a server of that version (as it tells it) has no lists of metadata alone: names
 * would come with what is in the secrets. `who`: for the message. */
int kube_check_lists(const char *version, const char *who, struct error *err) MUST_CHECK;

/*
 * How many objects the API lists of the resource, by pages of 500 metadata-only entries, all at one
 * revision of etcd, which *revision gets (the list's metadata.resourceVersion): a walk of etcd at
 * that very revision must find as many. A 410 restarts it.
 */
int kube_count(const struct http_server *s, const struct resource *r, size_t *out,
               int64_t *revision, struct error *err) MUST_CHECK;

/* The same, and each of them: "namespace/name resourceVersion" (or "name resourceVersion"), sorted,
 * NULL-terminated; each and whole to be freed. */
int kube_versions(const struct http_server *s, const struct resource *r, char ***out, size_t *count,
                  int64_t *revision, struct error *err) MUST_CHECK;

/* One empty merge patch. *status: the HTTP status; 404 is a fine answer (gone is done). */
int kube_patch_empty(const struct http_server *s, const struct resource *r, const char *ns,
                     const char *name, long *status, struct error *err) MUST_CHECK;

#endif

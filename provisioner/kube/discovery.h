/*
 * Which resources the names in an EncryptionConfiguration stand for in this cluster, now: wildcards
 * and custom resources too. A resource that appears later is not among them; the proof over the
 * whole store is for that.
 */
#ifndef ENCRYPT_PROVISIONER_KUBE_DISCOVERY_H
#define ENCRYPT_PROVISIONER_KUBE_DISCOVERY_H

#include "provisioner/kube/resource.h"
#include "provisioner/net/http.h"

/* A name, or a thing that a wildcard covers, that is not rewritten: since nothing is stored under
 * it, since somebody else stores it, or since it can't be patched. */
struct unchangeable {
    char *name;
    char *why; /* in words, after "name: " */
    /* Objects of it may lie in the store under the key of the configuration before, and none of our
     * patches changes that. False: nothing can lie there. */
    bool stored;
    bool follows; /* kube-apiserver itself rewrites it, when it starts and from then on */
};

struct resources {
    struct resource *list; /* to be rewritten and proved; strings owned */
    size_t count;
    struct unchangeable *others; /* to be told */
    size_t other_count;
};
void resources_free(struct resources *r); /* frees what it holds, empties it; also for CLEANUP */

/*
 * What `names` (as encryption_resources() gives them) stand for: each resource once, in the order
 * of the names and then of the API, by the name that kube-apiserver matches in the configuration
 * (`events`, never `events.events.k8s.io`). A resource is taken in its group's preferred version
 * where that can list and patch it, otherwise in the first one that can.
 *
 * Groups that other API servers serve are not asked: a broken metrics server is no hindrance.
 * Error: one of kube-apiserver's own answers can't be had.
 */
int discovery_resources(const struct http_server *api, char *const *names, struct resources *out,
                        struct error *err) MUST_CHECK;

#endif

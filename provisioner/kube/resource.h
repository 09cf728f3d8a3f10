/* The resources that an EncryptionConfiguration can name, and where they are: in the API and in
 * etcd. */
#ifndef ENCRYPT_PROVISIONER_KUBE_RESOURCE_H
#define ENCRYPT_PROVISIONER_KUBE_RESOURCE_H

struct resource {
    const char *name; /* as the configuration names it: "secrets", "ingresses.networking.k8s.io" */
    const char *api;  /* "/api/v1", "/apis/networking.k8s.io/v1" */
    const char *plural;   /* "secrets" */
    const char *etcd_dir; /* below the etcd prefix: "secrets" */
    _Bool namespaced;
};

/* The built-in resource of that name, or NULL where it is not known: for where no API answers. Its
 * `api` is that of newer servers; discovery.h asks. */
const struct resource *resource_find(const char *name);

/* The name that a built-in resource with that plural has ("deployments": "deployments.apps"), or
 * NULL. */
const char *resource_name_of(const char *plural);

/* Where kube-apiserver stores a resource of its own, below the etcd prefix; `custom`: it is defined
 * by a CustomResourceDefinition. To be freed. */
char *resource_etcd_dir(const char *group, const char *plural, _Bool custom);

#endif

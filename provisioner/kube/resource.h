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

/* The resource of that name, or NULL where it is not known. */
const struct resource *resource_find(const char *name);

#endif

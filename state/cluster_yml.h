/*
 * RKE's cluster.yml: what of it concerns us. Everything else in it is other people's and passed
 * over. Source: rancher.com/docs/rke/latest/en/config-options, and RKE's types
 * (v3.RancherKubernetesEngineConfig).
 */
#ifndef ENCRYPT_STATE_CLUSTER_YML_H
#define ENCRYPT_STATE_CLUSTER_YML_H

#include "base/buf.h"
#include "base/error.h"
#include "base/yaml.h"
#include "templates/encryption_config.h"

#include <stdbool.h>
#include <stdint.h>

enum { CLUSTER_LIMIT = 16 << 20 }; /* the largest file that is read */

/* How one machine is reached. Strings are owned by the cluster; NULL where not given, except as
 * said. */
struct ssh_access {
    char *address;  /* never NULL */
    uint16_t port;  /* 22 */
    char *user;     /* RKE has no default: the local user's name where not given. Never NULL */
    char *key;      /* ssh_key: the private key's text. Wiped when freed */
    char *key_path; /* the node's, else (without `key`) the cluster's, else ~/.ssh/id_rsa; `~` is
                     * expanded. Never NULL unless `key` is there */
    char *cert;     /* ssh_cert: the certificate's text */
    char *cert_path;
    size_t line; /* where it stands in the file */
};

struct cluster_node {
    struct ssh_access ssh;
    char *name;             /* hostname_override, else address, lower-cased. Never NULL */
    char *internal_address; /* else the address. Never NULL */
    char *docker_socket;    /* "/var/run/docker.sock" where not given. Never NULL */
    bool controlplane, etcd, worker;
};

/* What cluster_kind may say. (`cluster_kind` and `apiserver_unit` are ours: RKE passes them over.)
 */
#define CLUSTER_KINDS "rke", "kubeadm", "systemd", "openshift3", "rke2", "k3s"

enum secrets_encryption {
    SECRETS_ENCRYPTION_ABSENT, /* no secrets_encryption_config, or null */
    SECRETS_ENCRYPTION_DISABLED,
    SECRETS_ENCRYPTION_ENABLED,
};

struct cluster {
    char *path;                 /* the file, as given */
    char *name;                 /* cluster_name, or NULL */
    char *kubernetes_version;   /* or NULL */
    char *prefix_path;          /* or NULL */
    char *kind;                 /* cluster_kind: one of CLUSTER_KINDS, or NULL: to be found out */
    size_t kind_line;           /* of that, 0 where absent */
    char *apiserver_unit;       /* apiserver_unit: the systemd unit of the apiserver
                                 * ("kube-apiserver.service"), or NULL */
    struct cluster_node *nodes; /* all, in the file's order */
    size_t node_count;
    bool ssh_agent_auth;        /* counts only here; it overrides node and bastion */
    struct ssh_access *bastion; /* bastion_host, or NULL */
    bool external_etcd;         /* services.etcd.external_urls is there */
    enum secrets_encryption encryption;
    size_t encryption_line; /* of secrets_encryption_config, 0 where absent */
    const struct yaml
        *custom_config; /* secrets_encryption_config.custom_config inside `document`, or NULL */
    struct encryption_config *custom; /* it, read strictly; NULL where absent or with errors */
    enum provider_type provider;      /* of the managed form: PROVIDER_AESCBC where not given */
    char **resources;                 /* of the managed form, NULL-terminated, never NULL: "secrets"
                                       * where not given */
    char *own_config_path;  /* the administrator's own file: extra_args.encryption-provider-config,
                             * or  its name before 1.13; NULL */
    size_t own_config_line; /* of that, 0 where absent */
    char *feature_gates; /* extra_args.feature-gates and those of extra_args_array, "a=true,b=…",
                          * or NULL */
    /* About secrets_encryption_config, extra_binds and rotate_encryption_key, sorted by place.
     * Errors say that `enabled: true` can't be had like this; where it isn't true all are warnings.
     * `provider`, `resources` and `custom` are to be relied upon where there is no error. */
    struct config_findings findings;
    char **extra_binds; /* services.kube-api.extra_binds, "host:container[:options]" each, those
                           that are well-formed; ends in NULL, NULL where there is none */
    size_t extra_binds_line; /* 0 where absent */
    bool rotate_encryption_key;
    size_t rotate_line; /* of rotate_encryption_key, 0 where absent */
    struct yaml *document;
};

/* Reads and checks the file as RKE does: REFUSED with file:line:column for what is not YAML, for a
 * node without address or role, a port outside 1..65535, an address or a name given twice, an
 * unknown role, no control-plane node, a field we need that has the wrong kind (e.g. `enabled:
 * maybe`) or stands twice. Fields that we don't need are never complained of. What is wrong within
 * secrets_encryption_config or extra_binds is no error here but among `findings`: a transition that
 * is open can be finished or taken back whatever the file says by now. The file may hold keys
 * (ssh_key, custom_config): no error and no finding quotes a value.
 */
int cluster_read(const char *path, struct cluster **out, struct error *err) MUST_CHECK;
/* The same from text, for tests and fuzzing. */
int cluster_parse(const char *text, size_t len, const char *path, struct cluster **out,
                  struct error *err) MUST_CHECK;
void cluster_free(struct cluster *c);
void cleanup_cluster(struct cluster **c);

#endif

/*
 * kubeadm's ClusterConfiguration (before 1.12 MasterConfiguration), as the ConfigMap kubeadm-config
 * has it: an upgrade, or `kubeadm init phase control-plane`, makes kube-apiserver's manifest anew
 * of it. What it says of the encryption's flag and mounts is edited; all else stays byte for byte,
 * but that the flag of automatic reload goes with the other. v1alpha1 to v1beta4.
 */
#ifndef ENCRYPT_TEMPLATES_KUBEADM_CONFIG_H
#define ENCRYPT_TEMPLATES_KUBEADM_CONFIG_H

#include "templates/static_pod.h"

struct kubeadm_config_want {
    const char *config_path;               /* NULL: no such flag, and no volume of ours */
    bool old_flag;                         /* under its name before 1.13 */
    const struct static_pod_bind *volumes; /* the first is the configuration's folder where `folder`
                                              says so; named as static_pod.h names them */
    size_t count;
    bool folder;
};

/* The text with what is wanted, checked by reading it; the same bytes where it says that already.
 * REFUSED: not YAML, no such configuration, something else is mounted in a volume's place, or laid
 * out in a way that can't be edited. */
int kubeadm_config_edit(const char *text, size_t len, const char *name,
                        const struct kubeadm_config_want *want, struct buf *out,
                        struct error *err) MUST_CHECK;

#endif

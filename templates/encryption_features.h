/*
 * What each version of Kubernetes knows of an EncryptionConfiguration. Sources: the documentation
 * of its feature gates (KMSv1, KMSv2), the change logs of 1.13, 1.26, 1.27 and 1.29, and
 * kube-apiserver 1.20.2, tried.
 *
 * What a version doesn't know is not always an error there: before 1.26 kube-apiserver takes
 * `widgets.example.com` as a resource, and goes on storing widgets plain.
 */
#ifndef ENCRYPT_TEMPLATES_ENCRYPTION_FEATURES_H
#define ENCRYPT_TEMPLATES_ENCRYPTION_FEATURES_H

#include "templates/encryption_config.h"

struct kube_version {
    int major, minor;
};
/* "v1.20.2", "v1.20.15-rancher1-1", "1.27+", "v1.11.0+d4cacc0". False where it is no version. */
bool kube_version_parse(const char *text, struct kube_version *out) MUST_CHECK;
/* True where v is major.minor or later. */
bool kube_version_at_least(struct kube_version v, int major, int minor);

/* Whether a resource's name in a configuration ("secrets", "deployments.apps",
 * "widgets.example.com") stands for a custom resource, as far as the name tells: its group is none
 * of those that kube-apiserver itself has or had. Also true for groups that other API servers
 * serve. A wildcard of such a group ("*.example.com") is true too; "*.*" and "*." are not. */
bool encryption_resource_is_custom(const char *name);
/* "*.", "*.apps", "*.*"; a bare "*" too. */
bool encryption_resource_is_wildcard(const char *name);
/* True where c names a custom resource or a wildcard: then discovery must tell what that is. c may
 * be NULL. */
bool encryption_config_names_custom_resource(const struct encryption_config *c);
bool encryption_config_names_wildcard(const struct encryption_config *c);

/*
 * What of c (NULL: nothing) a kube-apiserver of that version does not know, would not load, or
 * would take without doing it. REFUSED: all of it by name, the version that has it and the version
 * that is there. `who`: "kube-apiserver on 10.0.0.1", or "kubernetes_version of cluster.yml".
 * `gates`: the value of --feature-gates, or NULL. REFUSED too where version_text is no version, so
 * that nothing is deployed by guess. `old_format`: it is written by encryption_config_write_old(),
 * and given by the flag's old name; else apiservers before 1.13 know neither.
 */
int encryption_config_check_version(const struct encryption_config *c, const char *version_text,
                                    const char *who, const char *gates, bool old_format,
                                    struct error *err) MUST_CHECK;

#endif

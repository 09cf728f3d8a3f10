#include "provisioner/kube/resource.h"

#include "base/mem.h"

#include <stdbool.h>

#define CORE "/api/v1"
#define APPS "/apis/apps/v1"
#define BATCH "/apis/batch/v1"
#define AUTOSCALING "/apis/autoscaling/v1"
#define NETWORKING "/apis/networking.k8s.io/v1"
#define POLICY "/apis/policy/v1"
#define RBAC "/apis/rbac.authorization.k8s.io/v1"
#define STORAGE "/apis/storage.k8s.io/v1"
#define COORDINATION "/apis/coordination.k8s.io/v1"
#define DISCOVERY "/apis/discovery.k8s.io/v1"
#define SCHEDULING "/apis/scheduling.k8s.io/v1"
#define CERTIFICATES "/apis/certificates.k8s.io/v1"
#define NODE "/apis/node.k8s.io/v1"
#define ADMISSION "/apis/admissionregistration.k8s.io/v1"

static const struct resource resources[] = {
    {"secrets", CORE, "secrets", "secrets", 1},
    {"configmaps", CORE, "configmaps", "configmaps", 1},
    {"endpoints", CORE, "endpoints", "services/endpoints", 1},
    {"events", CORE, "events", "events", 1},
    {"limitranges", CORE, "limitranges", "limitranges", 1},
    {"namespaces", CORE, "namespaces", "namespaces", 0},
    {"nodes", CORE, "nodes", "minions", 0},
    {"persistentvolumeclaims", CORE, "persistentvolumeclaims", "persistentvolumeclaims", 1},
    {"persistentvolumes", CORE, "persistentvolumes", "persistentvolumes", 0},
    {"pods", CORE, "pods", "pods", 1},
    {"podtemplates", CORE, "podtemplates", "podtemplates", 1},
    {"replicationcontrollers", CORE, "replicationcontrollers", "controllers", 1},
    {"resourcequotas", CORE, "resourcequotas", "resourcequotas", 1},
    {"serviceaccounts", CORE, "serviceaccounts", "serviceaccounts", 1},
    {"services", CORE, "services", "services/specs", 1},

    {"controllerrevisions.apps", APPS, "controllerrevisions", "controllerrevisions", 1},
    {"daemonsets.apps", APPS, "daemonsets", "daemonsets", 1},
    {"deployments.apps", APPS, "deployments", "deployments", 1},
    {"replicasets.apps", APPS, "replicasets", "replicasets", 1},
    {"statefulsets.apps", APPS, "statefulsets", "statefulsets", 1},
    {"cronjobs.batch", BATCH, "cronjobs", "cronjobs", 1},
    {"jobs.batch", BATCH, "jobs", "jobs", 1},
    {"horizontalpodautoscalers.autoscaling", AUTOSCALING, "horizontalpodautoscalers",
     "horizontalpodautoscalers", 1},
    {"ingressclasses.networking.k8s.io", NETWORKING, "ingressclasses", "ingressclasses", 0},
    {"ingresses.networking.k8s.io", NETWORKING, "ingresses", "ingress", 1},
    {"networkpolicies.networking.k8s.io", NETWORKING, "networkpolicies", "networkpolicies", 1},
    {"poddisruptionbudgets.policy", POLICY, "poddisruptionbudgets", "poddisruptionbudgets", 1},
    {"clusterrolebindings.rbac.authorization.k8s.io", RBAC, "clusterrolebindings",
     "clusterrolebindings", 0},
    {"clusterroles.rbac.authorization.k8s.io", RBAC, "clusterroles", "clusterroles", 0},
    {"rolebindings.rbac.authorization.k8s.io", RBAC, "rolebindings", "rolebindings", 1},
    {"roles.rbac.authorization.k8s.io", RBAC, "roles", "roles", 1},
    {"csidrivers.storage.k8s.io", STORAGE, "csidrivers", "csidrivers", 0},
    {"csinodes.storage.k8s.io", STORAGE, "csinodes", "csinodes", 0},
    {"storageclasses.storage.k8s.io", STORAGE, "storageclasses", "storageclasses", 0},
    {"volumeattachments.storage.k8s.io", STORAGE, "volumeattachments", "volumeattachments", 0},
    {"csistoragecapacities.storage.k8s.io", STORAGE, "csistoragecapacities", "csistoragecapacities",
     1},
    {"leases.coordination.k8s.io", COORDINATION, "leases", "leases", 1},
    {"endpointslices.discovery.k8s.io", DISCOVERY, "endpointslices", "endpointslices", 1},
    {"certificatesigningrequests.certificates.k8s.io", CERTIFICATES, "certificatesigningrequests",
     "certificatesigningrequests", 0},
    {"runtimeclasses.node.k8s.io", NODE, "runtimeclasses", "runtimeclasses", 0},
    {"priorityclasses.scheduling.k8s.io", SCHEDULING, "priorityclasses", "priorityclasses", 0},
    {"mutatingwebhookconfigurations.admissionregistration.k8s.io", ADMISSION,
     "mutatingwebhookconfigurations", "mutatingwebhookconfigurations", 0},
    {"validatingwebhookconfigurations.admissionregistration.k8s.io", ADMISSION,
     "validatingwebhookconfigurations", "validatingwebhookconfigurations", 0},
};

const struct resource *resource_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(resources); i++) {
        if (str_eq(resources[i].name, name))
            return &resources[i];
    }
    return NULL;
}

const char *resource_name_of(const char *plural)
{
    for (size_t i = 0; i < ARRAY_LEN(resources); i++) {
        if (str_eq(resources[i].plural, plural))
            return resources[i].name;
    }
    return NULL;
}

char *resource_etcd_dir(const char *group, const char *plural, bool custom)
{
    /* A few folders are older than the rule (SpecialDefaultResourcePrefixes in kube-apiserver). */
    static const struct {
        const char *group, *plural, *dir;
    } special[] = {
        {"", "replicationcontrollers", "controllers"},
        {"", "endpoints", "services/endpoints"},
        {"", "nodes", "minions"},
        {"", "services", "services/specs"},
        {"extensions", "ingresses", "ingress"},
        {"networking.k8s.io", "ingresses", "ingress"},
        {"extensions", "podsecuritypolicies", "podsecuritypolicy"},
        {"policy", "podsecuritypolicies", "podsecuritypolicy"},
    };
    /* Stored by servers of their own inside kube-apiserver, as custom resources are. */
    if (custom || str_eq(group, "apiextensions.k8s.io") || str_eq(group, "apiregistration.k8s.io"))
        return mem_printf("%s/%s", group, plural);
    for (size_t i = 0; i < ARRAY_LEN(special); i++) {
        if (str_eq(special[i].group, group) && str_eq(special[i].plural, plural))
            return mem_strdup(special[i].dir);
    }
    return mem_strdup(plural);
}

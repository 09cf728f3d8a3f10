/* What RKE, or another provisioner in its way, starts an apiserver with that isn't there yet. */
#include "provisioner/drivers/rke.h"
#include "state/cluster_yml.h"
#include "templates/encryption_features.h"

#include <string.h>

/* RKE's own table: systems whose root is read-only. */
static const struct {
    const char *system, *prefix;
} prefixes[] = {{"Boot2Docker", "/mnt/sda1/rke"},
                {"RancherOS", "/opt/rke"},
                {"CoreOS", "/opt/rke"},
                {"Flatcar", "/opt/rke"}};

int rke_kubernetes_folder(struct node *n, const char **out, struct error *err)
{
    struct rke *r = n->driver_data;
    const char *prefix = n->cluster ? n->cluster->prefix_path : NULL;
    char *system CLEANUP(cleanup_mem) = NULL;
    *out = r->folder;
    if (*out)
        return 0;
    if (!prefix || !*prefix) {
        if (docker_system(&r->docker, &system, err) < 0)
            return -1;
        prefix = "";
        for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
            if (strstr(system, prefixes[i].system))
                prefix = prefixes[i].prefix;
    }
    size_t len = strlen(prefix);
    while (len && prefix[len - 1] == '/')
        len--;
    *out = r->folder = mem_printf("%.*s%s", (int)len, prefix, RKE_FOLDER);
    return 0;
}

/* The flag had another name before 1.13. */
static const char *flag_name(const struct node *n)
{
    struct kube_version v = {0};
    const char *text = n->cluster ? n->cluster->kubernetes_version : NULL;
    bool old = text && kube_version_parse(text, &v) && !kube_version_at_least(v, 1, 13);
    return old ? "experimental-encryption-provider-config" : "encryption-provider-config";
}

int rke_start_with(struct node *n, const struct apiserver_want *want, char ***flags, char ***mounts,
                   struct error *err)
{
    const char *host = NULL;
    size_t binds = 0;
    if (rke_kubernetes_folder(n, &host, err) < 0)
        return -1;
    while (want->binds && want->binds[binds])
        binds++;
    char **flag = mem_alloc(2, sizeof(*flag));
    char **mount = mem_alloc(binds + 2, sizeof(*mount));
    if (want->config_path) {
        flag[0] = mem_printf("--%s=%s", flag_name(n), want->config_path);
        mount[0] = mem_printf("%s:%s:z", host, RKE_FOLDER);
        for (size_t i = 0; i < binds; i++)
            mount[i + 1] = mem_strdup(want->binds[i]);
    }
    *flags = flag;
    *mounts = mount;
    return 0;
}

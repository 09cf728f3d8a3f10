/* cluster.yml: any bytes. Seeds: tests/data/rke, examples. */
#include "state/cluster_yml.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err CLEANUP(error_clear) = {0};
    struct cluster *c CLEANUP(cleanup_cluster) = NULL;
    if (cluster_parse((const char *)data, size, "f", &c, &err) != 0) {
        must(!c && err.result == RESULT_REFUSED && str_starts(err.message, "f:"));
        return 0;
    }
    bool controlplane = false;
    must(c && !err.message && c->node_count > 0);
    for (size_t i = 0; i < c->node_count; i++) {
        const struct cluster_node *n = &c->nodes[i];
        must(*n->ssh.address && n->ssh.port && *n->ssh.user && (n->ssh.key || n->ssh.key_path));
        must(*n->name && *n->internal_address && *n->docker_socket);
        controlplane = controlplane || n->controlplane;
    }
    must(controlplane && (!c->bastion || *c->bastion->address));
    must(c->resources && *c->resources && (c->findings.errors == 0 || c->findings.count > 0));
    must(!c->custom || c->custom_config);
    must(c->encryption == SECRETS_ENCRYPTION_ENABLED || c->findings.errors == 0);
    must((c->own_config_path != NULL) == (c->own_config_line != 0));
    must((c->encryption == SECRETS_ENCRYPTION_ABSENT) == (c->encryption_line == 0));
    return 0;
}

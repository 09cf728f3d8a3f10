/*
 * kubeadm's ClusterConfiguration edited: any bytes. What is enabled says so: a second edit changes
 * nothing; and disabling is done after it, or refused. Seeds: tests/data/kubeadm-config.
 */
#include "templates/kubeadm_config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct static_pod_bind volumes[] = {
        {"/etc/kubernetes/enc", "/etc/kubernetes/enc", true}, {"/run/kms", "/run/kms", false}};
    struct kubeadm_config_want on = {.config_path = "/etc/kubernetes/enc/encryption.yaml",
                                     .volumes = volumes,
                                     .count = 2,
                                     .folder = true};
    struct kubeadm_config_want off = {0};
    struct error err CLEANUP(error_clear) = {0};
    struct buf enabled CLEANUP(buf_free) = {0}, again CLEANUP(buf_free) = {0};
    struct buf back CLEANUP(buf_free) = {0};
    if (kubeadm_config_edit((const char *)data, size, "f", &on, &enabled, &err) != 0) {
        must(!enabled.len && err.result == RESULT_REFUSED);
        return 0;
    }
    must(kubeadm_config_edit(enabled.data, enabled.len, "f", &on, &again, &err) == 0);
    must(again.len == enabled.len && memcmp(again.data, enabled.data, again.len) == 0);
    buf_reset(&again);
    if (kubeadm_config_edit(enabled.data, enabled.len, "f", &off, &back, &err) != 0) {
        must(err.result == RESULT_REFUSED);
        return 0;
    }
    must(kubeadm_config_edit(buf_str(&back), back.len, "f", &off, &again, &err) == 0);
    must(again.len == back.len && (!back.len || memcmp(again.data, back.data, again.len) == 0));
    return 0;
}

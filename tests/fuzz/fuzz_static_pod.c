/*
 * A static pod's manifest edited: any bytes. What is enabled says so and reads the same but for
 * what is ours; a second edit changes nothing; disabling brings a manifest that had no flag and
 * nothing of ours back byte for byte. Seeds: tests/data/manifests.
 */
#include "templates/static_pod.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static bool has_ours(const struct static_pod *p)
{
    bool any = p->restart || static_pod_config(p);
    const struct yaml *volumes = yaml_path(p->document, "spec", "volumes", NULL);
    for (size_t i = 0; volumes && volumes->kind == YAML_KIND_LIST && i < volumes->count; i++) {
        const struct yaml *name = yaml_get(volumes->items[i], "name");
        any = any || (name && name->scalar && str_starts(name->scalar, "encrypt-io-"));
    }
    for (size_t i = 0; i < p->count; i++)
        any = any || p->mounts[i].ours;
    return any;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    static const struct static_pod_bind bind = {"/run/kms", "/run/kms", false};
    struct static_pod_want on = {.config_path = "/etc/kubernetes/enc/encryption.yaml",
                                 .binds = &bind,
                                 .bind_count = 1,
                                 .restart = "12ab"};
    struct static_pod_want off = {0};
    struct error err CLEANUP(error_clear) = {0};
    struct buf enabled CLEANUP(buf_free) = {0}, again CLEANUP(buf_free) = {0};
    struct buf back CLEANUP(buf_free) = {0};
    struct static_pod *a CLEANUP(cleanup_static_pod) = NULL;
    struct static_pod *b CLEANUP(cleanup_static_pod) = NULL;
    if (static_pod_edit(text, size, "f", &on, &enabled, &err) != 0) {
        must(!enabled.len && err.result == RESULT_REFUSED);
        return 0;
    }
    size_t skip = size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    must(static_pod_read(text + skip, size - skip, "f", &a, &err) == 0);
    must(static_pod_read(enabled.data + skip, enabled.len - skip, "f", &b, &err) == 0);
    must(static_pod_has(b, &on) && str_eq(b->restart, on.restart));
    must(static_pod_same_but_ours(a, b));
    must(static_pod_edit(enabled.data, enabled.len, "f", &on, &again, &err) == 0);
    must(again.len == enabled.len && memcmp(again.data, enabled.data, again.len) == 0);
    if (static_pod_edit(enabled.data, enabled.len, "f", &off, &back, &err) != 0)
        return 0;
    if (!has_ours(a))
        must(back.len == size && memcmp(back.data, data, size) == 0);
    return 0;
}

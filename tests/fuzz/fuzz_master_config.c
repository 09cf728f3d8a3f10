/*
 * master-config.yaml edited in place: any bytes. Where the flag is set, the new text says so, a
 * second edit changes nothing, and without it again the text says what the first did. Seeds:
 * tests/data/master-config.
 */
#include "base/yaml.h"
#include "templates/encryption_config.h"
#include "templates/master_config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char path[] = "/a b";

static void must(bool holds)
{
    if (!holds)
        abort();
}

static int edit(const char *text, size_t len, const char *to, struct buf *out, bool *changed)
{
    struct error err CLEANUP(error_clear) = {0};
    int rc = master_config_edit(text, len, "f", to, out, changed, &err);
    must(rc == 0 ? !err.message : err.result == RESULT_REFUSED && !out->len);
    return rc;
}

static void check_flags(const struct buf *text, bool is_set)
{
    struct error err CLEANUP(error_clear) = {0};
    char **flags CLEANUP(cleanup_encryption_resources) = NULL;
    bool there = false;
    if (master_config_flags(buf_str(text), text->len, "f", &flags, &err) != 0)
        return;
    for (size_t i = 0; flags[i]; i++) {
        there = there || str_eq(flags[i], "--experimental-encryption-provider-config=/a b") ||
                str_eq(flags[i], "--encryption-provider-config=/a b");
    }
    must(there == is_set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf with CLEANUP(buf_free) = {0}, again CLEANUP(buf_free) = {0};
    struct buf without CLEANUP(buf_free) = {0}, back CLEANUP(buf_free) = {0};
    bool changed = false;
    if (edit((const char *)data, size, path, &with, &changed) != 0)
        return 0;
    check_flags(&with, true);
    must(edit(buf_str(&with), with.len, path, &again, &changed) == 0 && !changed);
    must(with.len == again.len && memcmp(buf_str(&with), buf_str(&again), with.len) == 0);
    if (edit(buf_str(&with), with.len, NULL, &without, &changed) != 0)
        return 0;
    check_flags(&without, false);
    if (edit(buf_str(&without), without.len, path, &back, &changed) == 0)
        check_flags(&back, true);
    return 0;
}

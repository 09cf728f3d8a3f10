/*
 * cluster.yml edited in place: any bytes. Each key and kms name of its custom_config gets another
 * value. Where that is done, the new text strictly says the new configuration, nothing else in it
 * reads otherwise, a second edit changes nothing, and the way back leads to a text that says what
 * the old one did. Seeds: tests/data/rke, examples.
 */
#include "state/cluster_edit.h"
#include "state/cluster_yml.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static struct encryption_config *custom_of(const char *text, size_t len)
{
    struct error err CLEANUP(error_clear) = {0};
    struct cluster *c CLEANUP(cleanup_cluster) = NULL;
    struct encryption_config *config = NULL;
    if (cluster_parse(text, len, "f", &c, &err) != 0 || !c->custom_config ||
        encryption_config_from_yaml(c->custom_config, "f", ENCRYPTION_STRICT, &config, &err) != 0)
        return NULL;
    return config;
}

static void rename_text(char **text)
{
    char *longer = mem_printf("%s-n", *text);
    mem_free(*text);
    *text = longer;
}

static struct encryption_config *another(const struct encryption_config *from)
{
    struct encryption_config *to = encryption_config_copy(from);
    for (size_t i = 0; i < to->item_count; i++)
        for (size_t j = 0; j < to->items[i].provider_count; j++) {
            struct encryption_provider *p = &to->items[i].providers[j];
            if (p->kms_name)
                rename_text(&p->kms_name);
            for (size_t k = 0; k < p->key_count; k++) {
                rename_text(&p->keys[k].name);
                p->keys[k].secret[0] ^= 0xa5;
            }
        }
    return to;
}

/* Equal but for scalars below `custom`. */
static void same(const struct yaml *a, const struct yaml *b, const struct yaml *custom, bool inside)
{
    inside = inside || a == custom;
    must(a->kind == b->kind && a->count == b->count);
    must(inside || (str_eq(a->scalar, b->scalar) && a->quoted == b->quoted));
    for (size_t i = 0; i < a->count; i++) {
        must(!a->keys || str_eq(a->keys[i]->scalar, b->keys[i]->scalar));
        same(a->items[i], b->items[i], custom, inside);
    }
}

static void check(const char *text, size_t len, const struct buf *out)
{
    struct error err CLEANUP(error_clear) = {0};
    struct cluster *a CLEANUP(cleanup_cluster) = NULL, *b CLEANUP(cleanup_cluster) = NULL;
    must(cluster_parse(text, len, "f", &a, &err) == 0);
    must(cluster_parse(out->data, out->len, "f", &b, &err) == 0);
    same(a->document, b->document, a->custom_config, false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct error err CLEANUP(error_clear) = {0};
    struct buf out CLEANUP(buf_free) = {0}, shown CLEANUP(buf_free) = {0};
    struct encryption_config *from CLEANUP(cleanup_encryption_config) = custom_of(text, size);
    if (!from) {
        must(cluster_edit_custom(text, size, "f", NULL, NULL, &out, &shown, &err) != 0);
        must(!out.len && !shown.len && err.result == RESULT_REFUSED);
        return 0;
    }
    struct encryption_config *to CLEANUP(cleanup_encryption_config) = another(from);
    if (cluster_edit_custom(text, size, "f", NULL, to, &out, &shown, &err) != 0) {
        must(!out.len && !shown.len && err.result == RESULT_REFUSED);
        return 0;
    }
    struct encryption_config *says CLEANUP(cleanup_encryption_config) =
        custom_of(out.data, out.len);
    must(says && encryption_config_equal(says, to));
    check(text, size, &out);

    struct buf again CLEANUP(buf_free) = {0}, nothing CLEANUP(buf_free) = {0};
    must(cluster_edit_custom(out.data, out.len, "f", NULL, to, &again, &nothing, &err) == 0);
    must(!nothing.len && again.len == out.len && memcmp(again.data, out.data, out.len) == 0);
    buf_reset(&again);
    must(cluster_edit_custom(out.data, out.len, "f", NULL, from, &again, &nothing, &err) == 0);
    check(text, size, &again);
    struct encryption_config *back CLEANUP(cleanup_encryption_config) =
        custom_of(again.data, again.len);
    must(back && encryption_config_equal(back, from));
    return 0;
}

#include "base/yaml.h"
#include "templates/encryption_config.h"

#include <limits.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

static void write_text(struct buf *out, const char *s)
{
    yaml_write(out, s, YAML_STYLE_PLAIN);
}

void encryption_key_write_secret(const struct encryption_key *k, struct buf *out)
{
    if (k->secret_len > INT_MAX / 2)
        abort();
    char *to = buf_reserve(out, (k->secret_len + 2) / 3 * 4 + 1);
    int n = EVP_EncodeBlock((unsigned char *)to, k->secret, (int)k->secret_len);
    out->len += (size_t)n;
}

/* In quotes where it is all digits, or something like 12e34: a number, if it stood there plain. */
static void write_secret(struct buf *out, const struct encryption_key *k)
{
    struct buf text CLEANUP(buf_free) = {0};
    encryption_key_write_secret(k, &text);
    write_text(out, buf_str(&text));
}

static void write_provider(struct buf *out, const struct encryption_provider *p)
{
    if (p->type == PROVIDER_IDENTITY) {
        buf_adds(out, "  - identity: {}\n");
        return;
    }
    buf_printf(out, "  - %s:\n", provider_type_name(p->type));
    if (p->type == PROVIDER_KMS) {
        if (p->kms_v2)
            buf_adds(out, "      apiVersion: v2\n");
        buf_adds(out, "      name: ");
        write_text(out, p->kms_name);
        buf_adds(out, "\n      endpoint: ");
        write_text(out, p->kms_endpoint);
        buf_adds(out, "\n");
        if (p->has_cachesize)
            buf_printf(out, "      cachesize: %ld\n", p->cachesize);
        if (p->kms_timeout) {
            buf_adds(out, "      timeout: ");
            write_text(out, p->kms_timeout);
            buf_adds(out, "\n");
        }
        return;
    }
    buf_adds(out, "      keys:\n");
    for (size_t i = 0; i < p->key_count; i++) {
        buf_adds(out, "      - name: ");
        write_text(out, p->keys[i].name);
        buf_adds(out, "\n        secret: ");
        write_secret(out, &p->keys[i]);
        buf_adds(out, "\n");
    }
}

static void write_config(const struct encryption_config *c, const char *heading, struct buf *out)
{
    if (!c || !c->item_count)
        return;
    buf_printf(out, "%s\nresources:\n", heading);
    for (size_t i = 0; i < c->item_count; i++) {
        const struct encryption_item *item = &c->items[i];
        buf_adds(out, "- resources:\n");
        for (size_t j = 0; j < item->resource_count; j++) {
            buf_adds(out, "  - ");
            write_text(out, item->resources[j]);
            buf_adds(out, "\n");
        }
        buf_adds(out, "  providers:\n");
        for (size_t j = 0; j < item->provider_count; j++)
            write_provider(out, &item->providers[j]);
    }
}

void encryption_config_write(const struct encryption_config *c, struct buf *out)
{
    write_config(c, "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration", out);
}

void encryption_config_write_old(const struct encryption_config *c, struct buf *out)
{
    write_config(c, "apiVersion: v1\nkind: EncryptionConfig", out);
}

#include "base/yaml.h"
#include "templates/encryption_config.h"

#include <limits.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

static bool plain_safe(const char *s)
{
    bool letter = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z');
    return letter &&
           !s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._/")] &&
           yaml_plain_is_string(s);
}

/* The code point at s (valid UTF-8, as libyaml gave it); *len: its bytes. */
static unsigned code_point(const unsigned char *s, size_t *len)
{
    *len = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    unsigned value = *len == 1 ? s[0] : s[0] & (0x7fu >> *len);
    for (size_t i = 1; i < *len; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            *len = i;
            return 0xfffd;
        }
        value = value << 6 | (s[i] & 0x3f);
    }
    return value;
}

static void write_text(struct buf *out, const char *s)
{
    if (plain_safe(s)) {
        buf_adds(out, s);
        return;
    }
    buf_adds(out, "\"");
    for (const unsigned char *at = (const unsigned char *)s; *at;) {
        size_t len = 0;
        unsigned c = code_point(at, &len);
        if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", (int)c);
        else if (c >= 0x20 && c < 0x7f)
            buf_add(out, at, 1);
        else
            buf_printf(out, "\\U%08X", c);
        at += len;
    }
    buf_adds(out, "\"");
}

static void write_secret(struct buf *out, const struct encryption_key *k)
{
    if (k->secret_len > INT_MAX / 2)
        abort();
    size_t before = out->len;
    char *to = buf_reserve(out, (k->secret_len + 2) / 3 * 4 + 1);
    int n = EVP_EncodeBlock((unsigned char *)to, k->secret, (int)k->secret_len);
    if (yaml_plain_is_string(to)) {
        out->len += (size_t)n;
        return;
    }
    /* All digits, or something like 12e34: a number, if it stood there plain. */
    char *text CLEANUP(cleanup_mem) = mem_strdup(to);
    out->len = before;
    buf_printf(out, "\"%s\"", text);
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

void encryption_config_write(const struct encryption_config *c, struct buf *out)
{
    if (!c || !c->item_count)
        return;
    buf_adds(out,
             "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n");
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

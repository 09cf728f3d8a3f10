#include "templates/encryption_config_parts.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void key_free(struct encryption_key *k)
{
    mem_free(k->name);
    mem_free(k->secret);
}

static void provider_free(struct encryption_provider *p)
{
    for (size_t i = 0; i < p->key_count; i++)
        key_free(&p->keys[i]);
    mem_free(p->keys);
    mem_free(p->kms_name);
    mem_free(p->kms_endpoint);
    mem_free(p->kms_timeout);
}

void encryption_config_free(struct encryption_config *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->item_count; i++) {
        struct encryption_item *item = &c->items[i];
        for (size_t j = 0; j < item->resource_count; j++)
            mem_free(item->resources[j]);
        mem_free(item->resources);
        for (size_t j = 0; j < item->provider_count; j++)
            provider_free(&item->providers[j]);
        mem_free(item->providers);
    }
    mem_free(c->items);
    mem_free(c);
}

void cleanup_encryption_config(struct encryption_config **c)
{
    encryption_config_free(*c);
}

static struct encryption_key key_copy(const struct encryption_key *k)
{
    struct encryption_key copy = {mem_strdup(k->name), mem_alloc(k->secret_len, 1), k->secret_len};
    if (k->secret_len)
        memcpy(copy.secret, k->secret, k->secret_len);
    return copy;
}

static struct encryption_provider provider_copy(const struct encryption_provider *p)
{
    struct encryption_provider copy = *p;
    copy.keys = NULL;
    copy.key_count = 0;
    for (; copy.key_count < p->key_count; copy.key_count++) {
        MEM_GROW(copy.keys, copy.key_count);
        copy.keys[copy.key_count] = key_copy(&p->keys[copy.key_count]);
    }
    copy.kms_name = mem_strdup(p->kms_name);
    copy.kms_endpoint = mem_strdup(p->kms_endpoint);
    copy.kms_timeout = mem_strdup(p->kms_timeout);
    return copy;
}

void encryption_provider_add(struct encryption_item *item, const struct encryption_provider *p)
{
    MEM_GROW(item->providers, item->provider_count);
    item->providers[item->provider_count++] = provider_copy(p);
}

void encryption_key_add(struct encryption_provider *p, const struct encryption_key *k)
{
    MEM_GROW(p->keys, p->key_count);
    p->keys[p->key_count++] = key_copy(k);
}

struct encryption_config *encryption_config_copy(const struct encryption_config *c)
{
    struct encryption_config *copy = mem_alloc(1, sizeof(*copy));
    for (size_t i = 0; c && i < c->item_count; i++) {
        const struct encryption_item *from = &c->items[i];
        struct encryption_item item = {0};
        for (; item.resource_count < from->resource_count; item.resource_count++) {
            MEM_GROW(item.resources, item.resource_count);
            item.resources[item.resource_count] = mem_strdup(from->resources[item.resource_count]);
        }
        for (size_t j = 0; j < from->provider_count; j++)
            encryption_provider_add(&item, &from->providers[j]);
        MEM_GROW(copy->items, copy->item_count);
        copy->items[copy->item_count++] = item;
    }
    return copy;
}

bool encryption_key_equal(const struct encryption_key *a, const struct encryption_key *b)
{
    return str_eq(a->name, b->name) && a->secret_len == b->secret_len &&
           CRYPTO_memcmp(a->secret, b->secret, a->secret_len) == 0;
}

bool encryption_provider_equal(const struct encryption_provider *a,
                               const struct encryption_provider *b)
{
    if (a->type != b->type || a->key_count != b->key_count)
        return false;
    for (size_t i = 0; i < a->key_count; i++)
        if (!encryption_key_equal(&a->keys[i], &b->keys[i]))
            return false;
    return a->type != PROVIDER_KMS || (a->kms_v2 == b->kms_v2 && str_eq(a->kms_name, b->kms_name) &&
                                       str_eq(a->kms_endpoint, b->kms_endpoint) &&
                                       encryption_duration_equal(a->kms_timeout, b->kms_timeout) &&
                                       a->has_cachesize == b->has_cachesize &&
                                       (!a->has_cachesize || a->cachesize == b->cachesize));
}

static bool item_equal(const struct encryption_item *a, const struct encryption_item *b)
{
    if (a->resource_count != b->resource_count || a->provider_count != b->provider_count)
        return false;
    for (size_t i = 0; i < a->resource_count; i++)
        if (!str_eq(a->resources[i], b->resources[i]))
            return false;
    for (size_t i = 0; i < a->provider_count; i++)
        if (!encryption_provider_equal(&a->providers[i], &b->providers[i]))
            return false;
    return true;
}

bool encryption_config_equal(const struct encryption_config *a, const struct encryption_config *b)
{
    size_t count = a ? a->item_count : 0;
    if (count != (b ? b->item_count : 0))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!item_equal(&a->items[i], &b->items[i]))
            return false;
    return true;
}

bool encryption_config_has_key(const struct encryption_config *c, enum provider_type type,
                               const struct encryption_key *key)
{
    for (size_t i = 0; c && i < c->item_count; i++)
        for (size_t j = 0; j < c->items[i].provider_count; j++) {
            const struct encryption_provider *p = &c->items[i].providers[j];
            for (size_t k = 0; p->type == type && k < p->key_count; k++)
                if (encryption_key_equal(&p->keys[k], key))
                    return true;
        }
    return false;
}

bool encryption_config_is_plain(const struct encryption_config *c)
{
    for (size_t i = 0; c && i < c->item_count; i++)
        for (size_t j = 0; j < c->items[i].provider_count; j++)
            if (c->items[i].providers[j].type != PROVIDER_IDENTITY)
                return false;
    return true;
}

struct encryption_config *encryption_config_managed(enum provider_type type, char *const *resources,
                                                    const struct encryption_key *key)
{
    char secrets[] = "secrets";
    char *const only_secrets[] = {secrets, NULL};
    struct encryption_config *c = mem_alloc(1, sizeof(*c));
    struct encryption_item item = {0};
    struct encryption_provider p = {.type = type};
    for (char *const *r = resources ? resources : only_secrets; *r; r++) {
        MEM_GROW(item.resources, item.resource_count);
        item.resources[item.resource_count++] = mem_strdup(*r);
    }
    encryption_key_add(&p, key);
    encryption_provider_add(&item, &p);
    encryption_provider_add(&item, &(struct encryption_provider){.type = PROVIDER_IDENTITY});
    provider_free(&p);
    MEM_GROW(c->items, c->item_count);
    c->items[c->item_count++] = item;
    return c;
}

bool encryption_config_is_managed(const struct encryption_config *c)
{
    if (!c || c->item_count != 1 || c->items[0].provider_count != 2)
        return false;
    const struct encryption_provider *p = c->items[0].providers;
    size_t identity = p[0].type == PROVIDER_IDENTITY ? 0 : 1;
    return p[identity].type == PROVIDER_IDENTITY && p[1 - identity].key_count > 0;
}

const char *provider_type_name(enum provider_type type)
{
    switch (type) {
    case PROVIDER_IDENTITY:
        return "identity";
    case PROVIDER_AESCBC:
        return "aescbc";
    case PROVIDER_AESGCM:
        return "aesgcm";
    case PROVIDER_SECRETBOX:
        return "secretbox";
    case PROVIDER_KMS:
        return "kms";
    }
    abort();
}

void encryption_key_fingerprint(const struct encryption_key *k, char out[13])
{
    static const char label[] = "encrypt key fingerprint"; /* hashed with its NUL */
    unsigned char hash[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (!ctx || EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1 ||
        EVP_DigestUpdate(ctx, label, sizeof(label)) != 1 ||
        EVP_DigestUpdate(ctx, k->secret, k->secret_len) != 1 ||
        EVP_DigestFinal_ex(ctx, hash, NULL) != 1)
        abort();
    EVP_MD_CTX_free(ctx);
    for (size_t i = 0; i < 6; i++)
        snprintf(out + 2 * i, 3, "%02x", hash[i]);
}

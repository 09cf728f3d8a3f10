/* The same structure with fresh writers: what rotating means for a configuration of any form. */
#include "templates/encryption_config_parts.h"

#include <stdlib.h>
#include <string.h>

/* True where some resource that c names is written by p: by its first provider. */
static bool writes(const struct encryption_config *c, const struct encryption_provider *p)
{
    for (size_t i = 0; i < c->item_count; i++) {
        for (size_t j = 0; j < c->items[i].resource_count; j++) {
            struct encryption_chain chain CLEANUP(encryption_chain_free) =
                encryption_chain_of(c, c->items[i].resources[j]);
            if (chain.count && chain.providers[0] == p)
                return true;
        }
    }
    return false;
}

/* `old` by `fresh`, in every provider of this type. */
static void replace_key(struct encryption_config *c, enum provider_type type,
                        const struct encryption_key *old, const struct encryption_key *fresh)
{
    for (size_t i = 0; i < c->item_count; i++) {
        for (size_t j = 0; j < c->items[i].provider_count; j++) {
            struct encryption_provider *p = &c->items[i].providers[j];
            for (size_t k = 0; p->type == type && k < p->key_count; k++) {
                struct encryption_key *key = &p->keys[k];
                if (!encryption_key_equal(key, old))
                    continue;
                mem_free(key->name);
                mem_free(key->secret);
                key->name = mem_strdup(fresh->name);
                key->secret = mem_alloc(fresh->secret_len, 1);
                memcpy(key->secret, fresh->secret, fresh->secret_len);
                key->secret_len = fresh->secret_len;
            }
        }
    }
}

static void rename_kms(struct encryption_config *c, const struct encryption_provider *old,
                       const char *name)
{
    for (size_t i = 0; i < c->item_count; i++) {
        for (size_t j = 0; j < c->items[i].provider_count; j++) {
            struct encryption_provider *p = &c->items[i].providers[j];
            if (!encryption_same_prefix(p, old))
                continue;
            mem_free(p->kms_name);
            p->kms_name = mem_strdup(name);
        }
    }
}

static int refresh_key(struct encryption_config *c, const struct encryption_provider *old,
                       const struct encryption_freshener *f, struct error *err)
{
    const struct encryption_key *key = &old->keys[0];
    struct encryption_key fresh = {0};
    if (f->fresh_key(f->ctx, &fresh, err) < 0)
        return -1;
    if (fresh.secret_len < key->secret_len)
        abort();
    fresh.secret_len = key->secret_len;
    replace_key(c, old->type, key, &fresh);
    mem_free(fresh.name);
    mem_free(fresh.secret);
    return 0;
}

static int refresh_kms(struct encryption_config *c, const struct encryption_provider *old,
                       const struct encryption_freshener *f, struct error *err)
{
    char *name CLEANUP(cleanup_mem) = NULL;
    if (f->fresh_name(f->ctx, old->kms_name, &name, err) < 0)
        return -1;
    rename_kms(c, old, name);
    return 0;
}

static bool is_known(const struct encryption_chain *done, const struct encryption_provider *p)
{
    for (size_t i = 0; i < done->count; i++) {
        const struct encryption_provider *q = done->providers[i];
        if (encryption_same_prefix(p, q) &&
            (p->type == PROVIDER_KMS || encryption_key_equal(&p->keys[0], &q->keys[0])))
            return true;
    }
    return false;
}

int encryption_config_refresh(const struct encryption_config *c,
                              const struct encryption_freshener *f, struct encryption_config **out,
                              size_t *count, struct error *err)
{
    struct encryption_config *fresh CLEANUP(cleanup_encryption_config) = encryption_config_copy(c);
    struct encryption_chain done CLEANUP(encryption_chain_free) = {0};
    for (size_t i = 0; i < c->item_count; i++) {
        for (size_t j = 0; j < c->items[i].provider_count; j++) {
            const struct encryption_provider *p = &c->items[i].providers[j];
            if (p->type == PROVIDER_IDENTITY || !writes(c, p) || is_known(&done, p))
                continue;
            int rc = p->type == PROVIDER_KMS ? refresh_kms(fresh, p, f, err)
                                             : refresh_key(fresh, p, f, err);
            if (rc < 0)
                return -1;
            MEM_GROW(done.providers, done.count);
            done.providers[done.count++] = p;
        }
    }
    *count = done.count;
    *out = STEAL(fresh);
    return 0;
}

static bool same_provider_shape(const struct encryption_provider *a,
                                const struct encryption_provider *b)
{
    if (a->type != b->type || a->key_count != b->key_count)
        return false;
    for (size_t i = 0; i < a->key_count; i++)
        if (a->keys[i].secret_len != b->keys[i].secret_len)
            return false;
    return a->type != PROVIDER_KMS ||
           (a->kms_v2 == b->kms_v2 && str_eq(a->kms_endpoint, b->kms_endpoint) &&
            encryption_duration_equal(a->kms_timeout, b->kms_timeout) &&
            a->has_cachesize == b->has_cachesize &&
            (!a->has_cachesize || a->cachesize == b->cachesize));
}

bool encryption_config_same_shape(const struct encryption_config *a,
                                  const struct encryption_config *b)
{
    if (!a || !b || a->item_count != b->item_count)
        return false;
    for (size_t i = 0; i < a->item_count; i++) {
        const struct encryption_item *x = &a->items[i], *y = &b->items[i];
        if (x->resource_count != y->resource_count || x->provider_count != y->provider_count)
            return false;
        for (size_t j = 0; j < x->resource_count; j++)
            if (!str_eq(x->resources[j], y->resources[j]))
                return false;
        for (size_t j = 0; j < x->provider_count; j++)
            if (!same_provider_shape(&x->providers[j], &y->providers[j]))
                return false;
    }
    return true;
}

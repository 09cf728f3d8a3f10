/*
 * What a configuration reads and writes, resource by resource.
 *
 * A resource's chain is the list of its providers: those of all items that name it, one after the
 * other; where none names it, those of the wildcard that covers it. Reading tries the providers
 * whose prefix matches, in order, and apiservers before about 1.22 try the first only. So `a` is
 * held to what the first match does, and `b` is granted whatever any of its keys could have done.
 */
#include "templates/encryption_config_parts.h"

#include <stdlib.h>
#include <string.h>

static const char stored_mark[] = "k8s:enc:";

void encryption_chain_free(struct encryption_chain *chain)
{
    mem_free(chain->providers);
}

bool encryption_wildcard_covers(const char *wildcard, const char *resource)
{
    if (str_eq(wildcard, "*.*"))
        return !str_eq(resource, "*.*");
    if (!str_starts(wildcard, "*.") || str_starts(resource, "*."))
        return false;
    const char *dot = strchr(resource, '.');
    return str_eq(wildcard + 2, dot ? dot + 1 : "");
}

void encryption_chain_add(struct encryption_chain *chain, const struct encryption_item *item)
{
    for (size_t i = 0; i < item->provider_count; i++) {
        MEM_GROW(chain->providers, chain->count);
        chain->providers[chain->count++] = &item->providers[i];
    }
}

/* A name behind a wildcard that covers it counts for nothing, as kube-apiserver has it. */
struct encryption_chain encryption_chain_of(const struct encryption_config *c, const char *resource)
{
    struct encryption_chain exact = {0};
    const struct encryption_item *wildcard = NULL;
    for (size_t i = 0; c && i < c->item_count; i++) {
        const struct encryption_item *item = &c->items[i];
        for (size_t j = 0; j < item->resource_count; j++) {
            if (wildcard)
                break;
            bool same = str_eq(item->resources[j], resource);
            if (same)
                encryption_chain_add(&exact, item);
            /* A wildcard masks a second one of its name as well. */
            if (encryption_wildcard_covers(item->resources[j], resource) ||
                (same && str_starts(resource, "*.")))
                wildcard = item;
        }
    }
    if (!exact.count && wildcard)
        encryption_chain_add(&exact, wildcard);
    return exact;
}

static bool has_type(const struct encryption_chain *chain, enum provider_type type)
{
    for (size_t i = 0; i < chain->count; i++)
        if (chain->providers[i]->type == type)
            return true;
    return false;
}

static bool reads_plain(const struct encryption_chain *chain)
{
    return !chain->count || has_type(chain, PROVIDER_IDENTITY);
}

bool encryption_same_prefix(const struct encryption_provider *a,
                            const struct encryption_provider *b)
{
    if (a->type != b->type)
        return false;
    return a->type != PROVIDER_KMS || (a->kms_v2 == b->kms_v2 && str_eq(a->kms_name, b->kms_name));
}

const struct encryption_provider *encryption_first_match(const struct encryption_chain *chain,
                                                         const struct encryption_provider *p)
{
    for (size_t i = 0; i < chain->count; i++)
        if (encryption_same_prefix(chain->providers[i], p))
            return chain->providers[i];
    return NULL;
}

const struct encryption_key *encryption_key_named(const struct encryption_provider *p,
                                                  const char *name)
{
    for (size_t i = 0; i < p->key_count; i++)
        if (str_eq(p->keys[i].name, name))
            return &p->keys[i];
    return NULL;
}

static bool reads_provider(const struct encryption_chain *chain,
                           const struct encryption_provider *p)
{
    if (p->type == PROVIDER_IDENTITY)
        return reads_plain(chain);
    const struct encryption_provider *match = encryption_first_match(chain, p);
    if (!match)
        return false;
    if (p->type == PROVIDER_KMS)
        return str_eq(match->kms_endpoint, p->kms_endpoint);
    for (size_t i = 0; i < p->key_count; i++) {
        const struct encryption_key *key = encryption_key_named(match, p->keys[i].name);
        if (!key || !encryption_key_equal(key, &p->keys[i]))
            return false;
    }
    return true;
}

char **encryption_resources(const struct encryption_config *a, const struct encryption_config *b)
{
    const struct encryption_config *both[] = {a, b};
    char **names = mem_alloc(1, sizeof(*names));
    size_t count = 0;
    for (size_t w = 0; w < ARRAY_LEN(both); w++) {
        const struct encryption_config *c = both[w];
        for (size_t i = 0; c && i < c->item_count; i++) {
            for (size_t j = 0; j < c->items[i].resource_count; j++) {
                const char *name = c->items[i].resources[j];
                size_t k = 0;
                while (k < count && !str_eq(names[k], name))
                    k++;
                if (k < count)
                    continue;
                names = mem_realloc(names, count + 2, sizeof(*names));
                names[count++] = mem_strdup(name);
                names[count] = NULL;
            }
        }
    }
    return names;
}

void encryption_resources_free(char **resources)
{
    for (size_t i = 0; resources && resources[i]; i++)
        mem_free(resources[i]);
    mem_free(resources);
}

void cleanup_encryption_resources(char ***resources)
{
    encryption_resources_free(*resources);
}

bool encryption_config_reads_all(const struct encryption_config *a,
                                 const struct encryption_config *b)
{
    char **names CLEANUP(cleanup_encryption_resources) = encryption_resources(a, b);
    for (size_t i = 0; names[i]; i++) {
        struct encryption_chain chain_a CLEANUP(encryption_chain_free) =
            encryption_chain_of(a, names[i]);
        struct encryption_chain chain_b CLEANUP(encryption_chain_free) =
            encryption_chain_of(b, names[i]);
        if (!chain_b.count && !reads_plain(&chain_a))
            return false;
        for (size_t j = 0; j < chain_b.count; j++)
            if (!reads_provider(&chain_a, chain_b.providers[j]))
                return false;
    }
    return true;
}

static bool same_writer(const struct encryption_chain *a, const struct encryption_chain *b)
{
    static const struct encryption_provider identity = {.type = PROVIDER_IDENTITY};
    const struct encryption_provider *p = a->count ? a->providers[0] : &identity;
    const struct encryption_provider *q = b->count ? b->providers[0] : &identity;
    if (!encryption_same_prefix(p, q))
        return false;
    if (p->type == PROVIDER_KMS)
        return str_eq(p->kms_endpoint, q->kms_endpoint);
    return p->type == PROVIDER_IDENTITY || encryption_key_equal(&p->keys[0], &q->keys[0]);
}

bool encryption_resource_changes(const struct encryption_config *from,
                                 const struct encryption_config *to, const char *resource)
{
    struct encryption_chain a CLEANUP(encryption_chain_free) = encryption_chain_of(from, resource);
    struct encryption_chain b CLEANUP(encryption_chain_free) = encryption_chain_of(to, resource);
    if (!same_writer(&a, &b) || (!a.count && !reads_plain(&b)))
        return true;
    for (size_t i = 0; i < a.count; i++)
        if (!reads_provider(&b, a.providers[i]))
            return true;
    return false;
}

bool encryption_writes_with(const struct encryption_config *c, const char *resource,
                            enum provider_type type)
{
    struct encryption_chain chain CLEANUP(encryption_chain_free) = encryption_chain_of(c, resource);
    return (chain.count ? chain.providers[0]->type : PROVIDER_IDENTITY) == type;
}

char *encryption_write_prefix(const struct encryption_config *c, const char *resource)
{
    struct encryption_chain chain CLEANUP(encryption_chain_free) = encryption_chain_of(c, resource);
    const struct encryption_provider *p = chain.count ? chain.providers[0] : NULL;
    if (!p || p->type == PROVIDER_IDENTITY)
        return mem_strdup("");
    if (p->type == PROVIDER_KMS)
        return mem_printf("%skms:%s:%s:", stored_mark, p->kms_v2 ? "v2" : "v1", p->kms_name);
    return mem_printf("%s%s:v1:%s:", stored_mark, provider_type_name(p->type), p->keys[0].name);
}

static bool begins(const char *value, size_t len, const char *with, size_t *at)
{
    size_t n = strlen(with);
    if (len - *at < n || memcmp(value + *at, with, n) != 0)
        return false;
    *at += n;
    return true;
}

/* True where the value lies under this provider's prefix; *at is then behind it. */
static bool under(const struct encryption_provider *p, const char *value, size_t len, size_t *at)
{
    char *prefix CLEANUP(cleanup_mem) =
        p->type == PROVIDER_KMS ? mem_printf("kms:%s:%s:", p->kms_v2 ? "v2" : "v1", p->kms_name)
                                : mem_printf("%s:v1:", provider_type_name(p->type));
    *at = 0;
    return begins(value, len, stored_mark, at) && begins(value, len, prefix, at);
}

bool encryption_config_reads(const struct encryption_config *c, const char *resource,
                             const void *value, size_t len)
{
    struct encryption_chain chain CLEANUP(encryption_chain_free) = encryption_chain_of(c, resource);
    size_t at = 0;
    if (!begins(value, len, stored_mark, &at))
        return reads_plain(&chain);
    for (size_t i = 0; i < chain.count; i++) {
        const struct encryption_provider *p = chain.providers[i];
        if (p->type == PROVIDER_IDENTITY || !under(p, value, len, &at))
            continue;
        if (p->type == PROVIDER_KMS)
            return true;
        for (size_t k = 0; k < p->key_count; k++) {
            size_t end = at;
            if (begins(value, len, p->keys[k].name, &end) && begins(value, len, ":", &end))
                return true;
        }
        return false;
    }
    return false;
}

char *encryption_stored_prefix(const void *value, size_t len)
{
    static const char *const forms[] = {
        "aescbc:v1:", "aesgcm:v1:", "secretbox:v1:", "kms:v1:", "kms:v2:"};
    const char *text = value;
    size_t at = 0;
    if (!begins(text, len, stored_mark, &at))
        return mem_strdup("");
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        size_t name = at;
        if (!begins(text, len, forms[i], &name))
            continue;
        const char *colon = memchr(text + name, ':', len - name);
        if (!colon || memchr(text + name, '\0', (size_t)(colon - text) - name))
            return NULL;
        return mem_strndup(text, (size_t)(colon - text) + 1);
    }
    return NULL;
}

const struct encryption_key *encryption_active_key(const struct encryption_config *c)
{
    struct encryption_chain chain CLEANUP(encryption_chain_free) =
        encryption_chain_of(c, "secrets");
    return chain.count && chain.providers[0]->key_count ? &chain.providers[0]->keys[0] : NULL;
}

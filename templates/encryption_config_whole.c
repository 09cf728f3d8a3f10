/* The strict checks that only the whole configuration can make: names that mean two things, order,
 * wildcards, what can't be read. */
#include "templates/encryption_config_reader.h"

#include <openssl/crypto.h>
#include <string.h>

struct whole {
    struct config_reader *reader;
    const struct yaml *list; /* the tree's `resources` */
    const struct encryption_config *config;
};

static const struct yaml *provider_node(const struct whole *w, size_t i, size_t j)
{
    return yaml_get(w->list->items[i], "providers")->items[j];
}

static const struct yaml *resource_node(const struct whole *w, size_t i, size_t j)
{
    return yaml_get(w->list->items[i], "resources")->items[j];
}

/* The member of a local key that has keys, or of a kms provider; where there is none the provider
 * itself. */
static const struct yaml *key_member(const struct whole *w, size_t i, size_t j, size_t k,
                                     const char *member)
{
    const struct yaml *node = provider_node(w, i, j);
    const struct encryption_provider *p = &w->config->items[i].providers[j];
    const struct yaml *body = yaml_get(node, provider_type_name(p->type));
    if (p->type != PROVIDER_KMS)
        body = yaml_get(body, "keys")->items[k];
    const struct yaml *found = yaml_get(body, member);
    return found ? found : node;
}

/* One name means one thing in the whole file: else it could never be left again without two
 * meanings meeting in one union. kube-apiserver itself wants kms names unique (v1 alone may stand
 * in several items). */
static void check_kms_name(struct whole *w, size_t i, size_t j, size_t e, size_t f)
{
    const struct encryption_provider *p = &w->config->items[i].providers[j];
    const struct encryption_provider *q = &w->config->items[e].providers[f];
    if (p->type == PROVIDER_KMS && q->type == PROVIDER_KMS && p->kms_name && *p->kms_name &&
        str_eq(p->kms_name, q->kms_name) &&
        (p->kms_v2 || q->kms_v2 || e == i || !str_eq(p->kms_endpoint, q->kms_endpoint)))
        config_fault(w->reader, key_member(w, i, j, 0, "name"), "kms.name",
                     "give it a name of its own", "given already by resources[%zu].providers[%zu]",
                     e, f);
}

static void check_key_pair(struct whole *w, const size_t at[3], const size_t other[3])
{
    const struct encryption_provider *p = &w->config->items[at[0]].providers[at[1]];
    const struct encryption_provider *q = &w->config->items[other[0]].providers[other[1]];
    const struct encryption_key *a = &p->keys[at[2]], *b = &q->keys[other[2]];
    bool same_name = p->type == q->type && *a->name && str_eq(a->name, b->name);
    bool one_provider = at[0] == other[0] && at[1] == other[1];
    bool same_secret = a->secret_len && a->secret_len == b->secret_len &&
                       CRYPTO_memcmp(a->secret, b->secret, a->secret_len) == 0;
    char *field CLEANUP(cleanup_mem) = mem_printf("%s.keys[%zu].%s", provider_type_name(p->type),
                                                  at[2], same_name ? "name" : "secret");
    if (same_name && one_provider)
        config_fault(w->reader, key_member(w, at[0], at[1], at[2], "name"), field,
                     same_secret ? "take one of the two out" : "give it a name of its own",
                     "the same as that of keys[%zu]", other[2]);
    else if (same_name && !same_secret && a->secret_len && b->secret_len)
        config_fault(w->reader, key_member(w, at[0], at[1], at[2], "name"), field,
                     "another secret needs another name",
                     "stands for another secret in resources[%zu].providers[%zu]", other[0],
                     other[1]);
    else if (!same_name && same_secret)
        config_warn(w->reader, key_member(w, at[0], at[1], at[2], "secret"), field,
                    "each key wants a secret of its own",
                    "the same as in resources[%zu].providers[%zu].%s.keys[%zu]", other[0], other[1],
                    provider_type_name(q->type), other[2]);
}

static void check_keys(struct whole *w, size_t i, size_t j)
{
    const struct encryption_config *c = w->config;
    for (size_t k = 0; k < c->items[i].providers[j].key_count; k++)
        for (size_t e = 0; e <= i; e++)
            for (size_t f = 0; f < (e == i ? j + 1 : c->items[e].provider_count); f++) {
                const struct encryption_provider *q = &c->items[e].providers[f];
                size_t count = e == i && f == j ? k : q->key_count;
                for (size_t l = 0; l < count; l++)
                    check_key_pair(w, (size_t[]){i, j, k}, (size_t[]){e, f, l});
            }
}

static void check_names(struct whole *w, size_t i)
{
    const struct encryption_item *item = &w->config->items[i];
    for (size_t j = 0; j < item->provider_count; j++) {
        size_t path = config_enter(w->reader, "providers[%zu]", j);
        for (size_t e = 0; e <= i; e++)
            for (size_t f = 0; f < (e == i ? j : w->config->items[e].provider_count); f++)
                check_kms_name(w, i, j, e, f);
        check_keys(w, i, j);
        config_leave(w->reader, path);
    }
}

static bool is_wildcard(const char *resource)
{
    return str_starts(resource, "*.");
}

static bool overlap(const char *a, const char *b)
{
    return *a &&
           (str_eq(a, b) || encryption_wildcard_covers(a, b) || encryption_wildcard_covers(b, a));
}

void encryption_check_overlaps(struct config_reader *r, const struct yaml *list,
                               const struct encryption_item *item)
{
    for (size_t i = 0; i < item->resource_count; i++)
        for (size_t k = 0; k < i; k++)
            if (overlap(item->resources[k], item->resources[i])) {
                size_t path = config_enter(r, "[%zu]", i);
                config_fault(r, list->items[i], "", "take one of the two out",
                             "named already by resources[%zu]", k);
                config_leave(r, path);
            }
}

static void check_masked(struct whole *w, size_t i)
{
    const struct encryption_item *item = &w->config->items[i];
    for (size_t j = 0; j < item->resource_count; j++) {
        const char *name = item->resources[j];
        const struct yaml *at = resource_node(w, i, j);
        size_t path = config_enter(w->reader, "resources[%zu]", j);
        for (size_t e = 0; e < i; e++) {
            const struct encryption_item *before = &w->config->items[e];
            for (size_t k = 0; k < before->resource_count; k++) {
                const char *earlier = before->resources[k];
                bool same = *name && str_eq(earlier, name);
                if (encryption_wildcard_covers(earlier, name) || (same && is_wildcard(name)))
                    config_fault(w->reader, at, "",
                                 "the first match counts: put this item before that one",
                                 "never counts: resources[%zu].resources[%zu] covers it", e, k);
                else if (same)
                    config_warn(w->reader, at, "", "clearer: once, with all its providers",
                                "named by resources[%zu].resources[%zu] too: the providers there "
                                "come first, these only read",
                                e, k);
            }
        }
        config_leave(w->reader, path);
    }
}

static bool is_in(const struct encryption_chain *chain, const struct encryption_provider *p)
{
    for (size_t i = 0; i < chain->count; i++)
        if (chain->providers[i] == p)
            return true;
    return false;
}

/* An entry whose prefix an earlier one of the chain has: older apiservers never come to it. */
static void check_reached(struct whole *w, size_t i)
{
    const struct encryption_item *item = &w->config->items[i];
    for (size_t j = 0; j < item->provider_count; j++) {
        const struct encryption_provider *p = &item->providers[j];
        const char *type = provider_type_name(p->type);
        size_t path = config_enter(w->reader, "providers[%zu]", j);
        bool said = p->type == PROVIDER_KMS;
        for (size_t f = 0; f < j && !said; f++) {
            said = item->providers[f].type == p->type;
            if (said && p->type == PROVIDER_IDENTITY)
                config_fault(w->reader, provider_node(w, i, j), type, "take one of the two out",
                             "stands in providers[%zu] already", f);
            else if (said)
                config_fault(w->reader, provider_node(w, i, j), type, "put its keys into that one",
                             "providers[%zu] is of the same type, and older kube-apiservers (1.20 "
                             "among them) never look further",
                             f);
        }
        for (size_t k = 0; k < item->resource_count && !said; k++) {
            struct encryption_chain chain CLEANUP(encryption_chain_free) =
                encryption_chain_of(w->config, item->resources[k]);
            const struct encryption_provider *first =
                is_in(&chain, p) ? encryption_first_match(&chain, p) : NULL;
            for (size_t l = 0; first && first != p && l < p->key_count && !said; l++) {
                const struct encryption_key *key = encryption_key_named(first, p->keys[l].name);
                said = !key || !encryption_key_equal(key, &p->keys[l]);
            }
            if (said)
                config_fault(w->reader, provider_node(w, i, j), type,
                             "put these keys into the earlier one too",
                             "for resources[%zu] an earlier item has a provider of the same type, "
                             "and older kube-apiservers (1.20 among them) never look further",
                             k);
        }
        config_leave(w->reader, path);
    }
}

static bool has_identity(const struct encryption_chain *chain)
{
    for (size_t i = 0; i < chain->count; i++)
        if (chain->providers[i]->type == PROVIDER_IDENTITY)
            return true;
    return false;
}

static void check_writer(struct whole *w, size_t i)
{
    const struct encryption_item *item = &w->config->items[i];
    const struct encryption_provider *p = &item->providers[0];
    bool writes = false, plain_lost = false, wildcard = false;
    for (size_t k = 0; k < item->resource_count; k++) {
        struct encryption_chain chain CLEANUP(encryption_chain_free) =
            encryption_chain_of(w->config, item->resources[k]);
        writes = writes || (chain.count && chain.providers[0] == p);
        bool lost = !has_identity(&chain);
        plain_lost = plain_lost || lost;
        wildcard = wildcard || (lost && is_wildcard(item->resources[k]));
    }
    const struct yaml *providers = yaml_get(w->list->items[i], "providers");
    if (wildcard)
        config_fault(w->reader, providers, "providers", "add \"- identity: {}\" at the end",
                     "a wildcard needs identity: what appears later can't be proved to be none "
                     "that is stored plain");
    else if (plain_lost)
        config_warn(w->reader, providers, "providers",
                    "add \"- identity: {}\" at the end, unless all is encrypted already (encrypt "
                    "up proves that first)",
                    "no identity: what is stored plain can't be read");
    if (writes && p->type == PROVIDER_IDENTITY)
        config_warn(w->reader, provider_node(w, i, 0), "providers[0]",
                    item->provider_count > 1 ? "to encrypt, put identity at the end" : NULL,
                    "identity is first: everything is stored plain%s",
                    item->provider_count > 1 ? ", the others only read" : "");
    if (writes && p->type == PROVIDER_AESGCM)
        config_warn(w->reader, provider_node(w, i, 0), "providers[0].aesgcm",
                    "rotate the key in time, or take secretbox or aescbc",
                    "a key of aesgcm may be used for 200,000 writes, no more: nonces are random");
}

void encryption_check_whole(struct config_reader *r, const struct yaml *list,
                            const struct encryption_config *c)
{
    struct whole w = {r, list, c};
    for (size_t i = 0; i < c->item_count; i++) {
        size_t path = config_enter(r, "resources[%zu]", i);
        check_names(&w, i);
        check_masked(&w, i);
        if (!r->shapeless) {
            check_reached(&w, i);
            check_writer(&w, i);
        }
        config_leave(r, path);
    }
}

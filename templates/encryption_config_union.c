/*
 * The union of two configurations: reads what either reads, writes as the first does. One item for
 * each distinct chain, one entry for each prefix.
 */
#include "templates/encryption_config_parts.h"

#include <string.h>

/* Names that mean two things, or that no reader could keep apart. */
static int check_pair(const struct encryption_provider *p, const struct encryption_provider *q,
                      struct error *err)
{
    if (p->type == PROVIDER_KMS && q->type == PROVIDER_KMS && str_eq(p->kms_name, q->kms_name)) {
        if (p->kms_v2 != q->kms_v2)
            return error_set(err, RESULT_REFUSED,
                             "kms provider \"%s\" is there as v1 and as v2: kube-apiserver wants "
                             "two names for them",
                             p->kms_name);
        if (!str_eq(p->kms_endpoint, q->kms_endpoint))
            return error_set(err, RESULT_REFUSED,
                             "kms provider \"%s\" has two endpoints: what is stored under its name "
                             "could not be told apart",
                             p->kms_name);
    }
    for (size_t i = 0; p->type == q->type && i < p->key_count; i++) {
        for (size_t j = 0; j < q->key_count; j++) {
            if (str_eq(p->keys[i].name, q->keys[j].name) &&
                !encryption_key_equal(&p->keys[i], &q->keys[j]))
                return error_set(err, RESULT_REFUSED,
                                 "the %s key name \"%s\" stands for two secrets: a changed secret "
                                 "needs a changed name",
                                 provider_type_name(p->type), p->keys[i].name);
        }
    }
    return 0;
}

static int check_colons(const struct encryption_provider *p, struct error *err)
{
    bool colon = p->kms_name && strchr(p->kms_name, ':');
    for (size_t i = 0; i < p->key_count; i++)
        colon = colon || strchr(p->keys[i].name, ':');
    if (!colon)
        return 0;
    return error_set(err, RESULT_REFUSED,
                     "a name of a %s %s has a colon in it: what is stored under it can't be told "
                     "from what is stored under others",
                     provider_type_name(p->type), p->type == PROVIDER_KMS ? "provider" : "key");
}

static void add_providers(struct encryption_chain *all, const struct encryption_config *c)
{
    for (size_t i = 0; c && i < c->item_count; i++)
        encryption_chain_add(all, &c->items[i]);
}

static int check_names(const struct encryption_config *a, const struct encryption_config *b,
                       struct error *err)
{
    struct encryption_chain all CLEANUP(encryption_chain_free) = {0};
    add_providers(&all, a);
    add_providers(&all, b);
    for (size_t i = 0; i < all.count; i++) {
        if (check_colons(all.providers[i], err) != 0)
            return -1;
        for (size_t j = 0; j <= i; j++)
            if (check_pair(all.providers[j], all.providers[i], err) != 0)
                return -1;
    }
    return 0;
}

/* Adds what of p the item can't read yet: one entry for each prefix. */
static void merge_provider(struct encryption_item *item, const struct encryption_provider *p)
{
    for (size_t i = 0; i < item->provider_count; i++) {
        struct encryption_provider *mine = &item->providers[i];
        if (!encryption_same_prefix(mine, p))
            continue;
        for (size_t k = 0; k < p->key_count; k++)
            if (!encryption_key_named(mine, p->keys[k].name))
                encryption_key_add(mine, &p->keys[k]);
        return;
    }
    encryption_provider_add(item, &(struct encryption_provider){.type = p->type,
                                                                .kms_v2 = p->kms_v2,
                                                                .kms_name = p->kms_name,
                                                                .kms_endpoint = p->kms_endpoint,
                                                                .kms_timeout = p->kms_timeout,
                                                                .has_cachesize = p->has_cachesize,
                                                                .cachesize = p->cachesize});
    if (p->key_count)
        merge_provider(item, p);
}

static void merge_chain(struct encryption_item *item, const struct encryption_chain *chain)
{
    static const struct encryption_provider identity = {.type = PROVIDER_IDENTITY};
    for (size_t i = 0; i < chain->count; i++)
        merge_provider(item, chain->providers[i]);
    if (!chain->count)
        merge_provider(item, &identity);
}

static void add_resource(struct encryption_item *item, const char *name)
{
    MEM_GROW(item->resources, item->resource_count);
    item->resources[item->resource_count++] = mem_strdup(name);
}

static bool same_providers(const struct encryption_item *a, const struct encryption_item *b)
{
    struct encryption_item x = *a, y = *b;
    x.resource_count = y.resource_count = 0;
    struct encryption_config cx = {&x, 1}, cy = {&y, 1};
    return encryption_config_equal(&cx, &cy);
}

/* 0: one resource, 1: a group, 2: everything. In this order no wildcard masks what it shouldn't. */
static int rank(const char *resource)
{
    return str_eq(resource, "*.*") ? 2 : str_starts(resource, "*.") ? 1 : 0;
}

/* One item for each distinct chain. */
static void add_item(struct encryption_config *c, struct encryption_item *item)
{
    for (size_t i = 0; i < c->item_count; i++) {
        struct encryption_item *there = &c->items[i];
        if (rank(there->resources[0]) != rank(item->resources[0]) || !same_providers(there, item))
            continue;
        add_resource(there, item->resources[0]);
        struct encryption_config *spare = mem_alloc(1, sizeof(*spare));
        spare->items = mem_alloc(1, sizeof(*item));
        spare->items[spare->item_count++] = *item;
        encryption_config_free(spare);
        return;
    }
    MEM_GROW(c->items, c->item_count);
    c->items[c->item_count++] = *item;
}

/* A kms name may stand in one item only (kms v2, and v1 where reload is on). Where several chains
 * have it, it gets an item of its own, which names their resources once more: kube-apiserver
 * strings the providers of a resource together. */
static bool is_kms(const struct encryption_provider *p, const char *name)
{
    return p->type == PROVIDER_KMS && str_eq(p->kms_name, name);
}

static long find_kms(const struct encryption_item *item, const char *name)
{
    for (size_t i = 0; i < item->provider_count; i++)
        if (is_kms(&item->providers[i], name))
            return (long)i;
    return -1;
}

static size_t holders(const struct encryption_config *c, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < c->item_count; i++)
        count += find_kms(&c->items[i], name) >= 0;
    return count;
}

/* The kms providers that several items hold, each once. */
static struct encryption_chain shared_kms(const struct encryption_config *c)
{
    struct encryption_chain shared = {0};
    for (size_t i = 0; i < c->item_count; i++) {
        for (size_t j = 0; j < c->items[i].provider_count; j++) {
            const struct encryption_provider *p = &c->items[i].providers[j];
            if (p->type != PROVIDER_KMS || encryption_first_match(&shared, p) ||
                holders(c, p->kms_name) < 2)
                continue;
            MEM_GROW(shared.providers, shared.count);
            shared.providers[shared.count++] = p;
        }
    }
    return shared;
}

/* True where some resource writes with a shared one that isn't placed yet and reads p. */
static bool must_wait(const struct encryption_config *c, const struct encryption_chain *shared,
                      const bool *placed, const struct encryption_provider *p)
{
    for (size_t i = 0; i < c->item_count; i++) {
        if (find_kms(&c->items[i], p->kms_name) <= 0)
            continue;
        for (size_t s = 0; s < shared->count; s++)
            if (!placed[s] && is_kms(&c->items[i].providers[0], shared->providers[s]->kms_name))
                return true;
    }
    return false;
}

/* The item without the shared providers, if anything is left of it. */
static void add_rest(struct encryption_config *to, const struct encryption_item *from,
                     const struct encryption_chain *shared)
{
    struct encryption_item rest = {0};
    for (size_t i = 0; i < from->provider_count; i++)
        if (!encryption_first_match(shared, &from->providers[i]))
            encryption_provider_add(&rest, &from->providers[i]);
    if (!rest.provider_count)
        return;
    for (size_t i = 0; i < from->resource_count; i++)
        add_resource(&rest, from->resources[i]);
    MEM_GROW(to->items, to->item_count);
    to->items[to->item_count++] = rest;
}

static void add_shared(struct encryption_config *to, const struct encryption_config *from,
                       const struct encryption_provider *p)
{
    struct encryption_item item = {0};
    encryption_provider_add(&item, p);
    for (size_t i = 0; i < from->item_count; i++)
        for (size_t j = 0;
             find_kms(&from->items[i], p->kms_name) >= 0 && j < from->items[i].resource_count; j++)
            add_resource(&item, from->items[i].resources[j]);
    MEM_GROW(to->items, to->item_count);
    to->items[to->item_count++] = item;
}

/* Replaces *c by a configuration of the same meaning in which each kms name stands once. */
static int separate_kms(struct encryption_config **c, struct error *err)
{
    struct encryption_config *from = *c;
    struct encryption_chain shared CLEANUP(encryption_chain_free) = shared_kms(from);
    if (!shared.count)
        return 0;
    for (size_t i = 0; i < from->item_count; i++)
        if (rank(from->items[i].resources[0]))
            return error_set(err, RESULT_REFUSED,
                             "a kms provider would have to stand in several items, which can't be "
                             "written with wildcards: name the resources");
    struct encryption_config *to CLEANUP(cleanup_encryption_config) = mem_alloc(1, sizeof(*to));
    bool *placed CLEANUP(cleanup_mem) = mem_alloc(shared.count, sizeof(*placed));
    /* Who writes with a provider of its own comes before all shared ones. */
    for (size_t i = 0; i < from->item_count; i++)
        if (!encryption_first_match(&shared, &from->items[i].providers[0]))
            add_rest(to, &from->items[i], &shared);
    for (size_t left = shared.count; left > 0;) {
        size_t before = left;
        for (size_t s = 0; s < shared.count; s++) {
            if (placed[s] || must_wait(from, &shared, placed, shared.providers[s]))
                continue;
            add_shared(to, from, shared.providers[s]);
            placed[s] = true;
            left--;
        }
        if (left == before)
            return error_set(
                err, RESULT_REFUSED,
                "the kms providers \"%s\" and others would each have to come first for "
                "some resource: make the change in two steps, resource by resource",
                shared.providers[0]->kms_name);
    }
    for (size_t i = 0; i < from->item_count; i++)
        if (encryption_first_match(&shared, &from->items[i].providers[0]))
            add_rest(to, &from->items[i], &shared);
    encryption_config_free(from);
    *c = STEAL(to);
    return 0;
}

int encryption_config_union(const struct encryption_config *write,
                            const struct encryption_config *read, struct encryption_config **out,
                            struct error *err)
{
    if (check_names(write, read, err) != 0)
        return -1;
    /* Left as it is where nothing is missing, so that equal forms are seen to be equal. */
    if (encryption_config_reads_all(write, read) && encryption_config_reads_all(write, write)) {
        *out = encryption_config_copy(write);
        return 0;
    }
    struct encryption_config *c CLEANUP(cleanup_encryption_config) = mem_alloc(1, sizeof(*c));
    char **names CLEANUP(cleanup_encryption_resources) = encryption_resources(write, read);
    for (int r = 0; r <= 2; r++) {
        for (size_t i = 0; names[i]; i++) {
            if (rank(names[i]) != r)
                continue;
            struct encryption_chain first CLEANUP(encryption_chain_free) =
                encryption_chain_of(write, names[i]);
            struct encryption_chain then CLEANUP(encryption_chain_free) =
                encryption_chain_of(read, names[i]);
            struct encryption_item item = {0};
            add_resource(&item, names[i]);
            merge_chain(&item, &first);
            merge_chain(&item, &then);
            add_item(c, &item);
        }
    }
    if (separate_kms(&c, err) != 0)
        return -1;
    *out = STEAL(c);
    return 0;
}

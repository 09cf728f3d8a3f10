/*
 * How an apiserver reads and writes, modelled anew, on stored bytes, without the code under test:
 * an ordered list of providers, the first whose prefix matches is asked and no other, identity
 * refuses what begins with k8s:enc:. Then a transition, boiled down to what each form writes and
 * reads of all the values that any of them knows.
 */
#include "tests/model/transition.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A value as it may be stored: its beginning, and the secret that it takes. */
struct value {
    char *bytes;
    const char *secret;
    size_t secret_len;
};

enum { MAX_PROVIDERS = 16 };
static const char *const resources[RESOURCES] = {"secrets", "configmaps", "deployments.apps"};

struct list {
    const struct encryption_provider *at[MAX_PROVIDERS];
    size_t count;
};

/* The providers of a resource, as EncryptionProviderConfig is loaded: strung together by name; what
 * stands behind a wildcard that covers it is not taken; then the wildcards. */
static struct list load(const struct encryption_config *c, const char *resource)
{
    struct list by_name = {0}, by_wildcard = {0};
    const char *dot = strchr(resource, '.');
    char *group CLEANUP(cleanup_mem) = mem_printf("*.%s", dot ? dot + 1 : "");
    bool masked = false;
    for (size_t i = 0; i < c->item_count; i++) {
        const struct encryption_item *item = &c->items[i];
        for (size_t j = 0; j < item->resource_count && !masked; j++) {
            const char *name = item->resources[j];
            masked = str_eq(name, "*.*") || str_eq(name, group);
            struct list *to = masked ? &by_wildcard : str_eq(name, resource) ? &by_name : NULL;
            for (size_t k = 0; to && k < item->provider_count; k++)
                to->at[to->count++] = &item->providers[k];
        }
    }
    return by_name.count ? by_name : by_wildcard;
}

/* As the provider's transformer writes with this key (NULL: kms), and the prefix it is tried for.
 */
static char *prefix_of(const struct encryption_provider *p)
{
    static const char *const local[] = {
        "", "k8s:enc:aescbc:v1:", "k8s:enc:aesgcm:v1:", "k8s:enc:secretbox:v1:"};
    if (p->type == PROVIDER_KMS)
        return mem_printf("k8s:enc:kms:%s:%s:", p->kms_v2 ? "v2" : "v1", p->kms_name);
    return mem_strdup(local[p->type]);
}

static struct value written(const struct encryption_provider *p, const struct encryption_key *k)
{
    char *prefix CLEANUP(cleanup_mem) = prefix_of(p);
    if (p->type == PROVIDER_IDENTITY)
        return (struct value){mem_strdup("plain"), "", 0};
    if (p->type == PROVIDER_KMS)
        return (struct value){mem_printf("%sdata", prefix), p->kms_endpoint,
                              strlen(p->kms_endpoint)};
    return (struct value){mem_printf("%s%s:data", prefix, k->name), (const char *)k->secret,
                          k->secret_len};
}

static bool same_secret(const struct value *v, const void *secret, size_t len)
{
    return v->secret_len == len && memcmp(v->secret, secret, len) == 0;
}

static bool reads(const struct list *providers, const struct value *v)
{
    if (!providers->count)
        return !str_starts(v->bytes, "k8s:enc:");
    for (size_t i = 0; i < providers->count; i++) {
        const struct encryption_provider *p = providers->at[i];
        char *prefix CLEANUP(cleanup_mem) = prefix_of(p);
        if (!str_starts(v->bytes, prefix))
            continue;
        if (p->type == PROVIDER_IDENTITY) {
            if (!str_starts(v->bytes, "k8s:enc:"))
                return true;
            continue; /* the one error that lets the next be tried */
        }
        if (p->type == PROVIDER_KMS)
            return same_secret(v, p->kms_endpoint, strlen(p->kms_endpoint));
        for (size_t k = 0; k < p->key_count; k++) {
            char *inner CLEANUP(cleanup_mem) = mem_printf("%s:", p->keys[k].name);
            if (str_starts(v->bytes + strlen(prefix), inner))
                return same_secret(v, p->keys[k].secret, p->keys[k].secret_len);
        }
        return false;
    }
    return false;
}

/* ---- a transition, boiled down ---- */

struct pool {
    struct value values[MAX_VALUES];
    size_t count;
};

static unsigned value_index(struct pool *pool, struct value v)
{
    for (size_t i = 0; i < pool->count; i++) {
        if (str_eq(pool->values[i].bytes, v.bytes) &&
            same_secret(&pool->values[i], v.secret, v.secret_len)) {
            mem_free(v.bytes);
            return (unsigned)i;
        }
    }
    if (pool->count == MAX_VALUES) {
        fprintf(stderr, "model: more values than there is room for\n");
        exit(2);
    }
    pool->values[pool->count] = v;
    return (unsigned)pool->count++;
}

static void boil_resource(struct transition *t, size_t r)
{
    static const struct encryption_provider identity = {.type = PROVIDER_IDENTITY};
    struct pool pool = {0};
    struct list lists[FORM_COUNT];
    for (size_t f = 0; f < FORM_COUNT; f++) {
        lists[f] = load(t->forms.config[f], resources[r]);
        const struct list *l = &lists[f];
        const struct encryption_provider *w = l->count ? l->at[0] : &identity;
        unsigned first = value_index(&pool, written(w, w->keys));
        t->writes[f] |= 1u << (r * MAX_VALUES + first);
        for (size_t i = 0; i < l->count; i++)
            for (size_t k = 0; k < (l->at[i]->key_count ? l->at[i]->key_count : 1); k++)
                value_index(&pool, written(l->at[i], l->at[i]->keys + k));
    }
    for (size_t f = 0; f < FORM_COUNT; f++)
        for (size_t i = 0; i < pool.count; i++)
            if (reads(&lists[f], &pool.values[i]))
                t->reads[f] |= 1u << (r * MAX_VALUES + i);
    const uint32_t all = ((1u << MAX_VALUES) - 1) << (r * MAX_VALUES);
    struct encryption_config *const *c = t->forms.config;
    if (encryption_resource_changes(c[FORM_FROM], c[FORM_TO], resources[r]))
        t->changes |= all;
    if (encryption_resource_changes(c[FORM_SWITCH], c[FORM_FROM], resources[r]))
        t->changes_back |= all;
    t->value_count[r] = pool.count;
    for (size_t i = 0; i < pool.count; i++)
        mem_free(pool.values[i].bytes);
}

void boil(struct transition *t)
{
    for (unsigned f = 0; f < FORM_COUNT; f++) {
        t->bits[f] = forms_of(&t->forms, t->forms.config[f]);
        t->canon[f] = (unsigned)__builtin_ctz(t->bits[f]);
        t->none[f] = t->forms.config[f]->item_count == 0;
    }
    t->from_wide =
        encryption_config_reads_all(t->forms.config[FORM_FROM], t->forms.config[FORM_TO]);
    for (size_t r = 0; r < RESOURCES; r++)
        boil_resource(t, r);
}

bool same_transition(const struct transition *a, const struct transition *b)
{
    return memcmp(a->canon, b->canon, sizeof(a->canon)) == 0 &&
           memcmp(a->none, b->none, sizeof(a->none)) == 0 && a->from_wide == b->from_wide &&
           memcmp(a->writes, b->writes, sizeof(a->writes)) == 0 &&
           memcmp(a->reads, b->reads, sizeof(a->reads)) == 0 && a->changes == b->changes &&
           a->changes_back == b->changes_back;
}

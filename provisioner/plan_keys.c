/* The keys that a change brings, keeps and drops; by name and fingerprint, never by secret. */
#include "provisioner/plan.h"
#include "provisioner/status.h"
#include "state/journal_json.h"

static bool same_row(const struct encrypt_plan_key *k, const char *type, const char *name,
                     const char *fingerprint)
{
    return str_eq(k->type, type) && str_eq(k->name, name) && str_eq(k->fingerprint, fingerprint);
}

static void add(struct encrypt_plan *p, const char *change, const char *type, const char *name,
                const char *fingerprint, bool writes)
{
    for (size_t i = 0; i < p->key_count; i++) {
        struct encrypt_plan_key *k = &p->keys[i];
        if (!same_row(k, type, name, fingerprint))
            continue;
        k->writes = k->writes || writes;
        return;
    }
    MEM_GROW(p->keys, p->key_count);
    p->keys[p->key_count++] = (struct encrypt_plan_key){.change = change,
                                                        .type = type,
                                                        .name = mem_strdup(name),
                                                        .fingerprint = mem_strdup(fingerprint),
                                                        .writes = writes};
}

static bool has_kms(const struct encryption_config *c, const struct encryption_provider *p)
{
    for (size_t i = 0; c && i < c->item_count; i++)
        for (size_t k = 0; k < c->items[i].provider_count; k++)
            if (encryption_provider_equal(&c->items[i].providers[k], p))
                return true;
    return false;
}

/* Made for this very plan: another one is made when it is carried out. */
static bool is_fresh(const struct plan_known *known, enum provider_type type,
                     const struct encryption_key *k)
{
    return known->journal && !journal_find_key(known->journal, type, k) &&
           !encryption_config_has_key(known->custom, type, k);
}

static void add_provider(struct encrypt_plan *p, const struct encryption_provider *provider,
                         bool first, const struct encryption_config *other, bool to,
                         const struct plan_known *known)
{
    const char *type = status_type_word(provider->type, provider->kms_v2);
    const char *change = to ? "new" : "dropped";
    if (provider->type == PROVIDER_KMS)
        add(p, has_kms(other, provider) ? "stays" : change, type, provider->kms_name, NULL,
            first && to);
    for (size_t k = 0; k < provider->key_count; k++) {
        const struct encryption_key *key = &provider->keys[k];
        bool stays = encryption_config_has_key(other, provider->type, key);
        char fingerprint[13];
        encryption_key_fingerprint(key, fingerprint);
        bool fresh = to && !stays && is_fresh(known, provider->type, key);
        add(p, stays ? "stays" : change, type, fresh ? NULL : key->name, fresh ? NULL : fingerprint,
            first && k == 0 && to);
    }
}

static void add_config(struct encrypt_plan *p, const struct encryption_config *c,
                       const struct encryption_config *other, bool to,
                       const struct plan_known *known)
{
    for (size_t i = 0; c && i < c->item_count; i++)
        for (size_t k = 0; k < c->items[i].provider_count; k++)
            add_provider(p, &c->items[i].providers[k], k == 0, other, to, known);
}

void plan_tell_keys(struct encrypt_plan *p, const struct encryption_config *from,
                    const struct encryption_config *to, const struct plan_known *known)
{
    add_config(p, to, from, true, known);
    add_config(p, from, to, false, known);
}

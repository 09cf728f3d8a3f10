/* Enabling or disabling that stopped half-way, its journal lost: what it was is told by the nodes.
 */
#include "provisioner/doctor.h"

static bool fits(const struct doctor *d, const struct encryption_config *to)
{
    struct forms forms = {0};
    struct error ignored CLEANUP(error_clear) = {0};
    bool all = true;
    if (forms_make(NULL, to, &forms, &ignored) < 0)
        return false;
    for (size_t i = 0; i < d->s->count; i++)
        all = all && forms_of(&forms, d->nodes[i].config);
    forms_free(&forms);
    return all;
}

static struct encryption_config *managed(const struct encryption_item *item,
                                         enum provider_type type, const struct encryption_key *key)
{
    char **resources CLEANUP(cleanup_mem) = mem_alloc(item->resource_count + 1, sizeof(char *));
    for (size_t i = 0; i < item->resource_count; i++)
        resources[i] = item->resources[i];
    return encryption_config_managed(type, resources, key);
}

static struct encryption_config *try_keys(const struct doctor *d, const struct encryption_config *c)
{
    for (size_t i = 0; c && i < c->item_count; i++) {
        for (size_t k = 0; k < c->items[i].provider_count; k++) {
            const struct encryption_provider *p = &c->items[i].providers[k];
            for (size_t j = 0; j < p->key_count; j++) {
                struct encryption_config *to CLEANUP(cleanup_encryption_config) =
                    managed(&c->items[i], p->type, &p->keys[j]);
                if (fits(d, to))
                    return STEAL(to);
            }
        }
    }
    return NULL;
}

struct encryption_config *doctor_half_way(const struct doctor *d)
{
    bool flagless = false;
    /* `resume` goes on with it without the checks that a change begins with: what is stored must be
     * known, and need no key that isn't in it. */
    if (!d->split || !doctor_knows_all_nodes(d) || !d->store_read || d->needed)
        return NULL;
    for (size_t i = 0; i < d->s->count; i++)
        flagless = flagless || !d->s->members[i].seen.config_path;
    for (size_t i = 0; flagless && i < d->s->count; i++) {
        struct encryption_config *to = try_keys(d, d->nodes[i].config);
        if (to)
            return to;
    }
    return NULL;
}

/* The names of a configuration's keys, held against every key that there ever was. */
#include "state/journal.h"

#include <openssl/crypto.h>
#include <stdlib.h>

static const struct yaml *item_of(const struct yaml *list, size_t i)
{
    return list && list->kind == YAML_KIND_LIST && i < list->count ? list->items[i] : NULL;
}

/* The record that has this name for another secret, and that a value in the store may be under;
 * NULL: none. A name that the history has twice is fine for the secret that is in use. */
static const struct key_record *other_meaning(const struct journal *j, enum provider_type type,
                                              const struct encryption_key *key)
{
    const struct key_record *other = NULL;
    for (size_t i = 0; i < j->key_count; i++) {
        const struct key_record *r = &j->keys[i];
        if (r->type != type || !str_eq(r->key.name, key->name))
            continue;
        bool same = r->key.secret_len == key->secret_len &&
                    CRYPTO_memcmp(r->key.secret, key->secret, key->secret_len) == 0;
        if (same && !r->retired)
            return NULL;
        if (!same)
            other = r;
    }
    return other;
}

static const char *or_unknown(const char *moment)
{
    return moment ? moment : "at an unknown time";
}

void journal_check_names(const struct journal *j, const struct encryption_config *c,
                         const struct yaml *tree, struct config_findings *f)
{
    const struct yaml *list = yaml_get(tree, "resources");
    for (size_t i = 0; c && i < c->item_count; i++)
        for (size_t p = 0; p < c->items[i].provider_count; p++) {
            const struct encryption_provider *provider = &c->items[i].providers[p];
            const char *type = provider_type_name(provider->type);
            const struct yaml *at = item_of(yaml_get(item_of(list, i), "providers"), p);
            const struct yaml *keys = yaml_get(yaml_get(at, type), "keys");
            for (size_t k = 0; k < provider->key_count; k++) {
                const struct key_record *r = other_meaning(j, provider->type, &provider->keys[k]);
                if (!r)
                    continue;
                const struct yaml *name = yaml_get(item_of(keys, k), "name");
                char print[13];
                encryption_key_fingerprint(&r->key, print);
                char *field CLEANUP(cleanup_mem) =
                    mem_printf("resources[%zu].providers[%zu].%s.keys[%zu].name", i, p, type, k);
                char *what CLEANUP(cleanup_mem) = mem_printf(
                    "stands for another secret in the key history (fingerprint %s, made %s, %s%s)",
                    print, or_unknown(r->created), r->retired ? "retired " : "not retired",
                    r->retired ? r->retired : "");
                config_findings_add(
                    f, name ? name : at, false, field, what,
                    "a changed secret needs a changed name: give the key a new one");
            }
        }
}

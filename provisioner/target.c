#include "provisioner/target.h"

#include "state/journal_json.h"

#include <stdlib.h>
#include <string.h>

void target_free(struct target *t)
{
    encryption_config_free(t->to);
    *t = (struct target){0};
}

static bool is_none(const struct encryption_config *c)
{
    return !c || !c->item_count;
}

/* "vault" and "vault-3" have the stem "vault", and the numbers 1 and 3. */
static size_t kms_stem(const char *name)
{
    const char *dash = strrchr(name, '-');
    const char *digits = dash ? dash + 1 : "";
    size_t len = strlen(digits);
    bool numbered = len > 0 && len < 9 && strspn(digits, "0123456789") == len && *digits != '0';
    return numbered ? (size_t)(dash - name) : strlen(name);
}

static unsigned long kms_number(const char *name)
{
    size_t stem = kms_stem(name);
    return name[stem] ? strtoul(name + stem + 1, NULL, 10) : 1;
}

/* The next name that a rotation may have given, of the same stem. */
static bool is_later_name(const char *name, const char *before)
{
    size_t stem = kms_stem(before);
    return strlen(name) > stem + 1 && memcmp(name, before, stem) == 0 && name[stem] == '-' &&
           kms_stem(name) == stem && kms_number(name) > kms_number(before);
}

static bool is_retired(const struct journal *j, enum provider_type type,
                       const struct encryption_key *key)
{
    const struct key_record *k = journal_find_key(j, type, key);
    return k && k->retired;
}

/* One of the same shape that differs: made from `before` by rotate-key, which retires keys and
 * counts names up; not the other way round. */
static bool is_rotated(const struct journal *j, const struct encryption_config *before,
                       const struct encryption_config *running)
{
    for (size_t i = 0; i < before->item_count; i++) {
        for (size_t k = 0; k < before->items[i].provider_count; k++) {
            const struct encryption_provider *p = &before->items[i].providers[k];
            const struct encryption_provider *q = &running->items[i].providers[k];
            if (p->type == PROVIDER_KMS && !str_eq(p->kms_name, q->kms_name) &&
                !is_later_name(q->kms_name, p->kms_name))
                return false;
            for (size_t n = 0; n < p->key_count; n++)
                if (!encryption_key_equal(&p->keys[n], &q->keys[n]) &&
                    is_retired(j, q->type, &q->keys[n]))
                    return false;
        }
    }
    return true;
}

bool target_config_lags(const struct cluster *c, const struct journal *j,
                        const struct encryption_config *running)
{
    return c->encryption == SECRETS_ENCRYPTION_ENABLED && c->custom && j->custom &&
           encryption_config_equal(c->custom, j->custom) &&
           !encryption_config_equal(c->custom, running) &&
           encryption_config_same_shape(c->custom, running) && is_rotated(j, c->custom, running);
}

/* The first key of `asked` that `before` has and `running` has not: what runs was made from
 * `before` by rotate-key, so that it was replaced. NULL: none. */
static const char *replaced_key(const struct journal *j, const struct encryption_config *asked,
                                const struct encryption_config *before,
                                const struct encryption_config *running)
{
    for (size_t i = 0; before && i < asked->item_count; i++) {
        for (size_t n = 0; n < asked->items[i].provider_count; n++) {
            const struct encryption_provider *p = &asked->items[i].providers[n];
            for (size_t k = 0; k < p->key_count; k++)
                if (is_retired(j, p->type, &p->keys[k]) &&
                    encryption_config_has_key(before, p->type, &p->keys[k]) &&
                    !encryption_config_has_key(running, p->type, &p->keys[k]))
                    return p->keys[k].name;
        }
    }
    return NULL;
}

static int custom_target(const struct cluster *c, const struct journal *j,
                         const struct encryption_config *running, struct target *out,
                         struct error *err)
{
    out->custom = c->custom;
    out->lags = target_config_lags(c, j, running);
    out->to = encryption_config_copy(out->lags ? running : c->custom);
    const char *replaced = out->lags ? NULL : replaced_key(j, c->custom, j->custom, running);
    if (!replaced)
        return 0;
    error_set(err, RESULT_REFUSED,
              "%s:%zu: custom_config has key \"%s\", which rotate-key has replaced; it would come "
              "back, and the fresh one go",
              c->path, c->custom_config->line, replaced);
    error_next(
        err,
        "bring custom_config back to what it was before this edit, then: encrypt up --config "
        "%s --write-config    (it writes the fresh key there), then edit again. Where the "
        "old key is to come back all the same, give it another name",
        c->path);
    return -1;
}

/* The same resources, in any order. */
static bool same_resources(const struct encryption_item *item, char *const *resources)
{
    size_t count = 0;
    for (; resources[count]; count++) {
        bool found = false;
        for (size_t i = 0; i < item->resource_count; i++)
            found = found || str_eq(item->resources[i], resources[count]);
        if (!found)
            return false;
    }
    return count == item->resource_count;
}

/* What runs is the managed form of this provider, with a key of our making (or RKE's). */
static const struct encryption_key *managed_key(const struct cluster *c, const struct journal *j,
                                                const struct encryption_config *running)
{
    if (j->custom || !encryption_config_is_managed(running))
        return NULL;
    const struct encryption_provider *first = &running->items[0].providers[0];
    return first->type == c->provider && first->key_count ? &first->keys[0] : NULL;
}

static struct encryption_config *managed(const struct cluster *c,
                                         const struct encryption_config *running,
                                         const struct encryption_key *key)
{
    if (is_none(running) || running->item_count != 1 ||
        !same_resources(&running->items[0], c->resources))
        return encryption_config_managed(c->provider, c->resources, key);
    /* In the order in which they stand there: nothing is to be restarted for that. */
    const struct encryption_item *item = &running->items[0];
    char **names CLEANUP(cleanup_mem) = mem_alloc(item->resource_count + 1, sizeof(char *));
    for (size_t i = 0; i < item->resource_count; i++)
        names[i] = item->resources[i];
    return encryption_config_managed(c->provider, names, key);
}

static int fresh_managed(const struct cluster *c, const struct journal *j,
                         const struct encryption_config *running, struct target *out,
                         struct error *err)
{
    struct encryption_key fresh = {0};
    if (journal_fresh_key(j, &fresh, err) < 0)
        return -1;
    out->to = managed(c, running, &fresh);
    mem_free(fresh.name);
    mem_free(fresh.secret);
    return 0;
}

static int managed_target(const struct cluster *c, const struct journal *j,
                          const struct encryption_config *running, struct target *out,
                          struct error *err)
{
    const struct encryption_key *key = managed_key(c, j, running);
    if (!key)
        return fresh_managed(c, j, running, out, err);
    out->to = managed(c, running, key);
    /* More keys than the one that writes: an interrupted rotation of somebody else's. */
    if (same_resources(&running->items[0], c->resources))
        out->why = "finish a rotation";
    return 0;
}

int target_up(const struct cluster *c, const struct journal *j,
              const struct encryption_config *running, struct target *out, struct error *err)
{
    *out = (struct target){.why = is_none(running) ? "enable" : "change the configuration"};
    if (c->encryption == SECRETS_ENCRYPTION_ENABLED)
        return c->custom ? custom_target(c, j, running, out, err)
                         : managed_target(c, j, running, out, err);
    out->why = "disable";
    out->theirs = c->own_config_path && !is_none(running);
    out->to = encryption_config_copy(out->theirs ? running : NULL);
    return 0;
}

static int refuse_rotation(const struct cluster *c, struct error *err, const char *why,
                           const char *next)
{
    error_set(err, RESULT_REFUSED, "can't rotate the key: %s", why);
    error_next(err, next, c->path, c->path);
    return -1;
}

struct rotation {
    const struct journal *journal;
    const struct encryption_config *running;
};

static int fresh_key(void *ctx, struct encryption_key *out, struct error *err)
{
    const struct rotation *r = ctx;
    return journal_fresh_key(r->journal, out, err);
}

static bool has_kms(const struct encryption_config *c, const char *name)
{
    for (size_t i = 0; i < c->item_count; i++)
        for (size_t j = 0; j < c->items[i].provider_count; j++)
            if (str_eq(c->items[i].providers[j].kms_name, name))
                return true;
    return false;
}

/* The same name with a number behind it, or the next number. */
static int fresh_name(void *ctx, const char *old, char **out, struct error *err)
{
    const struct rotation *r = ctx;
    unsigned long number = kms_number(old);
    for (unsigned long next = number + 1; next < number + 1000; next++) {
        char *name CLEANUP(cleanup_mem) = mem_printf("%.*s-%lu", (int)kms_stem(old), old, next);
        if (has_kms(r->running, name))
            continue;
        *out = STEAL(name);
        return 0;
    }
    return error_set(err, RESULT_REFUSED, "no free name after the kms provider's %s", old);
}

static bool writes_with_kms(const struct encryption_config *c)
{
    for (size_t i = 0; i < c->item_count; i++)
        for (size_t j = 0; j < c->items[i].resource_count; j++)
            if (encryption_writes_with(c, c->items[i].resources[j], PROVIDER_KMS))
                return true;
    return false;
}

static int refresh(const struct cluster *c, const struct journal *j,
                   const struct encryption_config *running, struct target *out, struct error *err)
{
    size_t count = 0;
    struct rotation r = {j, running};
    struct encryption_freshener f = {fresh_key, fresh_name, &r};
    struct encryption_config *to CLEANUP(cleanup_encryption_config) = NULL;
    if (encryption_config_refresh(running, &f, &to, &count, err) < 0)
        return -1;
    if (count == 0)
        return refuse_rotation(
            c, err, "nothing is written with a key: identity comes first everywhere",
            "put the provider that is to write first in the custom_config of %s, "
            "then: encrypt up --config %s");
    encryption_config_free(out->to);
    out->to = STEAL(to);
    out->kms = writes_with_kms(running);
    return 0;
}

int target_rotation(const struct cluster *c, const struct journal *j,
                    const struct encryption_config *running, struct target *out, struct error *err)
{
    *out = (struct target){0};
    if (is_none(running))
        return refuse_rotation(
            c, err, "encryption is not enabled",
            "set services.kube-api.secrets_encryption_config.enabled: true in %s, then: encrypt up "
            "--config %s");
    if (c->encryption != SECRETS_ENCRYPTION_ENABLED && c->own_config_path)
        return refuse_rotation(
            c, err,
            "the apiservers read a configuration of your own (extra_args), which only you change",
            "move its contents into services.kube-api.secrets_encryption_config.custom_config of "
            "%s "
            "(enabled: true), and take encryption-provider-config out of extra_args; then: encrypt "
            "rotate-key --config %s");
    if (c->encryption != SECRETS_ENCRYPTION_ENABLED)
        return refuse_rotation(
            c, err, "cluster.yml says that encryption is not enabled, and the cluster runs with it",
            "make them agree: set secrets_encryption_config.enabled: true in %s, or disable it in "
            "the cluster with: encrypt up --config %s");
    struct target asked CLEANUP(target_free) = {0};
    if (target_up(c, j, running, &asked, err) < 0)
        return -1;
    if (asked.lags)
        return refuse_rotation(
            c, err, "cluster.yml has the key of before the last rotation still",
            "write the present one there first: encrypt up --config %s --write-config    (then: "
            "encrypt rotate-key --config %s)");
    bool same =
        encryption_config_equal(asked.to, running) || str_eq(asked.why, "finish a rotation");
    if (!same)
        return refuse_rotation(c, err,
                               "cluster.yml asks for another configuration than the cluster runs",
                               "bring %s into effect first: encrypt up --config %s");
    out->why = "rotate-key";
    out->custom = asked.custom;
    out->to = STEAL(asked.to);
    if (out->custom)
        return refresh(c, j, running, out, err);
    encryption_config_free(STEAL(out->to));
    return fresh_managed(c, j, running, out, err);
}

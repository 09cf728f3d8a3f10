/* Whether a change may be opened, by what the servers have and say, and by their settings. */
#include "provisioner/owned/owned.h"
#include "provisioner/run.h"

#define NEWER                                                                                      \
    "Newer versions can begin (k3s pull request 13370): `secrets-encrypt enable` on one server, "  \
    "the setting and a restart on each, `secrets-encrypt rotate-keys` on one, a restart of each; " \
    "docs/kinds/rke2.md"

static int refuse_unconfigured(struct owned_run *r, struct error *err)
{
    error_set(err, RESULT_REFUSED, "the servers were started without encryption: there is no %s",
              r->kind->config);
    if (r->s->count > 1)
        error_next(err,
                   "don't put `secrets-encryption: true` into their settings by turns: each server "
                   "would make a key of its own (k3s#7195). %s",
                   NEWER);
    else
        error_next(err,
                   "`secrets-encryption: true` in %s, restart %s, look at `%s secrets-encrypt "
                   "status`; then run this again",
                   r->kind->settings, r->kind->unit, r->kind->program);
    return -1;
}

/* What their newer versions write where encryption is to begin on a cluster that had none. */
static bool is_identity_alone(const struct encryption_config *c)
{
    return c->item_count == 1 && c->items[0].provider_count == 1 &&
           c->items[0].providers[0].type == PROVIDER_IDENTITY;
}

/* Their disable writes a file of identity and the keys of the type that the settings name (aescbc
 * where they name none), and saves it at once: those of another type would be gone from it, and
 * from the datastore. Their enable has to find a key of that type. (WriteEncryptionConfig() in k3s'
 * pkg/secretsencrypt/config.go.) */
static int check_settings_name(struct owned_run *r, enum provider_type type, const char *why,
                               struct error *err)
{
    const char *node = r->s->members[r->leader].node.name;
    enum provider_type next = PROVIDER_IDENTITY;
    bool elsewhere = false;
    if (owned_next_provider(r, &next, &elsewhere, err) < 0)
        return -1;
    if (elsewhere) {
        error_set(err, RESULT_REFUSED,
                  "node %s: %s reads its settings from another file than %s, and which provider "
                  "they name isn't known: where that is not the key's, `%s` may drop the key",
                  node, r->kind->unit, r->kind->settings, why);
        error_next(err, "put the settings into %s of every server, restart them one by one",
                   r->kind->settings);
        return -1;
    }
    if (next == PROVIDER_IDENTITY)
        next = PROVIDER_AESCBC;
    if (next == type)
        return 0;
    error_set(err, RESULT_REFUSED,
              "node %s: the key is for %s, and the server's settings have "
              "secrets-encryption-provider: %s: %s",
              node, provider_type_name(type), provider_type_name(next),
              str_eq(why, "disable")
                  ? "its `disable` would write a file without that key, and what is stored could "
                    "not be read"
                  : "its `enable` finds no key of that");
    error_next(err,
               "secrets-encryption-provider: %s in %s of every server, restart them one by one; "
               "then run this again (another provider comes by rotate-key, while it is enabled)",
               provider_type_name(type), r->kind->settings);
    return -1;
}

/* Stages wherever they may be had: only there all servers read the fresh key before one writes with
 * it, and the old key goes after the proof. */
static int choose_way(struct owned_run *r, enum provider_type type, bool *at_once,
                      struct error *err)
{
    enum provider_type next = PROVIDER_IDENTITY;
    bool elsewhere = false;
    if (owned_next_provider(r, &next, &elsewhere, err) < 0)
        return -1;
    *at_once = type != PROVIDER_AESCBC || next == PROVIDER_SECRETBOX;
    if (!*at_once)
        return 0;
    if (r->s->count > 1) {
        error_set(err, RESULT_REFUSED,
                  "keys of the provider secretbox are rotated by `%s secrets-encrypt rotate-keys` "
                  "alone, and on several servers that loses secrets: until each of the others is "
                  "restarted it can't read what the first one writes, and goes on writing with the "
                  "key that is dropped",
                  r->kind->program);
        error_next(err,
                   "secrets-encryption-provider: aescbc in %s on every server (restart them), or "
                   "one server alone while the key is rotated; docs/kinds/rke2.md tells more",
                   r->kind->settings);
        return -1;
    }
    tell(r->s, ENCRYPT_WARNING, NULL, NULL,
         "secretbox: by rotate-keys, which drops the old key by itself: what is stored is counted "
         "before and after, and not in between");
    return 0;
}

int owned_check_change(struct owned_run *r, const char *why, bool *at_once, struct error *err)
{
    struct session *s = r->s;
    enum provider_type type = PROVIDER_IDENTITY;
    const struct encryption_config *from = r->seen[r->leader].config;
    *at_once = false;
    if (!r->seen[0].status.configured || !from)
        return refuse_unconfigured(r, err);
    if (is_identity_alone(from)) {
        error_set(err, RESULT_REFUSED,
                  "node %s: %s has no key, identity alone: encryption was begun there on a cluster "
                  "that had none, and the first key comes by `%s secrets-encrypt rotate-keys`",
                  s->members[r->leader].node.name, r->kind->config, r->kind->program);
        error_next(err, "%s", NEWER);
        return -1;
    }
    if (!owned_only_key(from, &type)) {
        error_set(err, RESULT_REFUSED,
                  "node %s: %s has not one key and identity: somebody's change was left half-way, "
                  "or the configuration is not %s's own",
                  s->members[r->leader].node.name, r->kind->config, r->kind->program);
        error_next(err, "encrypt status --config %s; docs/kinds/rke2.md (when something is stuck)",
                   s->options->config);
        return -1;
    }
    return str_eq(why, "rotate-key") ? choose_way(r, type, at_once, err)
                                     : check_settings_name(r, type, why, err);
}

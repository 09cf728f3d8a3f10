/* A proof where the datastore can't be looked into (k3s on SQLite, or on a database). */
#include "provisioner/owned/owned.h"
#include "provisioner/reload.h"
#include "provisioner/store.h"

#include <string.h>

char **owned_unsettled(char *const *before, char *const *after, size_t *count)
{
    char **out = mem_alloc(1, sizeof(*out));
    *count = 0;
    for (; after && *after; after++) {
        while (before && *before && strcmp(*before, *after) < 0)
            before++;
        if (before && *before && str_eq(*before, *after))
            continue;
        out = mem_realloc(out, *count + 2, sizeof(*out));
        out[(*count)++] = mem_strndup(*after, strcspn(*after, " "));
        out[*count] = NULL;
    }
    return out;
}

static int list(struct owned_run *r, const struct resource *res, char ***out, size_t *count,
                int64_t *revision, struct error *err)
{
    const struct http_server *api = NULL;
    if (session_check_stop(r->s, err) < 0 || session_ready_api(r->s, &api, err) < 0)
        return -1;
    return kube_versions(api, res, out, count, revision, err);
}

static void strings_free(char ***list)
{
    encryption_resources_free(*list);
}

int owned_prove_by_api(struct owned_run *r, const struct resource *res, int64_t *revision,
                       int64_t *values, struct error *err)
{
    enum { ROUNDS = 8 };
    struct session *s = r->s;
    char **before CLEANUP(strings_free) = NULL;
    char **names CLEANUP(strings_free) = NULL;
    size_t count = 0, unsettled = 0;
    if (list(r, res, &before, &count, revision, err) < 0)
        return -1;
    names = owned_unsettled(NULL, before, &unsettled);
    for (int round = 0; round < ROUNDS; round++) {
        struct tally t CLEANUP(tally_free) = {.resource = res};
        char **after = NULL;
        if (objects_patch(s, &t, names, err) < 0)
            return -1;
        if (t.kept || t.more)
            return owned_refuse_stubborn(r, &t, err);
        if (list(r, res, &after, &count, revision, err) < 0)
            return -1;
        encryption_resources_free(names);
        names = owned_unsettled(before, after, &unsettled);
        encryption_resources_free(before);
        before = after;
        if (unsettled == 0) {
            tell(s, ENCRYPT_NODE, "prove", NULL,
                 "%s at revision %lld: a second patch changed none of %zu", res->name,
                 (long long)*revision, count);
            *values += (int64_t)count;
            return 0;
        }
    }
    return error_set(
        err, RESULT_STOPPED,
        "%zu %s change at each look, the first is %s: whether they are in the new form "
        "can't be told through the API",
        unsettled, res->name, names[0]);
}

int owned_ask_reload(struct owned_run *r, size_t i, struct error *err)
{
    struct member *m = &r->s->members[i];
    m->seen.automatic_reload = owned_reloads(r->kind, &m->seen);
    return member_ask_reload(m, err);
}

int owned_check_can_show(struct owned_run *r, struct error *err)
{
    const struct member *m = &r->s->members[r->leader];
    bool etcd = false;
    if (owned_find_etcd(r, &etcd, err) < 0 || (!etcd && owned_ask_reload(r, r->leader, err) < 0))
        return -1;
    if (etcd || (m->reload.told && str_eq(m->reload.sha256, m->file_sha256)))
        return 0;
    error_set(err, RESULT_REFUSED,
              "node %s: by rotate-keys alone, and that its kube-apiserver writes with the fresh "
              "key could not be shown: this datastore can't be looked into, and %s",
              m->node.name,
              m->reload.told ? "its metric names another configuration than lies there"
                             : "no metric of its version tells which configuration is in force");
    error_next(err,
               "secrets-encryption-provider: aescbc in %s, where its key is for aescbc; else a "
               "version that tells it (Kubernetes 1.34), or embedded etcd",
               r->kind->settings);
    return -1;
}

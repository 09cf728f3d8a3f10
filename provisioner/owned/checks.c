/* What all servers have to agree in before something is changed or restarted. */
#include "provisioner/owned/owned.h"

/* A restart replaces a server's file by the datastore's: no key may be in that file alone. */
int owned_check_keys_agree(struct owned_run *r, struct error *err)
{
    const struct encryption_config *configs[PLAN_MAX_NODES] = {0};
    for (size_t i = 0; i < r->s->count; i++) {
        configs[i] = r->seen[i].config;
        if (!configs[i] && !r->s->members[i].file_missing)
            return error_set(err, RESULT_REFUSED, "node %s: what lies in %s can't be read: %s",
                             r->s->members[i].node.name, r->kind->config,
                             r->seen[i].silence ? r->seen[i].silence : "no configuration");
    }
    if (!owned_keys_differ(configs, r->s->count))
        return 0;
    error_set(err, RESULT_REFUSED,
              "the servers have different keys, and it is no rotation half-way: a restart puts the "
              "datastore's configuration in the place of a server's, and a key that is there alone "
              "would be gone");
    error_next(
        err,
        "copy %s of every server to a safe place first; `%s secrets-encrypt status` on each, "
        "docs/kinds/rke2.md (values under a key that no server has)",
        r->kind->config, r->kind->program);
    return -1;
}

int owned_check_none_lost(struct owned_run *r, struct error *err)
{
    for (size_t i = 0; i < r->s->count; i++)
        if (r->seen[i].active && owned_restart_may_lose(&r->seen[i], NULL)) {
            error_set(err, RESULT_REFUSED,
                      "node %s: two keys lie in %s, and no stage says that both were saved: a "
                      "restart may take the one under which values are stored",
                      r->s->members[i].node.name, r->kind->config);
            error_next(err, "docs/kinds/rke2.md (rotate-keys ended half-way)");
            return -1;
        }
    return 0;
}

static int tell_restart(const struct owned_run *r, struct error *err)
{
    error_next(err, "encrypt restart --config %s    (restarts the servers one by one)",
               r->s->options->config);
    return -1;
}

/* Every server answers, has the same file, and says the same. */
static int check_agree(struct owned_run *r, struct error *err)
{
    struct session *s = r->s;
    for (size_t i = 0; i < s->count; i++) {
        const char *name = s->members[i].node.name;
        if (!r->seen[i].active) {
            error_set(err, RESULT_REFUSED, "node %s: %s is %s", name, r->kind->unit,
                      r->seen[i].unit);
            error_next(err,
                       "see why (journalctl -u %s there), then: encrypt restart --config %s    (it "
                       "starts it)",
                       r->kind->unit, r->s->options->config);
            return -1;
        }
        if (!r->seen[i].answers) {
            error_set(err, RESULT_REFUSED, "node %s: its server does not tell its state: %s", name,
                      r->seen[i].silence);
            if (r->seen[i].remedy)
                error_next(err, "%s", r->seen[i].remedy);
            return -1;
        }
    }
    for (size_t i = 0; i < s->count; i++) {
        const char *name = s->members[i].node.name;
        const struct owned_status *status = &r->seen[i].status;
        if (status->configured != r->seen[0].status.configured || !r->servers[i].same) {
            error_set(err, RESULT_REFUSED,
                      "hash does not match between %s and %s: their servers have different "
                      "configurations",
                      s->members[r->leader].node.name, name);
            return owned_check_keys_agree(r, err) < 0 ? -1 : tell_restart(r, err);
        }
        if (status->configured && !status->hash_match) {
            error_set(err, RESULT_REFUSED, "node %s: %s", name,
                      status->hash_error ? status->hash_error : "the servers' hashes don't match");
            return tell_restart(r, err);
        }
    }
    return 0;
}

int owned_refuse_stage(struct owned_run *r, size_t i, const char *next, struct error *err)
{
    error_set(err, RESULT_REFUSED, "incorrect stage: %s found on node %s",
              stage_name(r->seen[i].status.stage), r->s->members[i].node.name);
    error_state(err, "nothing was changed");
    error_next(err, "encrypt %s --config %s", next, r->s->options->config);
    return -1;
}

int owned_check_at_rest(struct owned_run *r, struct error *err)
{
    struct encryption_config *from CLEANUP(cleanup_encryption_config) = owned_half_way(r);
    for (size_t i = 0; i < r->s->count; i++) {
        enum stage stage = r->seen[i].status.stage;
        if (r->seen[i].active && r->seen[i].answers && stage != STAGE_START &&
            stage != STAGE_REENCRYPT_FINISHED)
            return owned_refuse_stage(
                r, i, from ? "resume (it goes on with what was begun there by hand)" : "status",
                err);
    }
    return check_agree(r, err);
}

#include "provisioner/decide.h"

#include "provisioner/config_file.h"
#include "provisioner/run.h"
#include "provisioner/start.h"

void decision_free(struct decision *d)
{
    encryption_config_free(d->from);
    target_free(&d->target);
    *d = (struct decision){0};
}

/* An administrator's own file, by cluster.yml: do the apiservers read it? */
static int check_theirs(struct session *s, struct error *err)
{
    const char *path = s->cluster->own_config_path;
    for (size_t i = 0; i < s->count; i++) {
        const struct member *m = &s->members[i];
        if (str_eq(m->seen.config_path, path))
            continue;
        error_set(
            err, RESULT_REFUSED,
            "%s:%zu: extra_args names a configuration of your own (%s), and kube-apiserver on "
            "node %s reads %s%s",
            s->cluster->path, s->cluster->own_config_line, path, m->node.name,
            m->seen.config_path ? m->seen.config_path : "none",
            session_shares_state(s)
                ? ": RKE's next `up` would give it your file, and where that lacks a key that is "
                  "in use, what is stored under it could not be read"
                : "");
        error_next(
            err,
            "to disable encryption: take encryption-provider-config out of extra_args, then: "
            "encrypt up --config %s. To have a configuration of your own: make it a "
            "custom_config (enabled: true)",
            s->options->config);
        return -1;
    }
    tell(s, ENCRYPT_NOTE, NULL, NULL,
         "the apiservers read a configuration of your own (%s, by extra_args): it is left alone",
         path);
    return 0;
}

/* cluster.yml's rotate_encryption_key, and nothing else to do. */
static int decide_as_asked(struct session *s, struct decision *out, struct error *err)
{
    if (s->cluster->custom) {
        error_set(err, RESULT_REFUSED,
                  "%s:%zu: rotate_encryption_key does not go with custom_config%s: the fresh key "
                  "has to be written there too",
                  s->cluster->path, s->cluster->rotate_line,
                  session_shares_state(s) ? ", with RKE neither" : "");
        error_next(err,
                   "take rotate_encryption_key out of %s; to rotate: encrypt rotate-key --config "
                   "%s --write-config",
                   s->cluster->path, s->options->config);
        return -1;
    }
    if (!run_ended_before_telling(s)) {
        out->what = DECIDED_ROTATE;
        return 0;
    }
    tell(s, ENCRYPT_NOTE, NULL, NULL,
         "a run of yours that was ended before it could say so has brought the key into use: it "
         "is not rotated once more now");
    return 0;
}

int decide_up(struct session *s, struct decision *out, struct error *err)
{
    struct target *t = &out->target;
    bool joins = false;
    *out = (struct decision){.what = DECIDED_NOTHING};
    if (join_look(s, &joins, err) < 0 || preflight_agree(s, &out->from, err) < 0 ||
        config_check_meant(s, out->from, err) < 0 || foreign_check(s, out->from, err) < 0 ||
        target_up(s->cluster, s->journal, out->from, t, err) < 0 ||
        config_check_history(s, t, err) < 0 || (t->theirs && check_theirs(s, err) < 0))
        return -1;
    config_warn_of_retired(s, t, out->from);
    if (t->lags && !s->options->write_config)
        return config_refuse_lag(s, out->from, err);
    bool same = encryption_config_equal(out->from, t->to);
    if (joins && !same)
        return join_refuse_change(s, err);
    if (joins || !same) {
        out->what = joins ? DECIDED_JOIN : DECIDED_CHANGE;
        return 0;
    }
    return s->cluster->rotate_encryption_key && !t->lags &&
                   s->cluster->encryption == SECRETS_ENCRYPTION_ENABLED
               ? decide_as_asked(s, out, err)
               : 0;
}

int decide_rotation(struct session *s, struct decision *out, struct error *err)
{
    *out = (struct decision){.what = DECIDED_CHANGE};
    if (preflight_agree(s, &out->from, err) < 0 || foreign_check(s, out->from, err) < 0)
        return -1;
    journal_add_config_keys(s->journal, out->from);
    return target_rotation(s->cluster, s->journal, out->from, &out->target, err) < 0 ||
                   config_check_edit(s, &out->target, err) < 0
               ? -1
               : 0;
}

int decide_abort(struct session *s, struct error *err)
{
    const struct transition *t = s->journal->transition;
    if (str_eq(t->why, "join")) {
        error_set(err, RESULT_REFUSED,
                  "%s can't be taken back: it brings one node to what all others run, and back "
                  "would be without encryption",
                  t->why);
        error_next(err,
                   "encrypt resume --config %s    (where that node can't be brought there: take "
                   "its kube-apiserver away for good, and the node out of %s, then the same with "
                   "--forget-node and its address)",
                   s->options->config, s->options->config);
        return -1;
    }
    if ((t->stage != TRANSITION_NARROWING && !t->reopened) || t->aborting)
        return 0;
    error_set(err, RESULT_REFUSED,
              "%s can't be taken back: narrowing has begun, and nodes may have given up what came "
              "before: "
              "from here is only on",
              t->why);
    error_next(err, "encrypt resume --config %s", s->options->config);
    return -1;
}

#include "provisioner/config_file.h"

#include "state/cluster_edit.h"

#include <string.h>
#include <sys/stat.h>

int config_check_meant(struct session *s, const struct encryption_config *running,
                       struct error *err)
{
    const struct cluster *c = s->cluster;
    if (session_shares_state(s) || c->encryption != SECRETS_ENCRYPTION_ABSENT ||
        c->own_config_path || !running || !running->item_count)
        return 0;
    error_set(err, RESULT_REFUSED,
              "the apiservers have an encryption configuration, and %s does not say whether they "
              "are to",
              c->path);
    error_next(err,
               "write into %s services.kube-api.secrets_encryption_config.enabled: true (to have "
               "encrypt look after it; what runs is taken over), or enabled: false (to decrypt "
               "everything), then run the same command again",
               s->options->config);
    return -1;
}

int config_check_history(struct session *s, const struct target *t, struct error *err)
{
    struct config_findings found CLEANUP(config_findings_free) = {0};
    struct config_findings all CLEANUP(config_findings_free) = {0};
    if (!t->custom || t->lags)
        return 0;
    journal_check_names(s->journal, t->custom, s->cluster->custom_config, &found);
    config_findings_move(&all, &found, "custom_config", false);
    return config_findings_error(&all, s->cluster->path, err);
}

/* A fresh key goes into no file that others may read. */
static int check_mode(const char *path, struct error *err)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return error_set(err, RESULT_REFUSED, "%s: %m", path);
    if (!(st.st_mode & 077))
        return 0;
    error_set(err, RESULT_REFUSED,
              "%s has mode %04o: others could read the fresh key that is to be written there", path,
              (unsigned)st.st_mode & 07777);
    error_next(err, "chmod 600 %s, then run the same command again", path);
    return -1;
}

int config_check_edit(struct session *s, const struct target *t, struct error *err)
{
    struct buf shown CLEANUP(buf_free) = {0};
    struct error e CLEANUP(error_clear) = {0};
    if (!t->custom)
        return 0;
    if (s->options->write_config)
        return check_mode(s->cluster->path, err) < 0 ||
                       cluster_edit_check(s->cluster->path, t->to, &shown, err) < 0
                   ? error_wrap(err, "--write-config")
                   : 0;
    if (cluster_edit_check(s->cluster->path, t->to, &shown, &e) < 0)
        tell(s, ENCRYPT_WARNING, NULL, NULL,
             "the fresh key is to be written into custom_config by hand then: --write-config could "
             "not (%s)",
             e.message);
    return 0;
}

/* The lines to edit, as far as they can be told, and where the secret is to be had; to be freed. */
static char *edit_text(struct session *s, const struct encryption_config *running)
{
    struct buf text CLEANUP(buf_free) = {0};
    struct error e CLEANUP(error_clear) = {0};
    int rc = cluster_edit_check(s->cluster->path, running, &text, &e);
    while (text.len && text.data[text.len - 1] == '\n')
        text.data[--text.len] = '\0';
    if (rc < 0)
        buf_printf(&text, "%s--write-config can't make it: %s", text.len ? "\n" : "", e.message);
    buf_printf(&text,
               "\n(the secret: currentState.encryptionConfig in %s, and %s on each control-plane "
               "node)",
               s->state_path, s->members[0].config_path);
    return mem_strdup(buf_str(&text));
}

int config_refuse_lag(struct session *s, const struct encryption_config *running, struct error *err)
{
    char *edit CLEANUP(cleanup_mem) = edit_text(s, running);
    error_set(
        err, RESULT_REFUSED,
        "custom_config in %s has the key of before the last rotate-key still. What it lacks:\n%s",
        s->cluster->path, edit);
    error_next(err, "encrypt up --config %s --write-config    (makes that edit and no other%s)",
               s->options->config, session_shares_state(s) ? "; don't run `rke up` before" : "");
    return -1;
}

static int write_it(struct session *s, const struct encryption_config *running,
                    struct encrypt_report *report, struct error *err)
{
    struct buf shown CLEANUP(buf_free) = {0};
    if (check_mode(s->cluster->path, err) < 0 ||
        cluster_edit_write(s->cluster->path, s->cluster->custom, running, &shown, err) < 0) {
        err->result = RESULT_STOPPED;
        error_state(err, "the cluster is what it should be; %s has the key of before still%s",
                    s->cluster->path,
                    session_shares_state(s) ? ": don't run `rke up` before it has the present one"
                                            : "");
        error_next(err, "mend that, then: encrypt up --config %s --write-config",
                   s->options->config);
        return error_wrap(err, "writing the fresh key into the cluster file");
    }
    tell(s, ENCRYPT_NOTE, NULL, NULL, "%s: the fresh key was written there:\n%s", s->cluster->path,
         buf_str(&shown));
    report->config_written = true;
    journal_set_custom(s->journal, running);
    if (journal_write(s->journal, s->state, err) < 0) {
        err->result = RESULT_STOPPED;
        error_state(err, "the cluster and %s say the same; that they do could not be written down",
                    s->cluster->path);
        error_next(err, "make room for %s, then: encrypt up --config %s", s->state_path,
                   s->options->config);
        return -1;
    }
    return 0;
}

int config_follow(struct session *s, const struct encryption_config *running,
                  struct encrypt_report *report, struct error *err)
{
    const char *text = rkestate_encryption_config(s->state);
    struct encryption_config *written CLEANUP(cleanup_encryption_config) = NULL;
    if (!running && encryption_config_read(text, strlen(text), s->state_path, ENCRYPTION_LENIENT,
                                           &written, err) < 0)
        return -1;
    running = running ? running : written;
    if (!target_config_lags(s->cluster, s->journal, running))
        return 0;
    if (s->options->write_config)
        return write_it(s, running, report, err);
    char *edit CLEANUP(cleanup_mem) = edit_text(s, running);
    report->config_lags = true;
    tell(s, ENCRYPT_WARNING, NULL, NULL,
         "%s has the key of before still%s. The edit (encrypt up --config %s --write-config makes "
         "it):\n%s",
         s->cluster->path,
         session_shares_state(s)
             ? ", and RKE renders the configuration from it: don't run `rke up` before it says the "
               "same as the cluster"
             : ": `up` refuses until it says the same as the cluster",
         s->options->config, edit);
    return 0;
}

void config_warn_of_retired(struct session *s, const struct target *t,
                            const struct encryption_config *running)
{
    for (size_t i = 0; t->custom && !t->lags && i < s->journal->key_count; i++) {
        const struct key_record *k = &s->journal->keys[i];
        if (k->retired && encryption_config_has_key(t->custom, k->type, &k->key) &&
            !encryption_config_has_key(running, k->type, &k->key))
            tell(s, ENCRYPT_WARNING, NULL, NULL,
                 "%s: custom_config has key \"%s\", which was retired at %s: it comes back",
                 s->cluster->path, k->key.name, k->retired);
    }
}

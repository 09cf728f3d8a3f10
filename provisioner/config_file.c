#include "provisioner/config_file.h"

#include "state/cluster_edit.h"

#include <string.h>

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

int config_check_edit(struct session *s, const struct target *t, struct error *err)
{
    struct buf shown CLEANUP(buf_free) = {0};
    if (!t->custom || !s->options->write_config)
        return 0;
    if (cluster_edit_check(s->cluster->path, t->to, &shown, err) < 0)
        return error_wrap(err, "--write-config");
    return 0;
}

/* The lines to edit, as far as they can be told; to be freed. */
static char *edit_text(struct session *s, const struct encryption_config *running)
{
    struct buf shown CLEANUP(buf_free) = {0};
    struct error e CLEANUP(error_clear) = {0};
    if (cluster_edit_check(s->cluster->path, running, &shown, &e) < 0)
        return mem_strdup(e.message);
    while (shown.len && shown.data[shown.len - 1] == '\n')
        shown.data[--shown.len] = '\0';
    return mem_strdup(buf_str(&shown));
}

int config_refuse_lag(struct session *s, const struct encryption_config *running, struct error *err)
{
    char *edit CLEANUP(cleanup_mem) = edit_text(s, running);
    error_set(
        err, RESULT_REFUSED,
        "custom_config in %s has the key of before the last rotate-key still. What it lacks:\n%s",
        s->cluster->path, edit);
    error_next(err,
               "encrypt up --config %s --write-config    (makes that edit and no other; don't run "
               "`rke up` before)",
               s->options->config);
    return -1;
}

static int write_it(struct session *s, const struct encryption_config *running,
                    struct encrypt_report *report, struct error *err)
{
    struct buf shown CLEANUP(buf_free) = {0};
    if (cluster_edit_write(s->cluster->path, running, &shown, err) < 0) {
        err->result = RESULT_STOPPED;
        error_state(err,
                    "the cluster is what it should be; %s has the key of before still: don't run "
                    "`rke up` before it has the present one",
                    s->cluster->path);
        error_next(err, "mend that, then: encrypt up --config %s --write-config",
                   s->options->config);
        return error_wrap(err, "writing the fresh key into the cluster file");
    }
    tell(s, ENCRYPT_NOTE, NULL, NULL, "%s: the fresh key was written there:\n%s", s->cluster->path,
         buf_str(&shown));
    report->config_written = true;
    journal_set_custom(s->journal, running);
    return journal_write(s->journal, s->state, err);
}

int config_follow(struct session *s, struct encrypt_report *report, struct error *err)
{
    const char *text = rkestate_encryption_config(s->state);
    struct encryption_config *running CLEANUP(cleanup_encryption_config) = NULL;
    if (encryption_config_read(text, strlen(text), s->state_path, ENCRYPTION_LENIENT, &running,
                               err) < 0)
        return -1;
    if (!target_config_lags(s->cluster, s->journal, running))
        return 0;
    if (s->options->write_config)
        return write_it(s, running, report, err);
    char *edit CLEANUP(cleanup_mem) = edit_text(s, running);
    report->config_lags = true;
    tell(
        s, ENCRYPT_WARNING, NULL, NULL,
        "%s has the key of before still, and RKE renders the configuration from it: don't run `rke "
        "up` before it says the same as the cluster. The edit (encrypt up --config %s "
        "--write-config makes it):\n%s",
        s->cluster->path, s->options->config, edit);
    return 0;
}

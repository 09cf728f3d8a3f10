/* What `up --initial` left, taken back; and what comes first when the apiservers are started. */
#include "provisioner/run.h"
#include "provisioner/stamp.h"
#include "provisioner/start.h"

#include <stdio.h>
#include <string.h>

int start_note_started(struct session *s, struct error *err)
{
    struct transition *t = s->journal->transition;
    for (size_t i = 0; t && t->initial && !t->started && i < s->count; i++) {
        if (!s->members[i].seen.exists)
            continue;
        t->started = mem_strdup(s->members[i].node.name);
        return journal_write(s->journal, s->state, err);
    }
    return 0;
}

void initial_put_state_back(struct session *s)
{
    const struct encryption_config *before = s->journal->transition->before;
    struct buf text CLEANUP(buf_free) = {0};
    if (before)
        run_rke_text(s, before, s->journal->custom, &text);
    rkestate_set_encryption(s->state, buf_str(&text), before != NULL);
    rkestate_set_custom(s->state, before ? s->journal->custom : NULL);
}

/* *foreign: another's stamp is there, or one that can't be read. Then nothing there is ours. */
static int look_at_stamp(struct session *s, struct member *m, bool *foreign, struct error *err)
{
    struct stamp stamp CLEANUP(stamp_free) = {0};
    struct error e CLEANUP(error_clear) = {0};
    bool found = false;
    *foreign = false;
    int rc = stamp_read(m, &stamp, &found, &e);
    if (rc == 0 && found)
        rc = stamp_judge(&stamp, s->journal, m->node.name, s->state_path, &e);
    if (rc >= 0)
        return 0;
    if (e.result != RESULT_REFUSED)
        return error_move(err, &e);
    *foreign = true;
    tell(s, ENCRYPT_WARNING, NULL, m->node.name, "%s: what lies there is left there", e.message);
    return 0;
}

/* Looked at anew: one that was started since reads the file, and writes with the key. */
static int check_not_started(struct session *s, struct member *m, struct error *err)
{
    if (member_observe(m, err) < 0 || start_note_started(s, err) < 0)
        return -1;
    if (!m->seen.exists)
        return 0;
    char *abort_it CLEANUP(cleanup_mem) = run_command_line("abort", s->options);
    error_set(err, RESULT_STOPPED,
              "node %s: its kube-apiserver was started while this was being taken back: what it "
              "writes may need the key",
              m->node.name);
    error_next(err,
               "start kube-apiserver on the other nodes too, without the flag where the "
               "configuration is gone; then: %s    (it goes on, and decrypts what was written)",
               abort_it);
    return -1;
}

static int take_back_on(struct session *s, struct member *m, const struct encryption_config *to,
                        struct error *err)
{
    struct error file_kept CLEANUP(error_clear) = {0};
    char *stamp CLEANUP(cleanup_mem) = stamp_path(m);
    bool foreign = false;
    if (check_not_started(s, m, err) < 0 || look_at_stamp(s, m, &foreign, err) < 0)
        return -1;
    node_record_placed(journal_node(s->journal, m->node.name), NULL, NULL);
    if (foreign)
        return 0;
    if (start_check_file(s, m, to, &file_kept) < 0)
        tell(s, ENCRYPT_WARNING, NULL, m->node.name, "%s: it is left there", file_kept.message);
    else if (!m->file_missing && m->node.driver->remove_file(&m->node, m->config_path, err) < 0)
        return error_wrap(err, "node %s", m->node.name);
    /* The stamp is what holds the node: it goes last. */
    if (m->node.driver->remove_file(&m->node, stamp, err) < 0)
        return error_wrap(err, "node %s", m->node.name);
    tell(s, ENCRYPT_NODE, "narrow", m->node.name, "configuration removed");
    return 0;
}

static int check_never_run(struct session *s, struct error *err)
{
    const char *had = s->journal->transition->started;
    for (size_t i = 0; !had && i < s->journal->node_count; i++)
        if (s->journal->nodes[i].runs.sha256)
            had = s->journal->nodes[i].address;
    if (!had || preflight_is_gone(s, had))
        return 0;
    char *again CLEANUP(cleanup_mem) = run_command_line("up --initial", s->options);
    bool aborting = s->journal->transition->aborting;
    error_set(err, RESULT_REFUSED,
              "node %s had a kube-apiserver since, which is gone: what it wrote may need the key",
              had);
    error_next(
        err,
        "start it again as it was, then run the same command again; where every kube-apiserver "
        "that was started is gone for good, and the etcd that they wrote to: the same command "
        "with --forget-node %s%s%s%s",
        had, aborting ? "" : "; or go on: ", aborting ? "" : again,
        aborting ? "" : "    (tells what to start kube-apiserver with)");
    return -1;
}

static bool is_listed(const struct session *s, const char *address)
{
    for (size_t i = 0; i < s->count; i++)
        if (str_eq(s->members[i].node.name, address))
            return true;
    return false;
}

/* One that was taken out of cluster.yml has the file still, and may write by it. */
static int check_none_left_out(struct session *s, struct error *err)
{
    for (size_t i = 0; i < s->journal->node_count; i++) {
        const struct node_record *n = &s->journal->nodes[i];
        if (!n->placed.sha256 || is_listed(s, n->address) || preflight_is_gone(s, n->address))
            continue;
        error_set(err, RESULT_REFUSED,
                  "node %s was given the configuration, and %s doesn't list it any more: its "
                  "kube-apiserver may write by it",
                  n->address, s->options->config);
        error_next(err,
                   "list it again, then run the same command again; where that machine is gone for "
                   "good: the same command with --forget-node %s",
                   n->address);
        return -1;
    }
    return 0;
}

int initial_take_back(struct session *s, struct encrypt_report *report, struct error *err)
{
    struct transition *t = s->journal->transition;
    if (check_never_run(s, err) < 0 || check_none_left_out(s, err) < 0)
        return -1;
    report->aborted = true;
    snprintf(report->why, sizeof(report->why), "%s", t->why);
    tell(s, ENCRYPT_STEP, "narrow", NULL,
         "no kube-apiserver was started: the configuration is removed from the nodes");
    if (!t->aborting) {
        journal_abort(s->journal);
        if (journal_write(s->journal, s->state, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < s->count; i++) {
        if (take_back_on(s, &s->members[i], t->to, err) == 0)
            continue;
        if (err->result == RESULT_FAILED)
            err->result = RESULT_STOPPED;
        return -1;
    }
    initial_put_state_back(s);
    journal_close(s->journal);
    return journal_write(s->journal, s->state, err);
}

/* --- afterwards --- */

static int wait_for(struct session *s, struct member *m, struct error *err)
{
    static const int64_t default_ms = (int64_t)5 * 60 * 1000;
    int64_t timeout = s->options->timeout_ms ? s->options->timeout_ms : default_ms;
    tell(s, ENCRYPT_NODE, "check", m->node.name, "waiting until its kube-apiserver is ready");
    if (member_wait_ready(s, m, timeout, err) == 0)
        return 0;
    if (err->result != RESULT_FAILED || ssh_dead(m->node.ssh))
        return -1;
    rollout_add_log(m, err);
    err->result = RESULT_REFUSED;
    return -1;
}

int initial_wait(struct session *s, struct error *err)
{
    const struct transition *t = s->journal->transition;
    bool from_none = !t->from || !t->from->item_count;
    for (size_t i = 0; from_none && !t->aborting && i < s->count; i++) {
        struct member *m = &s->members[i];
        const struct node_record *n = journal_node(s->journal, m->node.name);
        bool first = str_eq(n->placed.process, START_NO_PROCESS) && !n->runs.sha256;
        /* (Made, and not started: that is done here.) */
        if (first && m->seen.config_path && (bring_back(s, m, err) < 0 || wait_for(s, m, err) < 0))
            return -1;
    }
    return 0;
}

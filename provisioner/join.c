/* Nodes that are new in cluster.yml, or were replaced, brought to what all others run. */
#include "provisioner/kms.h"
#include "provisioner/run.h"
#include "provisioner/stamp.h"
#include "provisioner/start.h"

#include <stdio.h>
#include <string.h>

enum lack {
    LACKS_APISERVER,
    LACKS_FILE, /* its apiserver is told to read it, and can't */
    LACKS_FLAG,
};

static enum lack lack_of(const struct member *m)
{
    return !m->seen.exists ? LACKS_APISERVER : m->seen.config_path ? LACKS_FILE : LACKS_FLAG;
}

/* One that the others show the way. NULL: none has a configuration. */
static struct member *first_with_file(struct session *s)
{
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        if (!m->joins && m->seen.exists && m->seen.config_path && !m->file_missing)
            return m;
    }
    return NULL;
}

/* The file lies there, and that the apiserver runs it was never seen. */
static bool is_unseen(const struct session *s, const struct member *m)
{
    const struct node_record *n = journal_seen_node(s->journal, m->node.name);
    return n && (n->placed.sha256 || n->intent_form) && !n->runs.sha256 && m->seen.config_path &&
           !m->file_missing;
}

/* The file was put there for it to join: it joins until it was seen to be ready with it. */
static int look_at_unseen(struct session *s, struct member *m, struct error *err)
{
    struct node_record *n = journal_node(s->journal, m->node.name);
    bool ready = false;
    if (m->seen.running && kube_ready(&m->node.api, &ready, NULL, err) < 0)
        return -1;
    m->joins = !ready;
    /* (Another writing of it, RKE's, is compared parsed, as with all others.) */
    if (m->joins || !str_eq(n->placed.sha256, m->file_sha256) ||
        str_eq(n->placed.process, m->seen.process))
        return 0;
    node_record_runs(n, m->file_sha256, m->seen.process);
    node_record_placed(n, NULL, NULL);
    s->journal->behind = true;
    return 0;
}

/* A file that is gone under an apiserver that serves by it is another matter: what that had read
 * isn't known. */
static int lacks_file(struct member *m, bool *out, struct error *err)
{
    bool ready = false;
    *out = false;
    if (!m->seen.config_path || !m->file_missing)
        return 0;
    if (m->seen.running && kube_ready(&m->node.api, &ready, NULL, err) < 0)
        return -1;
    *out = !ready;
    return 0;
}

/* The file of the others is what this node is to have, at the same path. */
static int take_path(struct member *m, const char *path, struct error *err)
{
    if (m->seen.config_path || !path || str_eq(m->config_path, path))
        return 0;
    mem_free(m->config_path);
    m->config_path = mem_strdup(path);
    return member_observe(m, err);
}

/* The state has the configuration of that node, too: that is the one that is meant for all. Else
 * nodes differ, and which is right is not for us to say. */
static bool is_meant(const struct session *s, const struct member *model)
{
    const char *text = rkestate_encryption_config(s->state);
    struct encryption_config *state CLEANUP(cleanup_encryption_config) = NULL;
    struct encryption_config *file CLEANUP(cleanup_encryption_config) = NULL;
    struct error ignored CLEANUP(error_clear) = {0};
    return model &&
           encryption_config_read(text, strlen(text), s->state_path, ENCRYPTION_LENIENT, &state,
                                  &ignored) == 0 &&
           encryption_config_read(buf_str(&model->file), model->file.len, model->config_path,
                                  ENCRYPTION_LENIENT, &file, &ignored) == 0 &&
           encryption_config_equal(state, file);
}

int join_look(struct session *s, bool *any, struct error *err)
{
    bool some_exist = false;
    *any = false;
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        some_exist = some_exist || m->seen.exists;
        if (is_unseen(s, m) && look_at_unseen(s, m, err) < 0)
            return -1;
    }
    const struct member *model = first_with_file(s);
    /* Where no other is left, it is not they that show the way: one that is not ready is just that.
     */
    for (size_t i = 0; !model && i < s->count; i++)
        s->members[i].joins = false;
    model = first_with_file(s);
    bool meant = is_meant(s, model);
    for (size_t i = 0; some_exist && i < s->count; i++) {
        struct member *m = &s->members[i];
        bool lacks = m->joins || !m->seen.exists || (meant && !m->seen.config_path);
        if (!lacks && model && lacks_file(m, &lacks, err) < 0)
            return -1;
        if (!lacks)
            continue;
        m->joins = *any = true;
        if (model && take_path(m, model->seen.config_path, err) < 0)
            return -1;
    }
    return 0;
}

int join_refuse_change(struct session *s, struct error *err)
{
    const struct member *m = s->members;
    for (size_t i = s->count; i-- > 0;)
        m = s->members[i].joins ? &s->members[i] : m;
    error_set(err, RESULT_REFUSED,
              "node %s %s, and %s asks for a change of what the cluster runs: one after the other",
              m->node.name,
              lack_of(m) == LACKS_APISERVER ? "has no kube-apiserver yet"
                                            : "does not have the configuration of the others, or "
                                              "is not ready with it yet",
              s->options->config);
    error_next(err,
               "undo the edit in %s; encrypt up --config %s (brings that node to what the others "
               "run, or tells what to start it with); then edit again, and the same command",
               s->options->config, s->options->config);
    return -1;
}

/* --- one without the flag --- */

/* It can't read what is encrypted, and what it writes is plain: all others must read that. */
static int check_flagless(struct session *s, const struct encryption_config *runs,
                          struct error *err)
{
    const struct member *lacks = NULL;
    for (size_t i = 0; i < s->count && !lacks; i++)
        if (s->members[i].joins && lack_of(&s->members[i]) == LACKS_FLAG)
            lacks = &s->members[i];
    if (!lacks)
        return 0;
    if (encryption_config_reads_all(runs, NULL))
        return 0;
    error_set(
        err, RESULT_REFUSED,
        "node %s: its kube-apiserver runs without a configuration, and what it writes, plain, "
        "the others can't read (theirs lacks identity)",
        lacks->node.name);
    const char *words = session_driver(s)->words.take_away;
    error_next(err,
               "on node %s: take its kube-apiserver away%s%s%s, then: encrypt up --config %s    "
               "(puts the configuration there, and tells what to start it with)",
               lacks->node.name, words ? " (" : "", words ? words : "", words ? ")" : "",
               s->options->config);
    return -1;
}

/* As all others run SWITCH already, which is TO as well, the planner touches that node alone. */
static int bring_flagless(struct session *s, const struct encryption_config *runs,
                          struct encrypt_report *report, struct error *err)
{
    const char **names CLEANUP(cleanup_mem) = mem_alloc(s->count + 1, sizeof(char *));
    struct encryption_config *none CLEANUP(cleanup_encryption_config) = NULL;
    for (size_t i = 0; i < s->count; i++)
        names[i] = s->members[i].node.name;
    journal_keep_nodes(s->journal, names);
    journal_open(s->journal, "join", none, runs, s->journal->custom);
    s->journal->transition->switched = true;
    for (size_t i = 0; i < s->count; i++) {
        node_record_path(journal_node(s->journal, names[i]), s->members[i].config_path);
        s->members[i].joins = false;
    }
    record_what_runs(s, none, runs);
    if (run_transition(s, BEGIN_OPENED, STAGE_COMMAND_NONE, report, err) == 0)
        return 0;
    explain_not_begun(s, "join", STAGE_COMMAND_NONE, err);
    return -1;
}

/* --- the others --- */

/* What the journal says of a machine that was there before. */
static void forget_former(struct session *s, struct member *m)
{
    bool known = false;
    for (size_t i = 0; i < s->journal->node_count; i++) {
        const struct node_record *n = &s->journal->nodes[i];
        known = known || (str_eq(n->address, m->node.name) && (n->runs.sha256 || n->placed.sha256));
    }
    if (!known || !m->file_missing)
        return;
    journal_forget_node(s->journal, m->node.name);
    tell(s, ENCRYPT_NOTE, NULL, m->node.name,
         "node %s had a configuration and has none now: taken as a new machine", m->node.name);
}

/* A process that came after the file has read it. */
static bool has_read(const struct session *s, const struct member *m)
{
    const struct node_record *n = journal_seen_node(s->journal, m->node.name);
    return m->seen.running && n && n->placed.process && str_eq(n->placed.sha256, m->file_sha256) &&
           !str_eq(n->placed.process, m->seen.process);
}

/* Its apiserver could not start for lack of the file, or has it and was not seen to be ready yet.
 */
static int start_again(struct session *s, struct member *m, const struct encryption_config *runs,
                       struct encrypt_report *report, struct error *err)
{
    static const int64_t default_ms = (int64_t)5 * 60 * 1000;
    char **binds CLEANUP(cleanup_mem) = session_binds(s, runs);
    struct apiserver_want want = {m->config_path, binds};
    char *before CLEANUP(cleanup_mem) = mem_strdup(m->seen.process);
    bool reads = has_read(s, m);
    tell(s, ENCRYPT_NODE, "switch", m->node.name,
         reads ? "waiting until its kube-apiserver is ready" : "kube-apiserver is being started");
    if ((!reads && m->node.driver->start(&m->node, &want, before, err) < 0) ||
        member_wait_ready(s, m, s->options->timeout_ms ? s->options->timeout_ms : default_ms, err) <
            0) {
        error_wrap(err, "node %s: starting kube-apiserver", m->node.name);
        if (err->result == RESULT_FAILED && !ssh_dead(m->node.ssh))
            rollout_add_log(m, err);
        return -1;
    }
    if (member_observe(m, err) < 0)
        return -1;
    struct node_record *n = journal_node(s->journal, m->node.name);
    node_record_runs(n, m->file_sha256, m->seen.process);
    node_record_placed(n, NULL, NULL);
    snprintf(report->why, sizeof(report->why), "join");
    tell(s, ENCRYPT_NODE, "switch", m->node.name, "ready");
    return m->node.driver->settle(&m->node, err);
}

static int put_where_missing(struct session *s, struct member *m, const struct member *model,
                             struct error *err)
{
    const struct node_record *n = journal_node(s->journal, m->node.name);
    if (str_eq(m->file_sha256, model->file_sha256) && str_eq(n->placed.sha256, model->file_sha256))
        return 0;
    forget_former(s, m);
    /* On record before the file is there: a run that is killed in here is gone on with. */
    node_record_intend(journal_node(s->journal, m->node.name), form_name(FORM_SWITCH),
                       m->seen.process);
    if (journal_write(s->journal, s->state, err) < 0)
        return -1;
    /* (A copy: what is looked at anew is freed.) */
    struct buf text CLEANUP(buf_free) = {0};
    buf_add(&text, buf_str(&model->file), model->file.len);
    if (start_put(s, m, buf_str(&text), text.len, err) < 0)
        return -1;
    node_record_intend(journal_node(s->journal, m->node.name), NULL, NULL);
    tell(s, ENCRYPT_NODE, "switch", m->node.name, "configuration put");
    return 0;
}

/* From the first file on, something was changed: which node has it, and how to go on. */
static int half_way(struct session *s, const struct member *m, struct error *err)
{
    char *up CLEANUP(cleanup_mem) = run_command_line("up", s->options);
    if (err->result == RESULT_FAILED || err->result == RESULT_REFUSED)
        err->result = RESULT_STOPPED;
    error_state(err,
                "node %s joins, and does not serve yet; the other nodes run on as they were, or "
                "have joined",
                m->node.name);
    error_next(err, "%s    (once the cause is gone; it goes on with that node)", up);
    return -1;
}

static int bring_one(struct session *s, struct member *m, const struct member *model,
                     const struct encryption_config *runs, struct encrypt_report *report,
                     struct error *err)
{
    bool starts = lack_of(m) == LACKS_APISERVER;
    if ((model && put_where_missing(s, m, model, err) < 0) ||
        journal_write(s->journal, s->state, err) < 0 ||
        (!starts && start_again(s, m, runs, report, err) < 0) ||
        (starts && start_add(s, m, runs, &report->start, err) < 0))
        return half_way(s, m, err);
    return 0;
}

/* Under the lock in the cluster. */
static int bring(struct session *s, const struct encryption_config *runs,
                 struct encrypt_report *report, bool *flagless, struct error *err)
{
    struct member *model = first_with_file(s);
    /* Durable before they leave this machine: the keys of a configuration that RKE made. */
    journal_add_config_keys(s->journal, runs);
    if (journal_write(s->journal, s->state, err) < 0)
        return -1;
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        if (!m->joins)
            continue;
        if (lack_of(m) == LACKS_FLAG) {
            *flagless = true;
            continue;
        }
        if (bring_one(s, m, model, runs, report, err) < 0)
            return -1;
    }
    return journal_write(s->journal, s->state, err);
}

/* What lies there may be put over. */
static int check_file(struct session *s, const struct member *m,
                      const struct encryption_config *runs, struct error *err)
{
    struct encryption_config *lies CLEANUP(cleanup_encryption_config) = NULL;
    struct error unread CLEANUP(error_clear) = {0};
    if (lack_of(m) != LACKS_FLAG)
        return start_check_file(s, m, runs, err);
    /* The planner asks no history: but for what is meant for it, no file may be there. */
    if (!m->file_missing &&
        encryption_config_read(buf_str(&m->file), m->file.len, m->config_path, ENCRYPTION_LENIENT,
                               &lies, &unread) == 0 &&
        encryption_config_equal(lies, runs))
        return 0;
    return check_no_stray_file(m, err);
}

static int check(struct session *s, const struct encryption_config *runs, struct error *err)
{
    if (check_flagless(s, runs, err) < 0 || preflight_cluster(s, err) < 0 ||
        state_agrees(s, runs, err) < 0)
        return -1;
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        if (m->joins && (m->node.driver->check_place(&m->node, m->config_path, err) < 0 ||
                         join_check_cluster(s, m, lack_of(m) == LACKS_FLAG, err) < 0 ||
                         check_file(s, m, runs, err) < 0))
            return error_wrap(err, "node %s", m->node.name);
    }
    tell(s, ENCRYPT_STEP, "check", NULL,
         "a node joins: can what the others have read everything that is stored");
    return kms_check(s, NULL, runs, err) < 0 ? -1 : preflight_store(s, runs, runs, err);
}

/* Only nodes that join are given a file. */
static int rehearse_joining(struct session *s, struct error *err)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->members[i].joins && rehearse(&s->members[i], err) < 0)
            return -1;
    return 0;
}

/* Nothing is encrypted: a node that comes needs nothing of us. */
static int join_plain(struct session *s, struct encrypt_report *report, struct error *err)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->members[i].joins && start_add(s, &s->members[i], NULL, &report->start, err) < 0)
            return -1;
    report->nothing_to_do = true;
    return 0;
}

int join_nodes(struct session *s, const struct encryption_config *runs,
               struct encrypt_report *report, struct error *err)
{
    bool flagless = false;
    if (!runs || !runs->item_count)
        return join_plain(s, report, err);
    if (check(s, runs, err) < 0 || session_check_stop(s, err) < 0 || take_lease(s, err) < 0)
        return -1;
    int rc = check_unchanged(s, err) < 0 || stamp_check(s, err) < 0 ||
                     rehearse_joining(s, err) < 0 || settle_all(s, err) < 0
                 ? -1
                 : bring(s, runs, report, &flagless, err);
    if (rc == 0 && flagless && !report->start.node_count)
        return bring_flagless(s, runs, report, err);
    if (rc == 0 && flagless)
        tell(s, ENCRYPT_WARNING, NULL, NULL,
             "a kube-apiserver runs without the configuration: `encrypt up` brings it there once "
             "the others are started");
    give_lease_back(s);
    return rc;
}

#include "provisioner/cluster_state.h"
#include "provisioner/explain.h"
#include "provisioner/kms.h"
#include "provisioner/run.h"
#include "provisioner/stamp.h"
#include "provisioner/start.h"

#include <string.h>

static const char *step_text(enum form f, bool back)
{
    if (back && f == FORM_SWITCH)
        return "every apiserver writes the configuration before, and still reads the other";
    if (back && f == FORM_TO)
        return "every apiserver gets the configuration before, alone";
    switch (f) {
    case FORM_FROM:
        return "back to the configuration before";
    case FORM_WIDEN:
        return "every apiserver learns to read the new form, and writes the old one";
    case FORM_SWITCH:
        return "every apiserver writes the new form, and still reads the old one";
    case FORM_TO:
        return "proved: nothing stored needs the old form, every apiserver gives it up";
    }
    return "";
}

static void begin(struct run *r, enum form f)
{
    if (r->step == (int)f)
        return;
    r->step = (int)f;
    tell(r->s, ENCRYPT_STEP, form_name(f), NULL, "%s",
         step_text(f, r->s->journal->transition->aborting));
}

/* Durable with the intent, before the first file or restart that can write the new form. */
static void note_switch(struct run *r, enum form f)
{
    if ((f == FORM_SWITCH || f == FORM_TO) && !r->facts.back)
        r->facts.switched = r->s->journal->transition->switched = true;
}

/* With the stamp of this generation before it, where that isn't there yet. */
static int put_stamped(struct run *r, struct member *m, enum form f, struct error *err)
{
    char *path CLEANUP(cleanup_mem) = stamp_path(m);
    struct buf text CLEANUP(buf_free) = {0};
    stamp_write(r->s->journal, r->s->who, &text);
    struct node_text file = {m->config_path, r->text[f], strlen(r->text[f])};
    struct node_text stamp = {path, buf_str(&text), text.len};
    if (m->node.driver->put_file(&m->node, &file, m->stamped ? NULL : &stamp, err) < 0)
        return -1;
    m->stamped = true;
    r->put_at[m - r->s->members] = loop_now();
    return 0;
}

static int put(struct run *r, struct member *m, enum form f, struct error *err)
{
    struct node_record *n = journal_node(r->s->journal, m->node.name);
    if (put_stamped(r, m, f, err) < 0 || member_observe(m, err) < 0)
        return error_wrap(err, "putting %s (%s) on node %s", m->config_path, form_name(f),
                          m->node.name);
    if (!str_eq(m->file_sha256, r->sha256[f]))
        return error_set(err, RESULT_STOPPED,
                         "node %s: %s was written and reads back as something else: another "
                         "writer is at work there",
                         m->node.name, m->config_path);
    node_record_placed(n, m->file_sha256, m->seen.process ? m->seen.process : START_NO_PROCESS);
    return 0;
}

/* A snapshot of etcd that is taken from here on may hold values in the new form: RKE's copy of the
 * state in it must have the keys of both. After run_record(). */
static void copy_state(struct run *r, enum form f)
{
    /* While what runs writes plain, the copy would lie there plain, with the key in it. */
    char *written CLEANUP(cleanup_mem) =
        encryption_write_prefix(r->forms.config[FORM_WIDEN], "secrets");
    if (f != FORM_SWITCH || r->copied || !written[0])
        return;
    r->copied = true;
    cluster_state_refresh(r->s);
}

int rollout_put(struct run *r, enum form f, uint64_t nodes, struct error *err)
{
    struct session *s = r->s;
    begin(r, f);
    if (check_lease(s, err) < 0)
        return -1;
    /* The lock was gone: whether the proof still holds is asked before anything is put. */
    if (s->store_doubtful)
        return 0;
    note_switch(r, f);
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        struct node_record *n = journal_node(s->journal, m->node.name);
        if (!(nodes >> i & 1))
            continue;
        /* (By hand no restart is intended.) */
        node_record_intend(n, r->facts.by_hand ? NULL : form_name(f), m->seen.process);
        node_record_path(n, m->config_path);
        /* Of the file that goes: what started since must not be taken to have read the new one. */
        node_record_placed(n, NULL, NULL);
        /* From now on the process is no evidence: it may take up what comes. */
        if (m->seen.automatic_reload)
            node_record_runs(n, NULL, NULL);
    }
    /* The state's strings are the union, and durable, before the first file: see run_record(). */
    if (run_record(r, err) < 0)
        return -1;
    copy_state(r, f);
    record_early(r, f);
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        if (!(nodes >> i & 1))
            continue;
        if (put(r, m, f, err) < 0) {
            /* What lies on the nodes before this one is to be told by the next run. */
            struct error second CLEANUP(error_clear) = {0};
            if (run_record(r, &second) < 0)
                tell(s, ENCRYPT_DEBUG, NULL, NULL, "%s", second.message);
            return -1;
        }
        tell(s, ENCRYPT_NODE, form_name(f), m->node.name, "configuration put");
    }
    return run_record(r, err);
}

/* The file was read back while this process ran: one that comes after it has read the same, as long
 * as that lies there. */
static void record_shown(struct run *r, struct member *m)
{
    struct node_record *n = journal_node(r->s->journal, m->node.name);
    node_record_runs(n, m->seen.config_path ? m->file_sha256 : "none", m->seen.process);
    node_record_placed(n, m->seen.config_path ? m->file_sha256 : NULL, m->seen.process);
}

/* It has the flag, and the file is still the one meant. */
static int show_file(struct run *r, struct member *m, enum form f, struct error *err)
{
    if ((r->text[f] != NULL) != (m->seen.config_path != NULL))
        return error_set(err, RESULT_FAILED, "node %s: kube-apiserver runs %s the flag",
                         m->node.name, m->seen.config_path ? "with" : "without");
    if (r->text[f] && !(run_file_forms(r, m) & FORM_BIT(f)))
        return error_set(err, RESULT_FAILED, "node %s: %s is not the file that was put there",
                         m->node.name, m->config_path);
    if (m->seen.doubt)
        return error_set(err, RESULT_FAILED, "node %s: %s", m->node.name, m->seen.doubt);
    record_shown(r, m);
    return 0;
}

/* The new process is ready, and is another than before. */
static int show(struct run *r, struct member *m, enum form f, const char *before, struct error *err)
{
    if (member_observe(m, err) < 0)
        return -1;
    if (!m->seen.process || str_eq(m->seen.process, before))
        return error_set(err, RESULT_FAILED,
                         "node %s: kube-apiserver is still the process of before", m->node.name);
    return show_file(r, m, f, err);
}

static const int64_t default_timeout_ms = (int64_t)5 * 60 * 1000;

static int64_t ready_timeout(const struct session *s)
{
    return s->options->timeout_ms ? s->options->timeout_ms : default_timeout_ms;
}

/* `binds` is to be freed. */
static struct apiserver_want want_of(const struct run *r, const struct member *m, enum form f,
                                     char ***binds)
{
    *binds = session_binds(r->s, r->forms.config[f]);
    return (struct apiserver_want){r->text[f] ? m->config_path : NULL, *binds};
}

/* Until the API answers and the process that answers has been looked at twice, before and after. */
static int bring_up(struct run *r, struct member *m, enum form f, const char *before,
                    struct error *err)
{
    char **binds CLEANUP(cleanup_mem) = NULL;
    struct apiserver_want want = want_of(r, m, f, &binds);
    if (m->node.driver->start(&m->node, &want, before, err) < 0)
        return error_wrap(err, "node %s: starting kube-apiserver", m->node.name);
    if (member_wait_ready(r->s, m, ready_timeout(r->s), err) < 0)
        return -1;
    return show(r, m, f, before, err);
}

/* What came of it, after what was the cause. */
static void add_line(struct error *err, const char *text)
{
    size_t len = strlen(err->message);
    bool ended = len && err->message[len - 1] == '\n';
    char *whole = mem_printf("%s%s%s", err->message, ended ? "" : "\n", text);
    mem_free(err->message);
    err->message = whole;
}

void rollout_add_log(struct member *m, struct error *err)
{
    struct buf log CLEANUP(buf_free) = {0};
    struct error e CLEANUP(error_clear) = {0};
    if (m->node.driver->log_tail(&m->node, 8, &log, &e) < 0 || log.len == 0)
        return;
    while (log.len && log.data[log.len - 1] == '\n')
        log.data[--log.len] = '\0';
    char *lines CLEANUP(cleanup_mem) = mem_printf("its last log lines:\n%s", buf_str(&log));
    add_line(err, lines);
    const struct log_meaning *meaning = log_meaning(buf_str(&log));
    char *means CLEANUP(cleanup_mem) =
        meaning ? mem_printf("this means: %s; %s", meaning->means, meaning->todo) : NULL;
    if (means)
        add_line(err, means);
}

static int also_failed(struct error *err, const struct error *second)
{
    char *text CLEANUP(cleanup_mem) = mem_printf("and going back failed: %s", second->message);
    add_line(err, text);
    err->result = RESULT_STOPPED;
    return -1;
}

/* The file of the form that is gone back to, unless somebody else's lies there: it may hold keys
 * that are nowhere else. */
static int put_back(struct run *r, struct member *m, enum form f, struct error *err)
{
    struct session *s = r->s;
    struct error e CLEANUP(error_clear) = {0};
    if (check_lease(s, &e) < 0) {
        /* Held by another now: what lies there is theirs. Any other failure is none of this node's.
         */
        if (e.result != RESULT_FAILED)
            return error_move(err, &e);
        tell(s, ENCRYPT_WARNING, form_name(f), m->node.name, "%s", e.message);
        error_clear(&e);
    }
    if (member_observe(m, err) < 0)
        return -1;
    if (!m->file_missing && !run_file_forms(r, m))
        return error_set(err, RESULT_STOPPED,
                         "node %s: %s is none of this transition's: somebody else put it there",
                         m->node.name, m->config_path);
    if (m->seen.automatic_reload) {
        node_record_runs(journal_node(s->journal, m->node.name), NULL, NULL);
        /* (Where that can't be written, it is told by the file's hash, or by a restart.) */
        if (run_record(r, &e) < 0)
            tell(s, ENCRYPT_WARNING, form_name(f), m->node.name, "%s", e.message);
    }
    /* The intent stays what failed: a run that is killed in here goes back again, from the start.
     */
    return r->text[f] ? put(r, m, f, err) : 0;
}

/* The file is back already. */
static int go_back(struct run *r, struct member *m, enum form f, struct error *err)
{
    char **binds CLEANUP(cleanup_mem) = NULL;
    struct apiserver_want want = want_of(r, m, f, &binds);
    struct error e CLEANUP(error_clear) = {0};
    if (m->node.driver->go_back(&m->node, &want, &e) == 0)
        return 0;
    if (!binds || e.result != RESULT_REFUSED)
        return error_move(err, &e);
    /* What served before did so without them. */
    want.binds = NULL;
    return m->node.driver->go_back(&m->node, &want, err);
}

/* By hand a file was put on all nodes: what failed on one lies on the others still. */
static void tell_where_it_lies(struct run *r, const struct member *m, enum form failed,
                               struct error *err)
{
    struct session *s = r->s;
    struct buf names CLEANUP(buf_free) = {0};
    for (size_t i = 0; i < s->count; i++)
        if (&s->members[i] != m && (r->nodes[i].file & FORM_BIT(failed)) &&
            !(r->nodes[i].runs & FORM_BIT(failed)))
            buf_printf(&names, "%s%s", names.len ? ", " : "", s->members[i].node.name);
    if (!names.len)
        return;
    bool may_go_back = !r->facts.narrowing && !r->facts.back;
    char *line CLEANUP(cleanup_mem) = mem_printf(
        "the file that failed lies on %s too: restart no kube-apiserver there%s", buf_str(&names),
        may_go_back ? "; `encrypt abort` puts the one before back" : " before the cause is mended");
    add_line(err, line);
}

/* The failed node alone gets the last good form back (safety rule 10); the others never saw the
 * file. `before`: the process that ran before the restart, NULL where that isn't known. */
static int take_back(struct run *r, struct member *m, enum form failed, const char *before,
                     struct error *err)
{
    struct session *s = r->s;
    enum form f = plan_rollback(&r->forms, r->nodes, s->count, r->facts, failed);
    struct error e CLEANUP(error_clear) = {0};
    tell_where_it_lies(r, m, failed, err);
    /* Until it is shown again. */
    r->nodes[m - s->members].runs = 0;
    char *came CLEANUP(cleanup_mem) = NULL;
    if (f == failed) {
        came = mem_printf("%s: there is nothing to go back to that reads all that may be stored",
                          form_name(failed));
        add_line(err, came);
        return -1;
    }
    tell(s, ENCRYPT_WARNING, form_name(failed), m->node.name,
         "%s; going back to the last good configuration",
         m->seen.automatic_reload ? "the file did not come into force" : "the restart failed");
    if (put_back(r, m, f, &e) < 0)
        return also_failed(err, &e);
    err->result = RESULT_STOPPED;
    if (member_ask_reload(m, &e) < 0)
        return also_failed(err, &e);
    bool reloads = rollout_reloads(r, m, f);
    if (reloads && (rollout_await_reload(r, m, f, true, &e) < 0 || show_file(r, m, f, &e) < 0))
        return also_failed(err, &e);
    if (before && str_eq(m->seen.process, before) && !m->seen.automatic_reload) {
        /* It was never ended: what failed came before that. */
        came = mem_printf("%s: node %s still runs what it ran%s%s", form_name(failed), m->node.name,
                          m->seen.doubt ? ", and its next kube-apiserver would be another: " : "",
                          m->seen.doubt ? m->seen.doubt : "");
        add_line(err, came);
        return -1;
    }
    if (!reloads &&
        (go_back(r, m, f, &e) < 0 || member_wait_ready(s, m, default_timeout_ms, &e) < 0 ||
         show(r, m, f, NULL, &e) < 0))
        return also_failed(err, &e);
    if (m->node.driver->settle(&m->node, &e) < 0)
        return also_failed(err, &e);
    r->nodes[m - s->members].runs = FORM_BIT(f);
    /* The keys of this form were durable before: a state that can't be written now takes nothing
     * away. */
    if (run_record(r, &e) < 0)
        return also_failed(err, &e);
    came = mem_printf(reloads ? "%s: taken back on node %s, where the file before is in force; no "
                                "apiserver was restarted"
                              : "%s: taken back on node %s, which serves again; no apiserver after "
                                "it was touched",
                      form_name(failed), m->node.name);
    add_line(err, came);
    return -1;
}

/* What was meant for the node when the last run ended, else what lies on it. */
static enum form meant(struct run *r, const struct member *m, size_t node)
{
    const struct node_record *n = journal_node(r->s->journal, m->node.name);
    for (int f = FORM_COUNT - 1; f >= 0; f--) {
        if (str_eq(n->intent_form, form_name((enum form)f)))
            return (enum form)f;
    }
    for (int f = FORM_COUNT - 1; f >= 0; f--) {
        if (r->nodes[node].file & FORM_BIT(f))
            return (enum form)f;
    }
    return FORM_FROM;
}

int rollout_confirm(struct run *r, size_t node, struct error *err)
{
    struct session *s = r->s;
    struct member *m = &s->members[node];
    enum form f = meant(r, m, node);
    tell(s, ENCRYPT_NODE, form_name(f), m->node.name, "%s: waiting until it is ready",
         r->placed >> node & 1 ? "started anew since it was last seen"
                               : "left in the middle by the last run");
    if (bring_back(s, m, err) < 0 || member_wait_ready(s, m, ready_timeout(s), err) < 0) {
        if (err->result == RESULT_INTERRUPTED || ssh_dead(m->node.ssh))
            return -1;
        rollout_add_log(m, err);
        if (!r->facts.by_hand)
            return take_back(r, m, f, NULL, err);
        /* Going back is somebody else's too. */
        tell_where_it_lies(r, m, f, err);
        return -1;
    }
    /* What it runs is asked of the same evidence again: it may be another process by now. */
    if (run_observe(r, err) < 0)
        return -1;
    /* A left-over helper says nothing of the process: that one's record stands as it is. */
    if (r->placed >> node & 1)
        record_shown(r, m);
    if (m->node.driver->settle(&m->node, err) < 0)
        return error_wrap(err, "node %s: removing what an interrupted run left", m->node.name);
    r->switched_at = loop_now();
    return run_record(r, err);
}

int bring_back(struct session *s, struct member *m, struct error *err)
{
    if (!m->seen.exists || m->seen.running)
        return 0;
    tell(s, ENCRYPT_NODE, "check", m->node.name, "kube-apiserver is down: starting it again");
    /* A run that was killed may have put a file that wants a bind, and not yet the bind. */
    struct encryption_config *lies CLEANUP(cleanup_encryption_config) = NULL;
    struct error unread CLEANUP(error_clear) = {0};
    if (m->seen.config_path && !m->file_missing &&
        encryption_config_read(buf_str(&m->file), m->file.len, m->config_path, ENCRYPTION_LENIENT,
                               &lies, &unread) < 0)
        tell(s, ENCRYPT_DEBUG, "check", m->node.name, "%s", unread.message);
    char **binds CLEANUP(cleanup_mem) = session_binds(s, lies);
    struct apiserver_want want = {m->seen.config_path, binds};
    if (m->node.driver->start(&m->node, &want, "", err) < 0)
        return error_wrap(err, "node %s: starting kube-apiserver again", m->node.name);
    return member_observe(m, err);
}

/* One apiserver at a time may be down: all others answer before this one is touched. */
static int others_ready(struct run *r, struct member *m, struct error *err)
{
    struct session *s = r->s;
    bool ready = false;
    if (kube_ready(&m->node.api, &ready, NULL, err) < 0)
        return -1;
    /* One that is down already makes it no worse; what it gets may be what it needs. */
    for (size_t i = 0; ready && i < s->count; i++) {
        struct member *other = &s->members[i];
        if (other != m && member_wait_ready(s, other, 60000, err) < 0)
            return error_wrap(err, "before restarting kube-apiserver on node %s", m->node.name);
    }
    return 0;
}

int rollout_restart(struct run *r, enum form f, size_t node, struct error *err)
{
    struct session *s = r->s;
    struct member *m = &s->members[node];
    begin(r, f);
    if (others_ready(r, m, err) < 0 || check_lease(s, err) < 0)
        return -1;
    if (s->store_doubtful)
        return 0;
    char *before CLEANUP(cleanup_mem) = mem_strdup(m->seen.process);
    struct node_record *n = journal_node(s->journal, m->node.name);
    if (r->text[f] && !str_eq(n->placed.sha256, m->file_sha256)) {
        /* Lies there already, from before or from a killed run: what starts from now on reads it.
         */
        node_record_placed(n, m->file_sha256, m->seen.process);
    }
    note_switch(r, f);
    node_record_intend(n, form_name(f), before);
    node_record_path(n, m->config_path);
    if (run_record(r, err) < 0)
        return -1;
    copy_state(r, f);
    record_early(r, f);
    if (stamp_put(s, m, err) < 0)
        return -1;
    int64_t began = loop_now();
    bool reloads = rollout_reloads(r, m, f);
    if (!reloads)
        tell(s, ENCRYPT_NODE, form_name(f), m->node.name, "kube-apiserver is being restarted");
    int rc = !reloads                                        ? bring_up(r, m, f, before, err)
             : rollout_await_reload(r, m, f, false, err) < 0 ? -1
                                                             : show_file(r, m, f, err);
    if (rc < 0) {
        if (err->result == RESULT_INTERRUPTED || ssh_dead(m->node.ssh))
            return -1;
        rollout_add_log(m, err);
        return take_back(r, m, f, before, err);
    }
    if (m->node.driver->settle(&m->node, err) < 0)
        return error_wrap(err, "node %s: removing what the restart left", m->node.name);
    r->switched_at = loop_now();
    tell(s, ENCRYPT_NODE, form_name(f), m->node.name, "%s, after %.1f s",
         reloads ? "shown to run it, without a restart" : "ready and shown to run it",
         (double)(loop_now() - began) / 1000);
    return run_observe(r, err) < 0 ? -1 : run_record(r, err);
}

int rollout_remove(struct run *r, uint64_t nodes, struct error *err)
{
    struct session *s = r->s;
    begin(r, FORM_TO);
    if (check_lease(s, err) < 0)
        return -1;
    if (s->store_doubtful)
        return 0;
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        if (!(nodes >> i & 1))
            continue;
        if (stamp_put(s, m, err) < 0 ||
            m->node.driver->remove_file(&m->node, m->config_path, err) < 0)
            return error_wrap(err, "node %s: removing %s", m->node.name, m->config_path);
        tell(s, ENCRYPT_NODE, "narrow", m->node.name, "file removed");
    }
    return 0;
}

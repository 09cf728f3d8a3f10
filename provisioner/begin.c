/* How a transition is opened: what is checked first, and what is said where it could not be. */
#include "provisioner/kms.h"
#include "provisioner/run.h"
#include "provisioner/stamp.h"
#include "provisioner/target.h"

#include <string.h>

/* What runs is assumed from what lies on the nodes, once, when a transition begins; the check of
 * the store has shown that nothing is stored that it couldn't read. */
void record_what_runs(struct session *s, const struct encryption_config *from,
                      const struct encryption_config *to)
{
    struct encryption_config *switched CLEANUP(cleanup_encryption_config) = NULL;
    struct error ignored CLEANUP(error_clear) = {0};
    /* A rotation that somebody else left in the middle: the files may be newer than the processes.
     */
    if (encryption_config_union(to, from, &switched, &ignored) < 0 ||
        (switched && switched->item_count && encryption_config_equal(switched, from)))
        return;
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        struct node_record *n = journal_node(s->journal, m->node.name);
        /* One that takes files up by itself and doesn't tell may be about to, or fail to. */
        if (m->seen.automatic_reload && m->seen.config_path && !m->reload.told)
            continue;
        node_record_runs(n, m->seen.config_path ? m->file_sha256 : "none", m->seen.process);
    }
}

int check_no_stray_file(const struct member *m, struct error *err)
{
    if (m->file_missing || m->seen.config_path)
        return 0;
    error_set(err, RESULT_REFUSED,
              "node %s: %s is there, and its kube-apiserver is not told to read it: it may hold "
              "a key that is nowhere else",
              m->node.name, m->config_path);
    error_next(err, "on node %s: mv %s %s.old    (0600; keep it), then run the same command",
               m->node.name, m->config_path, m->config_path);
    return -1;
}

/* What was judged before the lock in the cluster was had is still so. */
int check_unchanged(struct session *s, struct error *err)
{
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        char file[65];
        memcpy(file, m->file_sha256, sizeof(file));
        char *process CLEANUP(cleanup_mem) = mem_strdup(m->seen.process);
        if (member_observe(m, err) < 0)
            return -1;
        /* (An apiserver that can't start yet is restarted again and again.) */
        if (!str_eq(file, m->file_sha256) || (!m->joins && !str_eq(process, m->seen.process)))
            return error_set(
                err, RESULT_REFUSED,
                "node %s: its configuration or its kube-apiserver changed while it was "
                "being looked at: another operator is at work",
                m->node.name);
    }
    return 0;
}

int rehearse(struct member *m, struct error *err)
{
    if (!m->node.driver->rehearse || m->node.driver->rehearse(&m->node, m->config_path, err) == 0)
        return 0;
    error_next(err, "mend that on node %s, then run the same command again", m->node.name);
    return -1;
}

static int rehearse_all(struct session *s, struct error *err)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->members[i].seen.exists && rehearse(&s->members[i], err) < 0)
            return -1;
    return 0;
}

int settle_all(struct session *s, struct error *err)
{
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        if (m->seen.unsettled && m->node.driver->settle(&m->node, err) < 0)
            return error_wrap(err, "node %s: removing what an earlier run left", m->node.name);
        if (m->seen.next_start)
            tell(s, ENCRYPT_WARNING, "check", m->node.name,
                 "%s. Mended: its next start has what it has now", m->seen.next_start);
    }
    return 0;
}

int settle_next_starts(struct session *s, struct error *err)
{
    bool any = false;
    for (size_t i = 0; i < s->count; i++)
        any = any || s->members[i].seen.next_start;
    if (!any)
        return 0;
    if (take_lease(s, err) < 0)
        return -1;
    int rc = check_unchanged(s, err) < 0 || stamp_check(s, err) < 0 ? -1 : settle_all(s, err);
    give_lease_back(s);
    return rc;
}

/* Whether a write of the journal that failed has left the transition open on disk all the same. */
static bool is_recorded(const struct session *s)
{
    struct error ignored CLEANUP(error_clear) = {0};
    struct rkestate *state CLEANUP(cleanup_rkestate) = NULL;
    struct journal *journal CLEANUP(cleanup_journal) = NULL;
    /* (A state file may not have been there before: the journal beside it is written first.) */
    if (rkestate_read(s->state_path, &state, &ignored) < 0 || (!state && !s->state_missing) ||
        journal_read(state, s->state_path, &journal, &ignored) < 0)
        return true;
    return journal && journal->transition;
}

/* What the nodes' own files refuse is refused before anything is changed: with the flag, which
 * every change has on its way, and without it where that is its end, from which there is no way
 * back. */
static int check_starts(struct session *s, const struct encryption_config *to, struct error *err)
{
    bool flag = to && to->item_count;
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        const struct driver *d = m->node.driver;
        char **binds CLEANUP(cleanup_mem) = flag ? session_binds(s, to) : NULL;
        const struct apiserver_want with = {m->config_path, binds};
        const struct apiserver_want without = {NULL, NULL};
        if (!d->check_start || !m->seen.exists)
            continue;
        if (d->check_start(&m->node, &with, err) < 0 ||
            (!flag && d->check_start(&m->node, &without, err) < 0)) {
            error_next(err, "mend that on node %s, then run the same command again", m->node.name);
            return -1;
        }
    }
    return 0;
}

int transition_check(struct session *s, const struct encryption_config *from,
                     const struct encryption_config *to, struct error *err)
{
    struct forms forms = {0};
    if (forms_make(from, to, &forms, err) < 0)
        return -1;
    forms_free(&forms);
    tell(s, ENCRYPT_STEP, "check", NULL, "can every value that is stored be read, is there room");
    if (preflight_cluster(s, err) < 0 || preflight_version(s, to, err) < 0 ||
        check_starts(s, to, err) < 0 || reload_check_can_go(s, to, err) < 0 ||
        state_agrees(s, from, err) < 0 || kms_check(s, from, to, err) < 0 ||
        preflight_store(s, from, to, err) < 0)
        return -1;
    for (size_t i = 0; i < s->count; i++)
        if (check_no_stray_file(&s->members[i], err) < 0)
            return -1;
    return 0;
}

void explain_not_begun(struct session *s, const char *why, enum stage_command command,
                       struct error *err)
{
    if (err->result != RESULT_REFUSED && err->result != RESULT_FAILED)
        return;
    if (is_recorded(s)) {
        char *again CLEANUP(cleanup_mem) =
            command ? run_stage_line(command, s->options) : run_command_line("resume", s->options);
        err->result = RESULT_STOPPED;
        error_state(err, "%s is recorded; nothing on the nodes was changed", why);
        error_next(err, "%s", again);
        return;
    }
    error_state(err, "nothing was changed");
    error_next(err, "mend that, then run the same command again");
    give_lease_back(s);
}

int transition_begin(struct session *s, const struct target *target,
                     const struct encryption_config *from, enum stage_command command,
                     struct encrypt_report *report, struct error *err)
{
    const struct encryption_config *to = target->to;
    if (transition_check(s, from, to, err) < 0 || session_check_stop(s, err) < 0 ||
        take_lease(s, err) < 0)
        return -1;
    if (check_unchanged(s, err) < 0 || stamp_check(s, err) < 0 || rehearse_all(s, err) < 0 ||
        settle_all(s, err) < 0) {
        give_lease_back(s);
        return -1;
    }
    const char **names CLEANUP(cleanup_mem) = mem_alloc(s->count + 1, sizeof(char *));
    for (size_t i = 0; i < s->count; i++)
        names[i] = s->members[i].node.name;
    journal_keep_nodes(s->journal, names);
    journal_open(s->journal, target->why, from, to, target->custom);
    for (size_t i = 0; i < s->count; i++)
        node_record_path(journal_node(s->journal, names[i]), s->members[i].config_path);
    record_what_runs(s, from, to);
    if (run_transition(s, BEGIN_OPENED, command, report, err) == 0)
        return 0;
    /* Refused, or not recorded: then it is as if it had never been opened, here and on the nodes.
     */
    explain_not_begun(s, target->why, command, err);
    return -1;
}

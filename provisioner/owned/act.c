/* Their servers' restarts, and the lock. */
#include "provisioner/kube/lease.h"
#include "provisioner/owned/owned.h"
#include "provisioner/run.h"

#include <string.h>

enum {
    READY_MS = 300000, /* a server's restart, where --timeout does not say */
    POD_MS = 45000,    /* the kubelet takes up a changed manifest */
    LISTEN_MS = 60000, /* an active server that doesn't tell its state */
    POLL_MS = 1000,
};

static int64_t patience(const struct owned_run *r)
{
    return r->s->options->timeout_ms ? r->s->options->timeout_ms : READY_MS;
}

int owned_pause(struct owned_run *r, int64_t ms, struct error *err)
{
    return session_check_stop(r->s, err) < 0 || loop_pause(r->s->loop, ms, err) < 0 ? -1 : 0;
}

void owned_add_log(struct member *m, struct error *err)
{
    struct buf lines CLEANUP(buf_free) = {0};
    struct error ignored CLEANUP(error_clear) = {0};
    if (m->node.driver->log_tail(&m->node, 10, &lines, &ignored) < 0 || !lines.len)
        return;
    char *message CLEANUP(cleanup_mem) = mem_strdup(err->message);
    mem_free(err->message);
    err->message = mem_printf("%s; its log's last lines:\n%s", message, buf_str(&lines));
}

int owned_record(struct owned_run *r, struct error *err)
{
    if (journal_write(r->s->journal, r->s->state, err) < 0)
        return -1;
    r->unrecorded = false;
    return 0;
}

int owned_hold_lock(struct owned_run *r, struct error *err)
{
    struct session *s = r->s;
    bool gone = false;
    const struct http_server *api = NULL;
    struct error e CLEANUP(error_clear) = {0};
    if (session_ready_api(s, &api, &e) < 0) {
        if (e.result != RESULT_FAILED)
            return error_move(err, &e);
        tell(s, ENCRYPT_DEBUG, NULL, NULL, "the lock in the cluster can't be looked at: %s",
             e.message);
        return 0;
    }
    if (!s->lease_held)
        return take_lease(s, err) < 0 ? -1 : preflight_addresses(s, err);
    if (lease_check(api, s->lease_owner, &gone, err) == 0)
        return 0;
    return gone ? error_set(err, RESULT_STOPPED,
                            "the lock in the cluster (Lease kube-system/encrypt) was removed while "
                            "this ran: who did so may be at work on the same")
                : -1;
}

/* --- restarts --- */

static int ask_to_restart(struct owned_run *r, size_t i, struct error *err)
{
    static const char script[] = "as_root systemctl restart --no-block \"$1\"";
    const char *args[] = {r->kind->unit, NULL};
    char *what CLEANUP(cleanup_mem) = mem_printf("restarting %s", r->kind->unit);
    return host_do(owned_host(&r->s->members[i].node), what, script, args, NULL, NULL, err);
}

static int give_up(struct owned_run *r, size_t i, const char *why, struct error *err)
{
    struct member *m = &r->s->members[i];
    error_set(err, RESULT_STOPPED, "node %s: %s does not come back: %s", m->node.name,
              r->kind->unit, why);
    owned_add_log(m, err);
    error_next(err, "see to it on that node (journalctl -u %s), then: %s", r->kind->unit, r->again);
    return -1;
}

/* Until its unit has started anew and is active: that is when `systemctl restart` returns. */
static int wait_for_unit(struct owned_run *r, size_t i, const char *before, int64_t until,
                         struct error *err)
{
    enum { TOO_MANY = 4 };
    struct owned_seen *seen = &r->seen[i];
    char *tried CLEANUP(cleanup_mem) = mem_strdup(seen->tried);
    for (int starts = 0;;) {
        if (owned_look_at(r, i, err) < 0)
            return -1;
        if (seen->active && seen->start && !str_eq(seen->start, before))
            return 0;
        if (!str_eq(tried, seen->tried)) {
            mem_free(tried);
            tried = mem_strdup(seen->tried);
            starts++;
        }
        if (str_eq(seen->unit, "failed") || starts >= TOO_MANY || loop_now() >= until) {
            char *why CLEANUP(cleanup_mem) = starts >= TOO_MANY
                                                 ? mem_strdup("it ends again and again")
                                                 : mem_printf("its unit is %s", seen->unit);
            return give_up(r, i, why, err);
        }
        if (owned_pause(r, POLL_MS, err) < 0)
            return -1;
    }
}

/* Until its command answers, and what lies there is what the leader has. */
static int wait_for_word(struct owned_run *r, size_t i, int64_t until, struct error *err)
{
    for (;;) {
        if (owned_look_at(r, i, err) < 0)
            return -1;
        owned_judge(r);
        if (r->servers[i].up && r->servers[i].same && r->s->members[i].seen.running)
            return 0;
        if (loop_now() >= until)
            return give_up(r, i,
                           !r->servers[i].up && r->seen[i].silence ? r->seen[i].silence
                           : !r->servers[i].same
                               ? "it did not take up the configuration of the first one"
                               : "its kube-apiserver does not run",
                           err);
        if (owned_pause(r, POLL_MS, err) < 0)
            return -1;
    }
}

/* rke2's static pod outlives the unit's restart, and the kubelet puts another in its place a while
 * after; or never, where the pod's own file has not changed (its newer versions leave that to
 * automatic reload). *shown: it is another process, or its metric tells that it has loaded what
 * lies there. */
static int wait_for_another(struct owned_run *r, size_t i, const char *process, int64_t ms,
                            bool *shown, struct error *err)
{
    struct member *m = &r->s->members[i];
    bool told = false;
    int64_t until = loop_now() + ms;
    for (;;) {
        if (owned_look_at(r, i, err) < 0 ||
            (m->seen.automatic_reload && owned_ask_reload(r, i, err) < 0))
            return -1;
        bool loaded =
            m->seen.automatic_reload && m->reload.told && str_eq(m->reload.sha256, m->file_sha256);
        *shown = m->seen.running && (loaded || !str_eq(m->seen.process, process));
        if (*shown || loop_now() >= until)
            return 0;
        if (!told)
            tell(r->s, ENCRYPT_NODE, "restart", m->node.name,
                 "its kube-apiserver is the process that it was: waiting for another");
        told = true;
        if (owned_pause(r, POLL_MS, err) < 0)
            return -1;
    }
}

/* The server was restarted, and may keep its pod: then the container is stopped. */
static int renew_pod(struct owned_run *r, size_t i, const char *process, bool container,
                     bool *shown, struct error *err)
{
    struct member *m = &r->s->members[i];
    char *why CLEANUP(cleanup_mem) = NULL;
    bool can_stop = r->kind->crictl && !container;
    if (wait_for_another(r, i, process, can_stop ? POD_MS : patience(r), shown, err) < 0)
        return -1;
    if (*shown || !can_stop)
        return 0;
    tell(r->s, ENCRYPT_NODE, "restart", m->node.name,
         "the server kept its pod: the container kube-apiserver is stopped, by crictl");
    if (session_check_stop(r->s, err) < 0 || owned_hold_lock(r, err) < 0 ||
        owned_stop_container(r, i, &why, err) < 0)
        return -1;
    if (why)
        tell(r->s, ENCRYPT_WARNING, "restart", m->node.name,
             "its container can't be stopped, so another is waited for: %s", why);
    return wait_for_another(r, i, process, patience(r), shown, err);
}

static int refuse_same_process(struct owned_run *r, size_t i, bool container, struct error *err)
{
    struct member *m = &r->s->members[i];
    error_set(err, RESULT_STOPPED,
              "node %s: %s was restarted, and its kube-apiserver is the same process as before: "
              "whether it runs what lies there can't be told",
              m->node.name, container ? "its container" : r->kind->unit);
    error_next(err,
               "on %s: crictl ps --name kube-apiserver, crictl stop its id (the kubelet starts "
               "another), then: %s",
               m->node.name, r->again);
    return -1;
}

/* Until its apiserver is ready, and the server says what it has. */
static int wait_for_server(struct owned_run *r, size_t i, struct error *err)
{
    struct session *s = r->s;
    struct member *m = &s->members[i];
    if (member_wait_ready(s, m, patience(r), err) == 0)
        return wait_for_word(r, i, loop_now() + patience(r), err);
    if (err->result == RESULT_FAILED)
        err->result = RESULT_STOPPED;
    owned_add_log(m, err);
    return -1;
}

/* On a single server the file lies there already, and the apiserver is all that has to be another.
 * What stuck half-way is taken back by the server's own restart alone. */
static int restart_container(struct owned_run *r, size_t i, bool *done, struct error *err)
{
    struct member *m = &r->s->members[i];
    enum stage stage = r->seen[i].status.stage;
    char *why CLEANUP(cleanup_mem) = NULL;
    *done = false;
    if (r->s->count > 1 || !r->kind->crictl || !r->s->journal->owned || !r->seen[i].active ||
        !m->seen.running || stage == STAGE_REENCRYPT_REQUEST || stage == STAGE_REENCRYPT_ACTIVE)
        return 0;
    tell(r->s, ENCRYPT_STEP, "restart", m->node.name, "the container kube-apiserver, by crictl");
    if (owned_stop_container(r, i, &why, err) < 0)
        return -1;
    *done = !why;
    if (why)
        tell(r->s, ENCRYPT_WARNING, "restart", m->node.name,
             "its container can't be stopped, so %s is restarted: %s", r->kind->unit, why);
    return 0;
}

/* (With nothing open, and the file as it was, nothing is to be shown: the server's own word was
 * wanted. rke2's static pod may live on.) */
bool owned_wants_another(bool open, const char *before, const char *after)
{
    return open || !str_eq(before, after);
}

int owned_restart(struct owned_run *r, size_t i, struct error *err)
{
    struct session *s = r->s;
    struct member *m = &s->members[i];
    int64_t until = loop_now() + patience(r);
    if (session_check_stop(s, err) < 0 || owned_hold_lock(r, err) < 0 ||
        owned_look_at(r, i, err) < 0)
        return -1;
    char *start CLEANUP(cleanup_mem) = mem_strdup(r->seen[i].start);
    char *process CLEANUP(cleanup_mem) = mem_strdup(m->seen.process);
    char *before CLEANUP(cleanup_mem) = mem_strdup(m->file_sha256);
    node_record_placed(journal_node(s->journal, m->node.name), m->file_sha256, process);
    if (owned_record(r, err) < 0)
        return -1;
    bool renewed = true, container = false;
    if (restart_container(r, i, &container, err) < 0)
        return -1;
    if (!container) {
        tell(s, ENCRYPT_STEP, "restart", m->node.name, "%s", r->kind->unit);
        if (ask_to_restart(r, i, err) < 0 || wait_for_unit(r, i, start, until, err) < 0 ||
            wait_for_server(r, i, err) < 0)
            return -1;
    }
    /* (One that was down, or stuck, may have left an apiserver that runs this file already.) */
    const struct node_record *n = journal_node(s->journal, m->node.name);
    bool shown = str_eq(n->runs.process, process) && str_eq(n->runs.sha256, m->file_sha256);
    bool wants = owned_wants_another(s->journal->owned != NULL, before, m->file_sha256);
    if (process && !shown && wants && (container || str_eq(process, m->seen.process)) &&
        (renew_pod(r, i, process, container, &renewed, err) < 0 ||
         (renewed && wait_for_server(r, i, err) < 0)))
        return -1;
    if (!renewed)
        return refuse_same_process(r, i, container, err);
    r->restarted_at = loop_now();
    if (wants || !str_eq(process, m->seen.process))
        node_record_runs(journal_node(s->journal, m->node.name), m->file_sha256, m->seen.process);
    if (s->journal->owned)
        s->journal->owned->stuck = false;
    if (owned_record(r, err) < 0)
        return -1;
    owned_judge(r);
    tell(s, ENCRYPT_NODE, "restart", m->node.name, "ready, stage %s",
         stage_name(r->servers[i].stage));
    return 0;
}

/* systemctl restart starts what is not active. */
int owned_start(struct owned_run *r, size_t i, struct error *err)
{
    const struct owned_seen *seen = &r->seen[i];
    if (seen->active)
        return 0;
    if (str_eq(seen->unit, "activating") || str_eq(seen->unit, "deactivating") ||
        str_eq(seen->unit, "reloading")) {
        tell(r->s, ENCRYPT_NODE, "restart", r->s->members[i].node.name, "%s is %s: waited for",
             r->kind->unit, seen->unit);
        return wait_for_unit(r, i, "", loop_now() + patience(r), err);
    }
    return owned_restart(r, i, err);
}

int owned_listen(struct owned_run *r, size_t i, struct error *err)
{
    struct member *m = &r->s->members[i];
    const struct owned_seen *seen = &r->seen[i];
    int64_t until = loop_now() + LISTEN_MS;
    tell(r->s, ENCRYPT_NODE, "check", m->node.name, "its server does not tell its state: %s",
         seen->silence);
    while (seen->active && !r->servers[i].up && loop_now() < until)
        if (owned_pause(r, POLL_MS, err) < 0 || owned_look(r, err) < 0)
            return -1;
    if (!seen->active || r->servers[i].up)
        return 0;
    error_set(err, RESULT_STOPPED,
              "node %s: %s is active, and does not tell its state: %s. It is not restarted: that "
              "could end what it is at",
              m->node.name, r->kind->unit, seen->silence);
    if (seen->remedy)
        error_next(err, "%s; then: %s", seen->remedy, r->again);
    else
        error_next(err,
                   "see to it on that node (%s secrets-encrypt status; journalctl -u %s), then: %s",
                   r->kind->program, r->kind->unit, r->again);
    owned_add_log(m, err);
    return -1;
}

/* The engine's commands: what the configuration should be, and the way there. */
#include "provisioner/config_file.h"
#include "provisioner/decide.h"
#include "provisioner/engine.h"
#include "provisioner/owned/owned.h"
#include "provisioner/run.h"
#include "provisioner/stamp.h"
#include "provisioner/start.h"

#include <stdio.h>
#include <string.h>

enum { START_AGAIN_MS = 60000, ANSWER_MS = 15000 };

void set_key_name(struct encrypt_report *report, const struct encryption_config *c)
{
    const struct encryption_key *k = encryption_active_key(c);
    char *prefix CLEANUP(cleanup_mem) = encryption_write_prefix(c, "secrets");
    static const char kms[] = "k8s:enc:kms:v1:"; /* v2 is as long */
    report->kms = encryption_writes_with(c, "secrets", PROVIDER_KMS);
    if (report->kms)
        snprintf(report->key, sizeof(report->key), "%.*s", (int)(strlen(prefix) - strlen(kms) - 1),
                 prefix + strlen(kms));
    else
        snprintf(report->key, sizeof(report->key), "%s", k ? k->name : "");
}

/* An apiserver answers; where none does, one may be about to: another run's restart. */
static bool some_api_answers(struct session *s, struct error *err)
{
    int64_t until = loop_now() + ANSWER_MS;
    const struct http_server *api = NULL;
    while (session_ready_api(s, &api, err) < 0) {
        if (err->result != RESULT_FAILED || loop_now() >= until)
            return false;
        error_clear(err);
        if (loop_pause(s->loop, 200, err) < 0)
            return false;
    }
    return true;
}

/* What an interrupted run left down is started again. */
static int bring_back_all(struct session *s, struct error *err)
{
    struct error e CLEANUP(error_clear) = {0};
    for (size_t i = 0; i < s->count; i++) {
        struct member *m = &s->members[i];
        bool down = m->seen.exists && !m->seen.running;
        if (down && (bring_back(s, m, &e) < 0 || member_wait_ready(s, m, START_AGAIN_MS, &e) < 0)) {
            /* The plan has a way for it: what failed is taken back. */
            if (e.result != RESULT_FAILED || ssh_dead(m->node.ssh))
                return error_move(err, &e);
            tell(s, ENCRYPT_WARNING, NULL, NULL, "%s", e.message);
            error_clear(&e);
        }
    }
    return 0;
}

static int go_on(struct session *s, bool aborts, enum stage_command command,
                 struct encrypt_report *report, struct error *err)
{
    const struct transition *t = s->journal->transition;
    struct error e CLEANUP(error_clear) = {0};
    bool turns = aborts && !t->aborting;
    report->resumed = true;
    if (aborts && decide_abort(s, err) < 0)
        return -1;
    if (session_is_initial(s) && (aborts || t->aborting))
        return initial_take_back(s, report, err);
    if (start_check_open(s, err) < 0)
        return -1;
    tell(s, command ? ENCRYPT_DEBUG : ENCRYPT_NOTE, NULL, NULL,
         "%s the open transition (%s) of %s by %s",
         turns         ? "taking back"
         : t->aborting ? "going on with taking back"
                       : "going on with",
         t->why, t->opened, t->by);
    set_key_name(report, turns || t->aborting ? t->from : t->to);
    bool nothing = false;
    if (command && run_check_turn(s, command, report, &nothing, err) < 0)
        return -1;
    if (nothing)
        return 0;
    if (!turns && initial_wait(s, err) < 0)
        return -1;
    if (some_api_answers(s, &e)) {
        if (take_lease(s, err) < 0 || preflight_addresses(s, err) < 0 || stamp_check(s, err) < 0)
            return -1;
    } else {
        /* Where no apiserver answers nobody else can take it either, and going on is what may
         * bring one up; it is taken when one answers. */
        if (e.result != RESULT_FAILED)
            return error_move(err, &e);
        tell(s, ENCRYPT_WARNING, NULL, NULL, "%s", e.message);
        error_clear(&e);
    }
    /* Taking back, what is down may be so for the very configuration that is taken back. */
    if (!(turns || t->aborting || (command && s->options->no_restart)) &&
        bring_back_all(s, err) < 0)
        return -1;
    if (run_transition(s, turns ? BEGIN_TURNED : BEGIN_RESUMED, command, report, err) < 0)
        return -1;
    return s->journal->transition ? 0 : config_follow(s, NULL, report, err);
}

static void refused(struct session *s, bool was_open, struct error *err)
{
    if (err->result != RESULT_REFUSED && err->result != RESULT_FAILED)
        return;
    if (was_open)
        error_state(err, "as the last run left it: %s is open", s->journal->transition->why);
    else
        error_state(err, "nothing was changed");
    error_next(err, "mend that, then run the same command again");
}

static int nothing_to_do(struct session *s, const struct encryption_config *running,
                         struct encrypt_report *report, struct error *err)
{
    report->nothing_to_do = true;
    if (state_agrees(s, running, err) < 0 || state_bring_up_to_date(s, running, err) < 0 ||
        settle_next_starts(s, err) < 0)
        return -1;
    return record_flags(s, running, err);
}

static int rotation(struct session *s, enum stage_command command, struct encrypt_report *report,
                    struct error *err)
{
    struct decision d CLEANUP(decision_free) = {0};
    if (decide_rotation(s, &d, err) < 0)
        return -1;
    set_key_name(report, d.target.to);
    if (d.target.kms)
        tell(
            s, ENCRYPT_NOTE, NULL, NULL,
            "with a KMS, the key is rotated there, by its own means, and before this: everything "
            "is "
            "now encrypted anew, under another name of the same provider, and so by the remote key "
            "that is in force there now");
    if (transition_begin(s, &d.target, d.from, command, report, err) < 0)
        return -1;
    return s->journal->transition ? 0 : config_follow(s, d.target.to, report, err);
}

static int rotate(struct session *s, struct encrypt_report *report, struct error *err)
{
    return rotation(s, STAGE_COMMAND_NONE, report, err);
}

static int up(struct session *s, struct encrypt_report *report, struct error *err)
{
    struct decision d CLEANUP(decision_free) = {0};
    if (decide_up(s, &d, err) < 0)
        return -1;
    const struct target *t = &d.target;
    set_key_name(report, t->to);
    if (d.what == DECIDED_JOIN)
        return join_nodes(s, d.from, report, err);
    if (d.what == DECIDED_CHANGE)
        return transition_begin(s, t, d.from, STAGE_COMMAND_NONE, report, err) < 0
                   ? -1
                   : config_follow(s, t->to, report, err);
    if (t->lags && config_follow(s, d.from, report, err) < 0)
        return -1;
    if (!t->lags && journal_set_custom(s->journal, t->custom) && s->journal->sequence > 0)
        s->journal->behind = true;
    return d.what == DECIDED_ROTATE ? rotate(s, report, err)
                                    : nothing_to_do(s, d.from, report, err);
}

/* RKE rotates at each `up` too, as long as it stands there. */
static void warn_of_rotation(struct session *s, const struct encrypt_report *report)
{
    const struct cluster *c = s->cluster;
    if (!c->rotate_encryption_key || c->encryption != SECRETS_ENCRYPTION_ENABLED)
        return;
    const char *did = report->nothing_to_do               ? ""
                      : str_eq(report->why, "rotate-key") ? "the key is rotated: "
                                                          : "another change was made, and no "
                                                            "rotation beside it: ";
    tell(s, ENCRYPT_WARNING, NULL, NULL,
         "%s:%zu: rotate_encryption_key: true: %stake it out, or each further `up`%s rotates the "
         "key once more",
         c->path, c->rotate_line, did, session_shares_state(s) ? ", RKE's too," : "");
}

static int resume(struct session *s, struct encrypt_report *report, struct error *err)
{
    struct encryption_config *running CLEANUP(cleanup_encryption_config) = NULL;
    bool joins = false;
    if (join_look(s, &joins, err) < 0)
        return -1;
    if (joins) {
        char *next CLEANUP(cleanup_mem) = run_command_line("up", s->options);
        error_set(err, RESULT_REFUSED,
                  "no transition is open, and a control-plane node does not have what the others "
                  "have, or is not ready with it yet");
        error_next(err, "%s    (it brings that node in)", next);
        return -1;
    }
    if (preflight_agree(s, &running, err) < 0 || foreign_check(s, running, err) < 0)
        return -1;
    set_key_name(report, running);
    return nothing_to_do(s, running, report, err) < 0 ? -1 : config_follow(s, running, report, err);
}

/* The staged commands, where no transition is open. */
static int prepare(struct session *s, struct encrypt_report *report, struct error *err)
{
    return rotation(s, STAGE_COMMAND_PREPARE, report, err);
}

static int rotate_nothing(struct session *s, struct encrypt_report *report, struct error *err)
{
    (void)report;
    return stage_refuse_start(s, STAGE_COMMAND_ROTATE, err);
}

static int reencrypt_nothing(struct session *s, struct encrypt_report *report, struct error *err)
{
    (void)report;
    return stage_refuse_start(s, STAGE_COMMAND_REENCRYPT, err);
}

static int restart_nothing(struct session *s, struct encrypt_report *report, struct error *err)
{
    return resume(s, report, err);
}

/* Where none is open. */
static int abort_nothing(struct session *s, struct encrypt_report *report, struct error *err)
{
    return resume(s, report, err);
}

/* One that is finished but for being closed stands in the way of no new one. */
static int close_finished(struct session *s, struct encrypt_report *report, bool *closed,
                          struct error *err)
{
    struct stage_at at = {0};
    if (run_look_at_stage(s, &at, err) < 0)
        return -1;
    *closed = at.stage == STAGE_REENCRYPT_FINISHED && at.complete;
    if (*closed && go_on(s, false, STAGE_COMMAND_REENCRYPT, report, err) < 0)
        return -1;
    *closed = !s->journal->transition;
    return 0;
}

typedef int command_fn(struct session *, struct encrypt_report *, struct error *);

static enum stage_command stage_command_of(command_fn *what)
{
    return what == prepare             ? STAGE_COMMAND_PREPARE
           : what == rotate_nothing    ? STAGE_COMMAND_ROTATE
           : what == reencrypt_nothing ? STAGE_COMMAND_REENCRYPT
           : what == restart_nothing   ? STAGE_COMMAND_RESTART
                                       : STAGE_COMMAND_NONE;
}

static enum owned_command owned_command_of(command_fn *what)
{
    return what == up                  ? OWNED_UP
           : what == rotate            ? OWNED_ROTATION
           : what == prepare           ? OWNED_PREPARE
           : what == rotate_nothing    ? OWNED_ROTATE
           : what == reencrypt_nothing ? OWNED_REENCRYPT
           : what == restart_nothing   ? OWNED_RESTARTS
           : what == abort_nothing     ? OWNED_ABORT
                                       : OWNED_RESUME;
}

static int command(const struct encrypt_options *o, struct encrypt_report *report, command_fn *what,
                   struct error *err)
{
    int64_t began = loop_now();
    struct session *s CLEANUP(cleanup_session) = NULL;
    *report = (struct encrypt_report){0}; /* (what a caller left in it is not ours to free) */
    bool by_cluster_yml = what == up || what == rotate || what == prepare;
    if (session_open(o, by_cluster_yml, &s, err) < 0)
        return -1;
    report->nodes = s->count;
    report->keep_off = session_driver(s)->words.keep_off;
    if (session_driver(s)->owned) {
        int done = owned_command(s, owned_command_of(what), report, err);
        report->milliseconds = loop_now() - began;
        return done;
    }
    bool was_open = s->journal->transition != NULL;
    bool closed = !was_open;
    int rc = was_open ? start_note_started(s, err) : 0;
    /* What `up --initial` left is taken back as far as it is ours: each node is judged there. */
    if (rc == 0 && !(was_open && session_is_initial(s) &&
                     (what == abort_nothing || s->journal->transition->aborting)))
        rc = stamp_check(s, err);
    if (rc == 0 && was_open && what == prepare)
        rc = close_finished(s, report, &closed, err);
    if (rc == 0)
        rc = closed ? what(s, report, err)
                    : go_on(s, what == abort_nothing, stage_command_of(what), report, err);
    if (rc == 0 && what == up)
        warn_of_rotation(s, report);
    if (rc < 0)
        refused(s, was_open && s->journal->transition, err);
    report->milliseconds = loop_now() - began;
    return rc;
}

int engine_up(const struct encrypt_options *o, struct encrypt_report *report, struct error *err)
{
    return command(o, report, up, err);
}

int engine_rotate_key(const struct encrypt_options *o, struct encrypt_report *report,
                      struct error *err)
{
    return command(o, report, rotate, err);
}

int engine_prepare(const struct encrypt_options *o, struct encrypt_report *report,
                   struct error *err)
{
    return command(o, report, prepare, err);
}

int engine_rotate(const struct encrypt_options *o, struct encrypt_report *report, struct error *err)
{
    return command(o, report, rotate_nothing, err);
}

int engine_reencrypt(const struct encrypt_options *o, struct encrypt_report *report,
                     struct error *err)
{
    return command(o, report, reencrypt_nothing, err);
}

int engine_restart(const struct encrypt_options *o, struct encrypt_report *report,
                   struct error *err)
{
    return command(o, report, restart_nothing, err);
}

int engine_resume(const struct encrypt_options *o, struct encrypt_report *report, struct error *err)
{
    return command(o, report, resume, err);
}

int engine_abort(const struct encrypt_options *o, struct encrypt_report *report, struct error *err)
{
    return command(o, report, abort_nothing, err);
}

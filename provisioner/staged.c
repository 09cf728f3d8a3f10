/* Staged commands: whose turn it is, said in RKE2's words, and what they report. */
#include "provisioner/run.h"
#include "provisioner/start.h"

#include <stdio.h>

struct stage_at run_stage(const struct run *r)
{
    return stage_of(&r->forms, r->nodes, r->s->count, r->facts,
                    r->s->journal->transition->requested);
}

int run_look_at_stage(struct session *s, struct stage_at *out, struct error *err)
{
    struct run r CLEANUP(run_free) = {0};
    struct encrypt_report ignored = {0};
    if (run_prepare(&r, s, &ignored, err) < 0 || run_observe(&r, err) < 0)
        return -1;
    *out = run_stage(&r);
    return 0;
}

/* All of these take up what lies there by themselves, and tell when they have. */
static bool all_reload(const struct session *s, uint64_t nodes)
{
    for (size_t i = 0; i < s->count; i++)
        if ((nodes >> i & 1) && !s->members[i].reload.told)
            return false;
    return nodes != 0;
}

/* The command that is to be run now; `at`: NULL where no transition is open. */
static void say_next(struct session *s, const struct stage_at *at, struct error *err)
{
    enum stage_command next = stage_next(at);
    char *line CLEANUP(cleanup_mem) = run_command_line(stage_command_name(next), s->options);
    if (next == STAGE_COMMAND_RESTART && all_reload(s, at->waiting))
        error_next(
            err,
            "wait: kube-apiserver takes the file up by itself within %d s, unless it fails to "
            "load; then the same command again. Or, to wait for it and be told: %s",
            RELOAD_POLL_MS / 1000, line);
    else if (next == STAGE_COMMAND_RESTART)
        error_next(err,
                   "restart kube-apiserver on one node after the other, each when the one before "
                   "is ready, or: %s",
                   line);
    else
        error_next(err, "%s", line);
}

int stage_refuse_start(struct session *s, enum stage_command command, struct error *err)
{
    const struct finished *last = &s->journal->last;
    enum stage stage =
        !last->aborted && str_eq(last->why, "rotate-key") ? STAGE_REENCRYPT_FINISHED : STAGE_START;
    error_set(err, RESULT_REFUSED,
              "%s: incorrect stage: %s found on node %s: no rotation is under way",
              stage_command_name(command), stage_name(stage), s->members[0].node.name);
    error_state(err, "nothing was changed");
    say_next(s, NULL, err);
    return -1;
}

static const char *what_stands(const struct run *r)
{
    return r->facts.narrowing ? "everything is rewritten and proved" : "both keys are kept";
}

static int refuse_kind(struct run *r, enum stage_command command, struct error *err)
{
    const struct transition *t = r->s->journal->transition;
    bool back = t->aborting || t->reopened;
    error_set(err, RESULT_REFUSED,
              "%s: the open transition (%s of %s by %s)%s is not gone through in stages",
              stage_command_name(command), t->why, t->opened, t->by,
              t->aborting   ? ", which is being taken back,"
              : t->reopened ? ", whose store was restored from a backup,"
                            : "");
    error_next(err, "%s%s", r->again,
               back ? "" : "    (to its end; then the stages of a rotation)");
    return -1;
}

static bool lacks_record(struct run *r, uint64_t waiting)
{
    for (size_t i = 0; i < r->s->count; i++) {
        const struct member *m = &r->s->members[i];
        const struct node_record *n = journal_node(r->s->journal, m->node.name);
        if ((waiting >> i & 1) && !(n->placed.process && str_eq(n->placed.sha256, m->file_sha256)))
            return true;
    }
    return false;
}

static int refuse_early(struct run *r, enum stage_command command, const struct stage_at *at,
                        struct error *err)
{
    struct session *s = r->s;
    struct stage_hashes h = stage_compare(r->nodes, s->count);
    const char *first = s->members[h.first].node.name;
    if (h.match == STAGE_MISMATCH_NODES)
        error_set(err, RESULT_REFUSED, "%s: hash does not match between %s and %s",
                  stage_command_name(command), first, s->members[h.second].node.name);
    else
        error_set(err, RESULT_REFUSED, "%s: hash does not match between %s and the file on it",
                  stage_command_name(command), first);
    struct buf names CLEANUP(buf_free) = {0};
    for (size_t i = 0; i < s->count; i++)
        if (at->waiting >> i & 1)
            buf_printf(&names, "%s%s", names.len ? ", " : "", s->members[i].node.name);
    error_state(err,
                "stage %s: kube-apiserver on %s does not run yet what lies there; nothing was "
                "changed, %s",
                stage_name(at->stage), buf_str(&names), what_stands(r));
    /* Of what was put by a run that did not come to its record, only a restart of ours, or one
     * after the same command again, can be told. */
    if (lacks_record(r, at->waiting)) {
        char *restart CLEANUP(cleanup_mem) =
            run_command_line(stage_command_name(STAGE_COMMAND_RESTART), s->options);
        error_next(err,
                   "%s    (the run that put the file was ended before it was on record: a "
                   "restart by hand since can't be told)",
                   restart);
    }
    say_next(s, at, err);
    return -1;
}

static int refuse_stage(struct run *r, enum stage_command command, const struct stage_at *at,
                        struct error *err)
{
    error_set(err, RESULT_REFUSED, "%s: incorrect stage: %s found on node %s%s",
              stage_command_name(command), stage_name(at->stage), r->s->members[0].node.name,
              at->complete ? "" : ", and it is not finished");
    error_state(err, "stage %s%s; nothing was changed, %s", stage_name(at->stage),
                at->complete ? "" : ", not finished", what_stands(r));
    say_next(r->s, at, err);
    return -1;
}

/* Automatic reload that no metric tells of: what is put on all nodes at once would be in force on
 * some of them, and nobody could say on which. */
static int refuse_unseen(struct run *r, enum stage_command command, struct error *err)
{
    error_set(err, RESULT_REFUSED,
              "%s: --no-restart does not go with automatic reload here: kube-apiserver takes files "
              "up by itself, and this version (or one that does not answer) does not tell which it "
              "has in force",
              stage_command_name(command));
    error_state(err, "nothing was changed, %s", what_stands(r));
    char *line CLEANUP(cleanup_mem) = run_command_line(stage_command_name(command), r->s->options);
    error_next(err, "%s    (it puts the files one by one, each with a restart)", line);
    return -1;
}

/* Not a question of hashes: with one down, no other is to be restarted. */
static int check_up(struct run *r, enum stage_command command, struct error *err)
{
    struct session *s = r->s;
    for (size_t i = 0; i < s->count; i++) {
        const struct member *m = &s->members[i];
        if (m->seen.running)
            continue;
        char *line CLEANUP(cleanup_mem) = run_command_line("restart", s->options);
        error_set(err, RESULT_REFUSED, "%s: node %s: kube-apiserver does not run",
                  stage_command_name(command), m->node.name);
        error_state(err, "nothing was changed, %s", what_stands(r));
        error_next(err, "start it there, then run the same command again; or have it started: %s",
                   line);
        return -1;
    }
    return 0;
}

/* An apiserver that a command of this stage restarted was not seen to be ready. */
static bool was_ended(struct run *r, enum stage_command command, const struct stage_at *at)
{
    enum form form = command == STAGE_COMMAND_PREPARE ? FORM_WIDEN : FORM_SWITCH;
    bool own = (command == STAGE_COMMAND_PREPARE && at->stage == STAGE_PREPARE) ||
               (command == STAGE_COMMAND_ROTATE && at->stage == STAGE_ROTATE);
    if (!own || !at->complete)
        return false;
    for (size_t i = 0; i < r->s->count; i++) {
        const struct node_record *n = journal_node(r->s->journal, r->s->members[i].node.name);
        if ((r->unconfirmed >> i & 1) && str_eq(n->intent_form, form_name(form)))
            return true;
    }
    return false;
}

int run_check_stage(struct run *r, enum stage_command command, bool *nothing, struct error *err)
{
    struct transition *t = r->s->journal->transition;
    if (!str_eq(t->why, "rotate-key") || t->aborting || t->reopened)
        return refuse_kind(r, command, err);
    /* One that rotate-key began on a single node had no WIDEN so far. */
    if (command == STAGE_COMMAND_PREPARE)
        r->facts.staged = t->staged = true;
    struct stage_at at = run_stage(r);
    /* (plan_next() says it better.) */
    if (at.refused)
        return 0;
    *nothing = false;
    r->facts.by_hand = r->s->options->no_restart && command != STAGE_COMMAND_RESTART;
    if (r->facts.by_hand && r->facts.singly)
        return refuse_unseen(r, command, err);
    enum stage_answer answer = stage_allows(command, &at);
    /* The same command again, after it was killed at the very end: it has yet to say so. */
    if (answer == STAGE_WRONG && was_ended(r, command, &at))
        answer = STAGE_GO;
    if ((answer == STAGE_TOO_EARLY || (answer == STAGE_GO && r->facts.by_hand)) &&
        check_up(r, command, err) < 0)
        return -1;
    switch (answer) {
    case STAGE_TOO_EARLY:
        return refuse_early(r, command, &at, err);
    case STAGE_WRONG:
        return refuse_stage(r, command, &at, err);
    case STAGE_NOTHING:
        *nothing = true;
        return 0;
    case STAGE_GO:
        break;
    }
    r->upto = command == STAGE_COMMAND_RESTART ? stage_to_restart(&at) : command;
    return 0;
}

int run_check_turn(struct session *s, enum stage_command command, struct encrypt_report *report,
                   bool *nothing, struct error *err)
{
    struct run r CLEANUP(run_free) = {0};
    if (run_prepare(&r, s, report, err) < 0 || run_observe(&r, err) < 0 ||
        run_check_stage(&r, command, nothing, err) < 0)
        return -1;
    if (*nothing) {
        run_report_stage(&r);
        report->nothing_to_do = true;
        return 0;
    }
    /* Since the stage before, what is stored may have grown, and something may have come that can't
     * be read: an apiserver that is restarted beside that does not get ready. */
    return r.upto == STAGE_COMMAND_ROTATE && !r.facts.switched
               ? preflight_store(s, r.forms.config[FORM_WIDEN], r.forms.config[FORM_TO], err)
               : 0;
}

/* What was put by a run that did not come to its record: a restart from now on is told by it. */
int run_expect_restarts(struct run *r, struct error *err)
{
    bool changed = false;
    for (size_t i = 0; i < r->s->count; i++) {
        struct member *m = &r->s->members[i];
        struct node_record *n = journal_node(r->s->journal, m->node.name);
        bool waits = !(r->nodes[i].runs & r->nodes[i].file) && r->nodes[i].file && !m->file_missing;
        if (!waits || (str_eq(n->placed.sha256, m->file_sha256) && n->placed.process))
            continue;
        node_record_placed(n, m->file_sha256, m->seen.process ? m->seen.process : START_NO_PROCESS);
        changed = true;
    }
    return changed ? run_record(r, err) : 0;
}

void run_report_stage(struct run *r)
{
    const struct session *s = r->s;
    struct stage_at at = run_stage(r), then = at;
    struct encrypt_report *report = r->report;
    then.waiting = 0;
    then.complete = at.placed;
    enum stage_command next = stage_next(&then);
    /* What waits for its last restarts is closed by this. */
    if (at.stage == STAGE_REENCRYPT_FINISHED && at.placed)
        next = STAGE_COMMAND_RESTART;
    snprintf(report->stage, sizeof(report->stage), "%s", stage_name(at.stage));
    snprintf(report->stage_next, sizeof(report->stage_next), "%s", stage_command_name(next));
    report->stage_placed = at.placed;
    report->waiting = (size_t)__builtin_popcountll(at.waiting);
    if (s->options->write_config && at.stage == STAGE_REENCRYPT_FINISHED)
        tell(r->s, ENCRYPT_NOTE, NULL, NULL,
             "%s gets the fresh key when the rotation is closed: encrypt restart --config %s "
             "--write-config",
             s->cluster->path, s->options->config);
    if (s->lease_held)
        tell(r->s, ENCRYPT_NOTE, NULL, NULL,
             "the lock in the cluster stays with %s until the rotation is finished (--take-over "
             "hands "
             "it to another operator, with this state file)",
             s->who);
    for (size_t i = 0; i < r->s->count; i++)
        if (at.waiting >> i & 1)
            tell(r->s, ENCRYPT_NODE, stage_name(at.stage), r->s->members[i].node.name,
                 r->s->members[i].reload.told
                     ? "its kube-apiserver takes the file up by itself within a minute, unless it "
                       "fails to load"
                     : "its kube-apiserver has yet to be restarted");
}
